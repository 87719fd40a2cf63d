"""Replicas that fell behind the log, or lost their state: a snapshot brings them back, however often they are killed.

RAFTMEM_TEST_KILLS=200 kills so often in the middle (5 if not set), RAFTMEM_TEST_SEED=7 at the same instants again,
RAFTMEM_TEST_STATE_MIB=100 with so large a state (5).
"""

import json
import os
import random
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_load import check_kept, load

from jepsen_like.cluster.client import Client, together, until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.cluster.served import Served
from raftmem.cli.exits import Exit

KILLS = int(os.environ.get("RAFTMEM_TEST_KILLS", "5"))
SEED = int(os.environ.get("RAFTMEM_TEST_SEED", secrets.randbelow(10**6)))
STATE_MIB = int(os.environ.get("RAFTMEM_TEST_STATE_MIB", "5"))
KEPT = 20  # entries below a snapshot
EAGER = f"snapshot_entries = 200\nlog_keep_entries = {KEPT}"
RECEIVES = "receives a snapshot"
INSTALLED = "installed a snapshot"
RESTORED = "the state was made again from the snapshot"


@pytest.fixture
def eager_group(tmp_path: Path) -> Iterator[LoopbackGroup]:
    """Its snapshots are taken often, its logs are short, and its state is more than one chunk."""
    with new_group(tmp_path, extra=EAGER) as group:
        fill(group)
        yield group


def fill(group: LoopbackGroup) -> None:
    def agent(k: int) -> None:
        client = Client(group.urls[k])
        for turn in range(STATE_MIB * 10):
            body = {"text": f"{k}/{turn}", "value": secrets.token_hex(16 << 10)}
            assert client.ask("POST", "/v1/memories?timeout_ms=60000", body).status == 201
        client.close()

    together(3, agent)


def fall_behind(group: LoopbackGroup, down: Served) -> None:
    """Until every log that runs begins above all that a replica which is down can have."""
    reached = group.highest()
    running = [one for one in group.replicas if one.runs]
    until(lambda: all(newest_snapshot(one) > reached + KEPT for one in running), what=f"{down.id} is left behind")


def newest_snapshot(replica: Served) -> int:
    listed = replica.look("/v1/admin/snapshots")
    rows = [] if listed is None else listed.rows("snapshots")
    index = rows[0]["index"] if rows else 0
    assert isinstance(index, int)
    return index


def count(replica: Served, words: str) -> int:
    """How often it said so."""
    return replica.said().count(words)


def lose_unsynced_state(replica: Served) -> None:
    """As a machine does that stops without warning: what was not synced may be gone, so none of it is trusted."""
    mark = replica.folder / "state.json"
    found = json.loads(mark.read_bytes())
    assert found["clean"] is False
    mark.write_text(json.dumps({**found, "boot_id": "another start of the machine"}))


def moves(follower: Served, seen: int) -> bool:
    assert follower.runs, follower.said()[-3000:]
    return count(follower, RECEIVES) > seen or follower.look("/readyz") is not None


# --- behind the log ------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_follower_whose_log_is_gone_from_the_others_comes_back_by_a_snapshot_while_writes_go_on(
    eager_group: LoopbackGroup,
) -> None:
    group = eager_group
    follower = group.others(group.leader())[0]
    with load(group) as work:
        follower.kill()
        fall_behind(group, follower)
        follower.start()
        group.wait_ready([follower])
        until(lambda: count(follower, INSTALLED) == 1, what="the snapshot is installed")
        work.wait_for_more(30)
    assert work.unsure == 0
    index = check_kept(group, work)
    for replica in group.replicas:  # nothing was lost on the way to the disk either
        replica.kill()
    group.start()
    assert group.settle() >= index
    check_kept(group, work)


@pytest.mark.slow
def test_a_follower_killed_at_any_instant_of_receiving_and_installing_always_comes_back(
    eager_group: LoopbackGroup,
) -> None:
    group, dice = eager_group, random.Random(SEED)
    print(f"RAFTMEM_TEST_SEED={SEED}")
    follower = group.others(group.leader())[0]
    restored = 0
    with load(group) as work:
        for _ in range(KILLS):
            follower.kill()
            if dice.random() < 0.3 and (follower.folder / "state").exists():
                lose_unsynced_state(follower)
                restored += 1
            fall_behind(group, follower)
            seen = count(follower, RECEIVES)
            follower.start()
            until(lambda n=seen: moves(follower, n), what="a snapshot arrives, or the log goes on from the one before")
            time.sleep(dice.random() ** 2 * 0.6)  # the instant is what is tried: no event tells it
        assert follower.runs, follower.said()[-3000:]
        follower.kill()
        follower.start()
        group.wait_ready([follower])
    print(f"received {count(follower, RECEIVES)}, installed {count(follower, INSTALLED)}, lost {restored}")
    assert work.unsure == 0
    check_kept(group, work)


def test_a_leader_killed_while_it_sends_a_snapshot_leaves_it_to_the_next(eager_group: LoopbackGroup) -> None:
    group = eager_group
    leader = group.leader()
    follower = group.others(leader)[0]
    with load(group) as work:
        follower.kill()
        fall_behind(group, follower)
        follower.start()
        until(lambda: count(follower, RECEIVES) == 1, what="a snapshot arrives")
        leader.kill()
        group.wait_ready(group.others(leader))
        leader.start()
        group.wait_ready([leader])
        work.wait_for_more(30)
    assert count(follower, INSTALLED) >= 1
    assert work.unsure == 0
    check_kept(group, work)


# --- a machine that stopped ------------------------------------------------------------------------------
@pytest.mark.slow
def test_after_a_machine_stop_the_state_is_made_again_from_a_snapshot_and_without_one_the_replica_refuses(
    eager_group: LoopbackGroup,
) -> None:
    group = eager_group
    sick = group.others(group.leader())[0]
    with load(group) as work:  # the log is compacted after one snapshot, before the next
        first = until(lambda: newest_snapshot(sick), what="a snapshot is taken")
        until(lambda: newest_snapshot(sick) > first, what="another is taken")
    sick.kill()
    lose_unsynced_state(sick)
    sick.start()
    group.wait_ready([sick])
    assert count(sick, RESTORED) == 1
    assert count(sick, RECEIVES) == 0
    check_kept(group, work)
    sick.kill()
    lose_unsynced_state(sick)
    shutil.rmtree(sick.folder / "snapshots")
    sick.start()
    assert sick.ended() == Exit.STOPPED
    line = sick.said().rstrip().splitlines()[-1]
    assert "no sound snapshot" in line
    assert str(sick.folder) in line
    sick.start()
    assert sick.ended() == Exit.STOPPED, "it stays that way"
    leader = group.leader()
    assert leader.ask("POST", "/v1/memories", {"text": "the others go on"}).status == 201
