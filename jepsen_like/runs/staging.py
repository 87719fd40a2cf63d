"""The stage of a run: a new group, prepared for the workload and the nemeses, and removed at the end.

Rule: processes, relays and everything that nemeses put on the machine are gone when the stage is left, whatever
happens; the folders stay.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from jepsen_like.cluster.group import LoopbackGroup, claimed_ports
from jepsen_like.cluster.served import Served
from jepsen_like.history.record import Fault
from jepsen_like.history.recorder import Recorder
from jepsen_like.nemeses.contract import Nemesis
from jepsen_like.nemeses.network import relayed
from jepsen_like.nemeses.registry import NEMESES
from jepsen_like.runs.folder import RunFolder
from jepsen_like.runs.options import Options
from jepsen_like.runs.world import World
from jepsen_like.workloads.contract import Workload

DATA: Final = "data"  # within the run folder: settings, outputs, and the folders of the replicas


def usable(options: Options, recorder: Recorder) -> tuple[dict[str, Nemesis], dict[str, str]]:
    """The nemeses that were asked for, and why some cannot be used here, which is recorded too."""
    found: dict[str, Nemesis] = {}
    unavailable: dict[str, str] = {}
    for name in options.nemeses:
        nemesis = NEMESES[name]()
        reason = nemesis.unavailable()
        if reason is None:
            found[name] = nemesis
            continue
        unavailable[name] = reason
        recorder.write(Fault(name=name, event="unavailable", at=recorder.now(), detail=reason))
    return found, unavailable


@contextmanager
def staged(
    options: Options, folder: RunFolder, recorder: Recorder, workload: Workload, nemeses: Mapping[str, Nemesis]
) -> Iterator[World]:
    """The group is ready. Raises: Trouble when it does not come up."""
    data = folder.path / DATA
    data.mkdir()
    with ExitStack() as left:
        base = left.enter_context(claimed_ports())
        extra = settings((workload.settings, *(nemesis.settings for nemesis in nemeses.values())))
        group = LoopbackGroup(data, base=base, extra=extra, count=options.nodes)
        world = World(folder.path, group, recorder)
        for nemesis in nemeses.values():
            left.callback(nemesis.clean_up, world)
        left.callback(group.clean_up)
        for nemesis in nemeses.values():
            nemesis.prepare(world)

        def weaken(replica: Served) -> None:
            replica.without = options.without

        for replica in group.replicas:
            weaken(replica)
        group.dress.append(weaken)
        group.start(bootstrap=True)
        if any(nemesis.needs_links for nemesis in nemeses.values()):
            left.enter_context(relayed(world))
        yield world


def settings(asked: tuple[str, ...]) -> str:
    """Lines of settings, each name once: the first who asks for it has it."""
    lines: dict[str, str] = {}
    for line in "\n".join(asked).splitlines():
        if line.strip():
            lines.setdefault(line.partition("=")[0].strip(), line)
    return "\n".join(lines.values())
