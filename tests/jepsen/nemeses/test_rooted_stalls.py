"""Control groups: a frozen replica says nothing, a starved one is slow, and both are free afterwards."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from rooted_stage import check_whole, hit, staged

from jepsen_like.cluster.client import until
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.rooted import cgroups
from jepsen_like.nemeses.rooted.stalls import CpuQuota, Freeze
from jepsen_like.nemeses.standing import look
from jepsen_like.runs.world import World

needs_freezer = pytest.mark.skipif(bool(cgroups.freezing_unavailable()), reason=str(cgroups.freezing_unavailable()))
needs_quota = pytest.mark.skipif(bool(cgroups.limiting_unavailable()), reason=str(cgroups.limiting_unavailable()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with staged(tmp_path_factory.mktemp("stalls"), []) as world:
        yield world


def group_of(replica: Served) -> str:
    return Path(f"/proc/{replica.pid}/cgroup").read_text()


@needs_freezer
def test_a_frozen_replica_is_still_and_goes_on_when_it_is_thawed(world: World) -> None:
    nemesis = Freeze()
    before = {replica.id: group_of(replica) for replica in world.group.replicas}
    struck = nemesis.begin(world, random.Random(1))
    assert struck is not None
    (frozen,) = hit(world, struck)
    try:
        assert look(frozen, "/livez") is None
        assert frozen.runs
        assert nemesis.begin(world, random.Random(2)) is None, "one at a time"
    finally:
        nemesis.end(world)
    nemesis.end(world)
    assert {replica.id: group_of(replica) for replica in world.group.replicas} == before
    check_whole(world, nemesis.name)


@needs_freezer
def test_a_replica_that_was_killed_while_it_was_frozen_is_gone_when_it_is_thawed(world: World) -> None:
    nemesis = Freeze()
    struck = nemesis.begin(world, random.Random(3))
    assert struck is not None
    (frozen,) = hit(world, struck)
    frozen.send(signal.SIGKILL)
    nemesis.clean_up(world)
    assert frozen.ended() == -signal.SIGKILL
    frozen.start()
    check_whole(world, "killed while frozen")


@needs_quota
def test_a_starved_replica_is_throttled_and_then_left_alone(world: World) -> None:
    nemesis = CpuQuota()
    struck = nemesis.begin(world, random.Random(1))
    assert struck is not None
    (starved,) = hit(world, struck)

    def throttled() -> bool:
        for _ in range(50):
            look(starved, "/v1/memories?consistency=eventual")
        (path,) = (line.split(":", 2)[2] for line in group_of(starved).splitlines() if "raftmem-" in line)
        (stat,) = (
            found
            for root in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
            if (found := root / path[1:] / "cpu.stat").exists()
        )
        return any(
            line.startswith("nr_throttled ") and not line.endswith(" 0") for line in stat.read_text().splitlines()
        )

    try:
        until(throttled, what=f"{starved.id} is kept from the processor", seconds=20)
    finally:
        nemesis.end(world)
    assert "raftmem-" not in group_of(starved)
    check_whole(world, nemesis.name)


def test_no_control_group_is_left() -> None:
    assert not list(Path("/sys/fs/cgroup").glob("**/raftmem-*"))
