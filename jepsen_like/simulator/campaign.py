"""Many seeds one after the other, or shared out to processes: what failed, what was met, how long it took."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from jepsen_like.simulator import hostile
from jepsen_like.simulator.options import Options, flags
from jepsen_like.simulator.oracles import Stuck, Violation
from jepsen_like.simulator.schedule import Fault
from jepsen_like.simulator.sometimes import Sometimes

PROGRESS_SECONDS = 5.0
BATCH = 20  # seeds that a process takes at once


class Failed(NamedTuple):
    """`kind`: VIOLATION or STUCK."""

    options: Options
    kind: str
    what: str


class Campaign:
    """`seen` adds up over all seeds; `failed` is in the order of the seeds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.seen = Sometimes()
        self.failed: list[Failed] = []
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def add(self, result: "Sometimes | Failed") -> None:
        self.seeds += 1
        if isinstance(result, Failed):
            self.failed.append(result)
        else:
            self.seen.update(result)

    def summary(self) -> str:
        stuck = sum(one.kind == "STUCK" for one in self.failed)
        return (
            f"{self.seeds} seeds, {len(self.failed) - stuck} violations, {stuck} liveness failures, "
            f"{self.seconds:.0f} s, {60 * self.seeds / max(self.seconds, 0.001):.0f} seeds a minute"
        )


def one(options: Options, faults: tuple[Fault, ...] | None = None) -> Sometimes | Failed:
    """One schedule; what went wrong is an answer."""
    try:
        return hostile.run(options, faults)
    except Violation as error:
        return Failed(options, "VIOLATION", str(error))
    except Stuck as error:
        return Failed(options, "STUCK", str(error))


def repeats(options: Options) -> str:
    """The command that repeats one schedule."""
    return f"python -m jepsen_like.simulator {flags(options)}"


def run(schedules: Sequence[Options], *, workers: int, tell: Callable[[str], None]) -> Campaign:
    """All of them. `tell` gets lines of progress, and each failure as soon as it is known."""
    campaign = Campaign()
    told = campaign.began
    if workers <= 1:
        results = map(one, schedules)
        for result in results:
            told = _take(campaign, result, told, len(schedules), tell)
        return campaign
    fork = get_context("fork")  # what was switched off stays so in the children
    with ProcessPoolExecutor(workers, mp_context=fork) as pool:
        for result in pool.map(one, schedules, chunksize=BATCH):
            told = _take(campaign, result, told, len(schedules), tell)
    return campaign


def _take(
    campaign: Campaign, result: Sometimes | Failed, told: float, total: int, tell: Callable[[str], None]
) -> float:
    campaign.add(result)
    if isinstance(result, Failed):
        tell(f"{result.kind} {result.what}\n  repeat: {repeats(result.options)}")
    if time.monotonic() - told < PROGRESS_SECONDS:
        return told
    tell(f"{campaign.seeds}/{total} seeds, {len(campaign.failed)} failed, {campaign.seconds:.0f} s")
    return time.monotonic()
