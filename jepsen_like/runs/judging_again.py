"""A recorded run, judged again: by the checkers of its workload, and by those that judge every run.

Findings made during the run (whether it recovered, whether a replica ended by itself, Ctrl-C) are taken from its
result. Rule: a run without a result is not good, whatever its history says.
"""

import msgspec
from msgspec import structs

from jepsen_like.checkers.evidence import Finding
from jepsen_like.history.record import Start
from jepsen_like.runs.folder import RunFolder
from jepsen_like.runs.judging import judge, universal
from jepsen_like.runs.options import Options
from jepsen_like.workloads.registry import WORKLOADS

CUT_SHORT = Finding(name="result", verdict="unknown", summary="the run did not get to its end")


def judge_again(run: RunFolder) -> tuple[Finding, ...]:
    """Nothing if it is no run of a workload that is known. Raises: ValueError, OSError."""
    evidence = run.evidence()
    start = evidence.history.start
    if start is None or start.workload not in WORKLOADS:
        return ()
    options = _options(start)
    workload = WORKLOADS[options.workload](options.choices)
    found = judge(evidence, (*workload.checkers(), *universal(workload, options))).findings
    if not run.result.exists():
        return (CUT_SHORT, *found)
    names = {finding.name for finding in found}
    return (*found, *(finding for finding in run.outcome().findings if finding.name not in names))


def _options(start: Start) -> Options:
    """Those of the run, as its first line has them."""
    known = structs.asdict(start) | start.options
    named = {field.name for field in structs.fields(Options)}
    return msgspec.convert({name: value for name, value in known.items() if name in named}, Options)
