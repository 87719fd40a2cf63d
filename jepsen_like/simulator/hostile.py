"""One schedule from its options: clients and faults at once, then a calm in which it must all come right again.

`run` raises Violation when something that must hold did not, Stuck when nothing went on; otherwise it returns what the
schedule met, counted. The same options and faults give the same run, event by event.
"""

import random
from collections.abc import Callable
from functools import partial

from jepsen_like.simulator import schedule, verdict
from jepsen_like.simulator.agents import Agents
from jepsen_like.simulator.group import Group
from jepsen_like.simulator.healing import Healing
from jepsen_like.simulator.nemesis import Nemesis
from jepsen_like.simulator.options import Options
from jepsen_like.simulator.schedule import CALM_SHARE, Fault
from jepsen_like.simulator.sometimes import Sometimes
from jepsen_like.simulator.stores import disks_of
from jepsen_like.simulator.trace import Trace
from jepsen_like.simulator.workload import Workload
from raftmem.raft.interfaces import Timing

QUIET = 0.3  # election timeouts before a quiet fault without writes: all have caught up


def run(
    options: Options, faults: tuple[Fault, ...] | None = None, write: Callable[[str], None] | None = None
) -> Sometimes:
    """`faults`: those to inflict, the seed's own if None. `write`: takes the lines of the trace."""
    if faults is None:
        faults = schedule.draw(options)
    with disks_of(options) as new_disk:
        group = Group(
            options.seed,
            names=options.names,
            timing=Timing(options.election_timeout, options.heartbeat, options.drift),
            append_bytes_max=options.append_bytes_max,
            sync_seconds=options.sync_seconds,
            compact_entries=options.compact_entries,
            keep_entries=options.keep_entries,
            chunks=options.chunks,
            new_disk=new_disk,
            coordinated=options.agents > 0,
        )
        return _run(group, options, faults, Trace(group, write) if write is not None else None)


def _run(group: Group, options: Options, faults: tuple[Fault, ...], trace: Trace | None) -> Sometimes:
    choose = random.Random(f"clocks {options.seed}")
    spread = options.drift * options.rate_spread
    for replica in group.replicas.values():
        replica.rate = 1.0 + choose.choice([-spread, spread, choose.uniform(-spread, spread)])
    network = group.network
    network.delay = network.jitter = options.delay
    network.uneven, network.disorder = options.uneven, options.disorder
    say = trace.say if trace is not None else _silent
    nemesis = Nemesis(group, options, say)
    workload = Workload(group, options)
    agents = Agents(group, options, workload.number) if options.agents else None
    began = group.world.now
    group.start()
    workload.start()
    if agents is not None:
        agents.start()
    for position, fault in enumerate(faults):
        group.world.at(began + fault.at, partial(nemesis.inflict, fault))
        if fault.quiet:
            until = faults[position + 1].at if position + 1 < len(faults) else options.seconds * CALM_SHARE
            _quieten(group, workload, began + fault.at - QUIET * options.election_timeout, began + until)
    group.world.run(options.seconds * CALM_SHARE)
    say("calm")
    healing = Healing(group, workload, agents, options, say)
    healing.begin()
    group.world.run(options.seconds * (1.0 - CALM_SHARE))
    healing.finish()
    verdict.judge(group)
    return group.sometimes


def _quieten(group: Group, workload: Workload, start: float, until: float) -> None:
    def begin() -> None:
        workload.quiet_until = max(workload.quiet_until, until)

    group.world.at(start, begin)


def _silent(_line: str) -> None:
    """No trace is wanted."""
