"""A real group under a nemesis that needs root, from before its replicas start until nothing of it is left."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jepsen_like.cluster.group import LoopbackGroup, claimed_ports
from jepsen_like.cluster.served import Served
from jepsen_like.history.recorder import Recorder
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.runs.world import World

QUICK = "election_timeout_ms = 400\nheartbeat_ms = 40\n"


@contextmanager
def staged(folder: Path, nemeses: Sequence[Nemesis], *, without: tuple[str, ...] = ()) -> Iterator[World]:
    with ExitStack() as stack:
        base = stack.enter_context(claimed_ports())
        (folder / "data").mkdir()
        settings = "".join({nemesis.settings for nemesis in nemeses})
        group = LoopbackGroup(folder / "data", base=base, extra=QUICK + settings)
        recorder = Recorder(folder / "history.jsonl")
        stack.callback(recorder.close)
        world = World(folder, group, recorder)
        for nemesis in nemeses:
            stack.callback(nemesis.clean_up, world)
        stack.callback(group.clean_up)
        for nemesis in nemeses:
            nemesis.prepare(world)
        for replica in group.replicas:
            replica.without = without
        group.start(bootstrap=True)
        yield world


def hit(world: World, struck: Struck) -> list[Served]:
    return [replica for replica in world.group.replicas if replica.id in struck.targets]


def check_whole(world: World, name: str) -> None:
    """Everybody is ready, takes a write, and has the same state."""
    group = world.group
    group.wait_ready()
    writer = group.writer(name)
    for turn in range(3):
        answer = writer.write("POST", "/v1/memories", {"text": f"{name} {turn}"})
        assert answer is not None
        assert answer.status == 201, answer
    writer.close()
    assert len(group.digests(group.settle())) == 1
    assert [replica.unexpected() for replica in group.ever] == [None] * len(group.ever)
