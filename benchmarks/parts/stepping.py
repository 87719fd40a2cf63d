"""Clients that repeat one step, each on a connection of its own, on the leader or over all replicas."""

from collections.abc import Callable

import uvloop

from benchmarks.bench import Bench, Run, roles
from benchmarks.connection import Connection, opened
from benchmarks.load import WARM_UP_S, Step, closed_loop
from benchmarks.measures import At, Sample
from benchmarks.systems import System


def places(bench: Bench) -> tuple[At, ...]:
    """Where work is asked for that the short form only measures on the leader."""
    return ("leader", "spread") if bench.options.is_full else ("leader",)


def stepping(bench: Bench, system: System, step_of: Callable[[Connection, int], Step], clients: int, at: At) -> Run:
    """`step_of(connection, number)` makes what one client does over and over."""

    async def measure() -> Sample:
        urls = system.urls[:1] if at == "leader" else system.urls
        async with opened(urls, clients) as connections:
            steps = [step_of(connection, number) for number, connection in enumerate(connections)]
            return await closed_loop(steps, seconds=bench.options.seconds, pids=roles(system), warm_up_s=WARM_UP_S)

    return lambda: uvloop.run(measure())
