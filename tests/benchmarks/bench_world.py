"""Samples and runs that were never measured."""

import msgspec

from benchmarks.machine import Machine
from benchmarks.measures import At, Point, Sample
from benchmarks.report import Run


def sample(per_second: float = 100, **figures: float) -> Sample:
    """Two seconds long; what is no metric of its own goes to `more`."""
    metrics = {name: value for name, value in figures.items() if name in Sample.__struct_fields__}
    more = {name: value for name, value in figures.items() if name not in metrics}
    return Sample(
        operations=round(per_second * 2),
        seconds=2.0,
        p50_ms=metrics.get("p50_ms"),
        p99_ms=metrics.get("p99_ms"),
        errors=int(metrics.get("errors", 0)),
        cpu={"leader": 30.0, "follower 1": 10.0, "load": 5.0},
        more=more,
    )


def point(
    work: str = "ADD", clients: int = 64, at: At = "leader", *, compared: str = "per_second", **systems: list[Sample]
) -> Point:
    rounds = {
        name: [msgspec.structs.replace(one, round=number) for number, one in enumerate(samples)]
        for name, samples in systems.items()
    }
    return Point(work=work, clients=clients, at=at, compared=compared, samples=rounds)


def run_of(*points: Point, notes: tuple[str, ...] = ()) -> Run:
    machine = Machine(2, "a CPU", 16.0, "ext4", "6.1", {"raftmem": "0.1.0", "etcd": "3.4.23"})
    return Run(machine, "python -m benchmarks", "2026-11-30 12:00 UTC", 300.0, notes, points)
