"""The goals as figures, and the judgement of a run by them. Pure.

A goal on a comparison is judged by the median of the ratios of the rounds. A goal on a figure is judged by the median
of the rounds, or by the worst round where the goal says worst. A figure that was not measured is not judged.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from benchmarks.measures import Results, Spread, ratio, ratios, spread

Measure = Callable[[Results], Spread | None]


class Goal(Struct, frozen=True):
    """`at_least`: the bound is a floor; otherwise a ceiling. `unit`: "x" is a ratio."""

    says: str
    bound: float
    at_least: bool
    unit: str
    measure: Measure


class Judged(Struct, frozen=True):
    """`measured` is None where the run had no such figure. `missed_by`: share of the bound, 0 where it is met."""

    goal: Goal
    measured: Spread | None
    missed_by: float

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        return f"not met, by {self.missed_by:.0%}" if self.missed_by else "met"


def judge(goal: Goal, results: Results) -> Judged:
    measured = goal.measure(results)
    if measured is None:
        return Judged(goal, None, 0.0)
    beyond = goal.bound - measured.middle if goal.at_least else measured.middle - goal.bound
    # A ceiling of nothing has no shares: each is a whole.
    return Judged(goal, measured, max(0.0, beyond / goal.bound if goal.bound else beyond))


def judge_all(results: Results) -> list[Judged]:
    return [judge(goal, results) for goal in GOALS]


# --- how a goal is measured -----------------------------------------------------------------------------
def compared(work: str, clients: int, at: str, ours: str, theirs: str, metric: str = "per_second") -> Measure:
    def measure(results: Results) -> Spread | None:
        point = results.find(work, clients, at)
        return None if point is None else ratio(point, ours, theirs, metric)

    return measure


def figure(
    work: str, clients: int, at: str, system: str, metric: str = "per_second", *, worst: bool = False
) -> Measure:
    """`worst`: the greatest of the rounds counts."""

    def measure(results: Results) -> Spread | None:
        point = results.find(work, clients, at)
        found = spread(point.values(system, metric)) if point is not None else None
        return Spread(found.high, found.low, found.high) if found is not None and worst else found

    return measure


def between(one: tuple[str, int, str], other: tuple[str, int, str], system: str, metric: str = "per_second") -> Measure:
    """The same system at two points whose rounds were run in turns."""

    def measure(results: Results) -> Spread | None:
        mine, theirs = results.find(*one), results.find(*other)
        if mine is None or theirs is None:
            return None
        return spread(ratios(mine.by_round(system, metric), theirs.by_round(system, metric)))

    return measure


def worst_of(measures: Sequence[Measure]) -> Measure:
    """The greatest of several, all of which must have been measured."""

    def measure(results: Results) -> Spread | None:
        found = [one(results) for one in measures]
        there = [one for one in found if one is not None]
        return max(there, key=lambda one: one.middle) if there and len(there) == len(found) else None

    return measure


def at_least(says: str, bound: float, measure: Measure, unit: str = "x") -> Goal:
    return Goal(says, bound, True, unit, measure)


def at_most(says: str, bound: float, measure: Measure, unit: str = "x") -> Goal:
    return Goal(says, bound, False, unit, measure)


SEARCHES: Final = [(rows, share) for rows in (10_000, 100_000) for share in ("1 %", "50 %")]
MIXED: Final = ("mixed 90/10", 24, "spread")
FAILOVER: Final = ("failover", 12, "spread")
GOALS: Final[tuple[Goal, ...]] = (
    at_least("ADD, 64 clients: throughput beside etcd's puts", 1.5, compared("ADD", 64, "leader", "raftmem", "etcd")),
    at_least("ADD, 256 clients: throughput beside etcd's puts", 1.5, compared("ADD", 256, "leader", "raftmem", "etcd")),
    at_most("ADD, 64 clients: p99 beside etcd's", 1.0, compared("ADD", 64, "leader", "raftmem", "etcd", "p99_ms")),
    at_most("ADD, 256 clients: p99 beside etcd's", 1.0, compared("ADD", 256, "leader", "raftmem", "etcd", "p99_ms")),
    at_most("ADD, 1 client: p50 beside etcd's", 1.0, compared("ADD", 1, "leader", "raftmem", "etcd", "p50_ms")),
    at_least(
        "lease GET of one replica, 64 clients: beside etcd's linearizable reads",
        4.0,
        compared("GET", 64, "leader", "raftmem lease", "etcd linearizable"),
    ),
    at_least(
        "lease GET of one replica, 64 clients: beside etcd's serializable reads",
        4.0,
        compared("GET", 64, "leader", "raftmem lease", "etcd serializable"),
    ),
    at_least(
        "lease GET, 64 clients: three replicas beside one",
        1.0,
        between(("GET", 64, "spread"), ("GET", 64, "leader"), "raftmem lease"),
    ),
    at_least(
        "linearizable GET, 64 clients: beside etcd's linearizable reads",
        2.0,
        compared("GET", 64, "leader", "raftmem linearizable", "etcd linearizable"),
    ),
    at_least(
        "lock acquire + release, 64 clients: beside etcd's lease, txn and delete",
        3.0,
        compared("lock acquire + release", 64, "leader", "raftmem", "etcd"),
    ),
    at_least(
        "batches of 100: events applied on all three replicas",
        60_000,
        figure("batch of 100", 16, "all", "raftmem"),
        "events/s",
    ),
    at_least("mixed 90/10, writes in batches: operations", 15_000, figure(*MIXED, "raftmem"), "a second"),
    at_most("mixed 90/10: p99 of the reads", 12.0, figure(*MIXED, "raftmem", "p99_ms"), "ms"),
    at_most(
        "filtered exact search beside bare FAISS (the worst of 10k and 100k rows, 1 % and 50 %)",
        1.3,
        worst_of([compared(f"search {share}", rows, "one", "raftmem", "faiss", "p50_ms") for rows, share in SEARCHES]),
    ),
    at_most("gap after kill -9 of the leader: median", 1.0, figure(*FAILOVER, "raftmem", "gap_s"), "s"),
    at_most("gap after kill -9 of the leader: worst", 2.5, figure(*FAILOVER, "raftmem", "gap_s", worst=True), "s"),
    at_most("elections at full load", 0, figure("full load", 64, "spread", "raftmem", "elections"), "elections"),
    at_least(
        "ADD and GET with 1,000,000 memories beside 10,000 (the slower of the two)",
        0.8,
        lambda results: _least([_sized(work, results) for work in ("ADD", "GET")]),
    ),
    at_most(
        "restart with 1,000,000 entries, after kill -9",
        5.0,
        figure("restart", 1_000_000, "one", "raftmem", "ready_s", worst=True),
        "s",
    ),
    at_most(
        "memory of its own (page cache apart) with 1,000,000 memories of 1 KB, beside 1.2 times their bytes and 300 MB",
        1.0,
        figure("stored", 1_000_000, "all", "raftmem", "of_allowed"),
    ),
)


def _sized(work: str, results: Results) -> Spread | None:
    return between((f"{work}, size", 1_000_000, "leader"), (f"{work}, size", 10_000, "leader"), "raftmem")(results)


def _least(found: Sequence[Spread | None]) -> Spread | None:
    there = [one for one in found if one is not None]
    return min(there, key=lambda one: one.middle) if there and len(there) == len(found) else None
