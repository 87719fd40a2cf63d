"""One run: a group is started, loaded under faults, healed and examined, and the evidence is judged.

Rules: every run that can have a verdict gets one. What could not be examined makes it `unknown`; a group that does not
come back after the last fault makes it `bad`.
"""

import shutil
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from jepsen_like.checkers.evidence import worst
from jepsen_like.history.record import Start
from jepsen_like.history.recorder import Recorder
from jepsen_like.runs import judging, sometimes
from jepsen_like.runs.folder import Result, RunFolder
from jepsen_like.runs.live import View
from jepsen_like.runs.options import Options, command
from jepsen_like.runs.performing import Performance
from jepsen_like.runs.staging import DATA, staged, usable
from jepsen_like.workloads.contract import Workload
from jepsen_like.workloads.registry import WORKLOADS

RUNS: Final = Path("jepsen-runs")


class Unavailable(Exception):
    """None of the nemeses that were asked for can be used here."""


class Outcome(NamedTuple):
    """`troubles`: what went wrong in the harness itself."""

    folder: RunFolder
    result: Result
    troubles: tuple[str, ...]


def new_folder(options: Options) -> RunFolder:
    """Raises: ValueError when that folder holds something."""
    name = "-".join([datetime.now(UTC).strftime("%Y%m%dT%H%M%S"), options.workload, *options.nemeses[:3]])
    path = options.folder or RUNS / f"{name}-{options.seed}"
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise ValueError(f"{path} is not empty; give another folder")
    return RunFolder(path.absolute())


def run(options: Options, folder: RunFolder, view: View) -> Outcome:
    """Raises: Unavailable; Trouble when the group does not come up; KeyboardInterrupt when it is asked for twice."""
    began, clock = datetime.now(UTC), time.monotonic()
    workload = WORKLOADS[options.workload](options.choices)
    with closing(Recorder(folder.history)) as recorder:
        recorder.write(_start(options, workload))
        nemeses, unavailable = usable(options, recorder)
        if unavailable and not nemeses:
            raise Unavailable("; ".join(f"{name}: {reason}" for name, reason in unavailable.items()))
        performance = Performance(options, folder, recorder, view)
        with staged(options, folder, recorder, workload, nemeses) as world:
            performance.perform(world, workload, nemeses)
    performance.enter("judges")
    evidence = folder.evidence()
    own = judging.judge(evidence, workload.checkers())
    others = judging.judge(evidence, judging.universal(workload, options))
    besides = (*performance.findings, *others.findings)
    findings = (*own.findings, *besides)
    result = Result(
        verdict=worst(list(findings)),
        findings=tuple(sorted(findings, key=lambda finding: ("bad", "unknown", "good").index(finding.verdict))),
        sometimes=sometimes.counted(evidence, outputs=performance.outputs, polled=performance.polled),
        unavailable={**unavailable, **dict.fromkeys(performance.idle, "it found nothing to strike")},
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 1),
        command=command(options),
        expected="bad" if options.shows else judging.wanted(workload, besides),
        shows=options.shows,
    )
    folder.result.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    _tidy(folder, keep=options.keep or not result.passed)
    return Outcome(folder, result, (*performance.troubles, *own.troubles, *others.troubles))


def _start(options: Options, workload: Workload) -> Start:
    return Start(
        workload=options.workload,
        model=workload.model,
        nemeses=options.nemeses,
        seed=options.seed,
        seconds=options.seconds,
        nodes=options.nodes,
        clients=options.clients,
        options={"keys": options.keys, "rate": options.rate, "levels": options.levels, "overlap": options.overlap},
        without=options.without,
        command=command(options),
    )


def _tidy(folder: RunFolder, *, keep: bool) -> None:
    """Moves the output and settings of the replicas to nodes/; their folders stay only when they may be needed."""
    folder.nodes.mkdir()
    data = folder.path / DATA
    for path in sorted(data.iterdir()):
        if path.suffix in (".output", ".toml"):
            shutil.copy2(path, folder.nodes / path.name)
    if not keep:
        shutil.rmtree(data)
