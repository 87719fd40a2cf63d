"""A wall clock that is wrong: the time of day is, all other clocks are not, and a lease counts by those."""

import os
import random
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from rooted_stage import check_whole, staged

from jepsen_like.cluster.served import Served
from jepsen_like.cluster.wall_clock import WallClock, unavailable
from jepsen_like.nemeses.clock import Clock, ClockLeader

REASON = unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

CHILD = """
import sys, time, datetime
for _ in sys.stdin:
    time.sleep(0.01)
    print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))
    sys.stdout.flush()
"""
HOUR_S = 3600
AWAY_S = 600  # no machine is so slow
LOCK = "/v1/locks/kept"


def test_only_the_time_of_day_is_false_and_it_changes_while_the_process_runs(tmp_path: Path) -> None:
    clock, environment = WallClock(tmp_path / "n1"), dict(os.environ, LD_PRELOAD="")
    clock.put_under(environment)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )

    def told() -> list[float]:
        """How far each of its clocks is ahead of ours."""
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("\n")
        words = child.stdout.readline().split()
        ours = (time.time(), time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))
        return [float(word) - mine for word, mine in zip(words, ours, strict=True)]

    with child:
        assert told() == pytest.approx([0] * 4, abs=AWAY_S)
        clock.set(ahead_s=HOUR_S)
        assert told() == pytest.approx([HOUR_S, HOUR_S, 0, 0], abs=AWAY_S)
        clock.set(ahead_s=-HOUR_S)
        assert told() == pytest.approx([-HOUR_S, -HOUR_S, 0, 0], abs=AWAY_S)
        clock.set(ahead_s=0, rate=1e6)
        told()
        assert told()[0] > AWAY_S
        clock.set_right()
        assert told() == pytest.approx([0] * 4, abs=AWAY_S)


def ahead_s(leader: Served) -> float:
    """Of its time of day, by what it puts into the log for people."""
    written = leader.ask("POST", "/v1/memories", {"text": "what time is it?"})
    assert written.status == 201, written
    return datetime.fromisoformat(written.text("memory", "created_at")).timestamp() - time.time()


def test_a_lease_outlives_jumps_of_the_leaders_wall_clock_which_is_right_again_in_the_end(tmp_path: Path) -> None:
    nemesis, of_leader = Clock(), ClockLeader()
    with staged(tmp_path, [nemesis, of_leader]) as world:
        taken = world.group.leader().ask("POST", f"{LOCK}/acquire", {"owner": "holder", "ttl_ms": AWAY_S * 1000})
        assert taken.status == 200, taken
        seen: set[str] = set()
        for seed in range(100):
            struck = nemesis.begin(world, random.Random(seed))
            assert struck is not None
            leader = world.group.leader()
            if leader.id in struck.targets and "twice" not in struck.detail:
                assert abs(ahead_s(leader)) > AWAY_S, struck
                seen.add(struck.detail.removeprefix(f"the wall clock of {leader.id} is "))
            nemesis.end(world)
            if len(seen) == 2:
                break
        assert seen == {"an hour ahead", "an hour behind"}
        struck = of_leader.begin(world, random.Random(1))
        assert struck is not None
        assert struck.targets == (world.group.leader().id,)
        of_leader.end(world)
        assert abs(ahead_s(world.group.leader())) < AWAY_S
        held = world.group.leader().ask("GET", LOCK)
        assert held.integer("holders", 0, "token") == taken.integer("token")
        check_whole(world, nemesis.name)
