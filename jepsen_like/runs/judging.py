"""Asks every checker, and keeps its errors.

Rule: a checker that breaks gives no verdict, so the run has none: `unknown`, and reported as trouble of the harness.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from jepsen_like.checkers import agreement, durability, reflected, sessions, tested
from jepsen_like.checkers.evidence import Checker, Evidence, Finding, Verdict
from jepsen_like.history.record import History
from jepsen_like.nemeses import refusals
from jepsen_like.runs.load import told
from jepsen_like.runs.options import Options
from jepsen_like.workloads.contract import Workload

ON_THE_WAY: Final = ("recovery", "exits")  # what is found while a run goes on, beside what checkers find
UNHURRIED: Final = 0.25  # of a rate that was asked for, this much must have been done
FEWEST: Final = 10


class Judged(NamedTuple):
    findings: tuple[Finding, ...]
    troubles: tuple[str, ...]


def fewest_ok(workload: Workload, options: Options) -> int:
    """Operations below which a run has tested nothing."""
    wanted = workload.fewest * options.clients * options.seconds / 60
    if options.rate:
        wanted = min(wanted, UNHURRIED * options.rate * options.seconds)
    return max(FEWEST, round(wanted))


def universal(workload: Workload, options: Options) -> tuple[Checker, ...]:
    """Those that judge every run."""
    judged = {*refusals.MUST_REFUSE, *refusals.MAY_SERVE, *refusals.MUST_SERVE}
    damage = (refusals.check,) if judged.intersection(options.nemeses) else ()
    always = (durability.check, agreement.check, sessions.check, reflected.check)
    return (*always, *damage, tested.checker(fewest_ok(workload, options)))


def names(workload: Workload, options: Options) -> tuple[str, ...]:
    """Of what may be found to be bad in such a run: what each checker calls its finding, of nothing at all."""
    nothing = Evidence(history=History(None, ()), log=None)
    checkers = (*workload.checkers(), *universal(workload, options))
    return (*(checker(nothing).name for checker in checkers), *ON_THE_WAY)


def wanted(workload: Workload, others: Sequence[Finding]) -> Verdict:
    """A demonstration may fail its own checkers; all others must be good."""
    return workload.expected if all(finding.verdict == "good" for finding in others) else "good"


def judge(evidence: Evidence, asked: Sequence[Checker]) -> Judged:
    findings: list[Finding] = []
    troubles: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        for checker in asked:
            work = pool.submit(checker, evidence)
            error = work.exception()
            if error is None:
                findings.append(work.result())
                continue
            name = f"{checker.__module__.rpartition('.')[2]} broke"
            troubles.append(f"{name}: {told(error)}")
            findings.append(Finding(name=name, verdict="unknown", summary=told(error)))
    return Judged(tuple(findings), tuple(troubles))
