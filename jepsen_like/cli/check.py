"""`python -m jepsen_like check FILE…`: judges recorded histories, raftmem's own and those of others.

It prints the verdict first, then the few operations that show it. It starts nothing and reads only files. Beside a
history of the harness lies the log of its run, which settles operations without an answer. The folder of a run is
judged by every checker that judged the run.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from jepsen_like.checkers import list_append
from jepsen_like.checkers.columns import FUNCTIONS as LIST_APPEND_FUNCTIONS
from jepsen_like.checkers.evidence import Evidence, Finding, Verdict, worst
from jepsen_like.checkers.linearizability import examine
from jepsen_like.checkers.models.registry import MODELS
from jepsen_like.cli.exits import OF, give_up
from jepsen_like.history.formats import FORMATS, Loaded, load
from jepsen_like.runs.folder import RunFolder
from jepsen_like.runs.judging_again import judge_again

LIST_APPEND = "list-append"
OWN = "jsonl"
ORDER: tuple[Verdict, ...] = ("bad", "unknown", "good")
SHOWN: dict[Verdict, str] = {"good": "LINEARIZABLE", "bad": "NOT LINEARIZABLE", "unknown": "UNKNOWN"}
OF_A_RUN: dict[Verdict, str] = {"good": "GOOD", "bad": "BAD", "unknown": "UNKNOWN"}


class Checked(msgspec.Struct, frozen=True):
    """Of one file, or of one checker of a run. `model`: the checker's name, of a run."""

    file: str
    format: str
    model: str
    verdict: Verdict
    finding: Finding


def check_command(
    files: Annotated[list[Path], typer.Argument(help="Histories; of a run, its folder will do.", show_default=False)],
    model: Annotated[str | None, typer.Option(help=f"One of {', '.join((*MODELS, LIST_APPEND))}.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="Of search for each file; then it is unknown.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON, without pictures.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Draw the first counterexample into this file.")] = None,
) -> None:
    """Judge recorded histories; the exit code is that of the worst."""
    checked: list[Checked] = []
    for file in files:
        try:
            of_run = _run(file) if file.is_dir() and model is None else []
            found = of_run or [_check(RunFolder(file).history if file.is_dir() else file, model, format_, seconds)]
        except (ValueError, OSError) as error:
            give_up(str(error) if str(file) in str(error) else f"{file}: {error}")
        checked += found
        if as_json:
            continue
        if of_run:
            print(f"{OF_A_RUN[worst([one.finding for one in of_run])]}  {file}")
        for one in found:
            _tell(one, of_run=bool(of_run))
    pictures = [picture for found in checked for picture in found.finding.pictures]
    if svg is not None and pictures:
        try:
            svg.write_text(pictures[0].svg)
        except OSError as error:
            give_up(f"{svg}: {error.strerror}")
    if as_json:
        plain = [msgspec.structs.replace(one, finding=_without_pictures(one.finding)) for one in checked]
        print(msgspec.json.format(msgspec.json.encode(plain)).decode())
    raise typer.Exit(OF[worst([one.finding for one in checked])])


def _run(folder: Path) -> list[Checked]:
    """The findings on a run of the harness; none if its workload is not known. Raises: ValueError,
    OSError."""
    run = RunFolder(folder)
    if not run.history.exists():
        raise ValueError(f"{folder} holds no history.jsonl; give the folder of a run, or files")
    findings = sorted(judge_again(run), key=lambda one: ORDER.index(one.verdict))
    return [Checked(str(run.history), OWN, finding.name, finding.verdict, finding) for finding in findings]


def _check(file: Path, model: str | None, format_: str | None, seconds: float) -> Checked:
    """Raises: ValueError, OSError."""
    loaded = load(file, format_)
    name = _model(loaded, model)
    finding = _examined(file, loaded, name, seconds)
    return Checked(str(file), loaded.format, name, finding.verdict, finding)


def _model(loaded: Loaded, asked: str | None) -> str:
    name = asked or loaded.model
    known = ", ".join((*MODELS, LIST_APPEND))
    functions = sorted({operation.f for operation in loaded.history.operations})
    if name is None:
        raise ValueError(f"no model is known for its operations ({', '.join(functions)}); say --model, one of {known}")
    if name not in MODELS and name != LIST_APPEND:
        raise ValueError(f"the model {name!r} is none of {known}")
    if loaded.format != OWN:
        foreign = set(functions) - (LIST_APPEND_FUNCTIONS if name == LIST_APPEND else MODELS[name].functions)
        if foreign:
            raise ValueError(f"the model {name} knows no operation {min(foreign)!r}")
    return name


def _examined(file: Path, loaded: Loaded, name: str, seconds: float) -> Finding:
    run = RunFolder(file.parent)
    evidence = run.evidence() if loaded.format == OWN and run.history == file else None
    if evidence is None:
        evidence = Evidence(history=loaded.history, log=None)
    if name == LIST_APPEND:
        return list_append.check(evidence)
    finding = examine(MODELS[name], evidence, seconds=seconds)
    if loaded.format != OWN and not loaded.history.operations:
        return msgspec.structs.replace(finding, verdict="good", summary="no client did anything")
    return finding


def _tell(found: Checked, *, of_run: bool) -> None:
    if of_run:
        print(f"  {found.verdict:<8}{found.model}: {found.finding.summary}")
    else:
        print(f"{SHOWN[found.verdict]}  {found.file}")
        print(f"  {found.finding.summary} ({found.format})")
    if of_run and found.verdict == "good":
        return
    indent = " " * (10 if of_run else 2)
    for line in found.finding.details:
        print(f"{indent}{line}")
    counts = ", ".join(f"{count:,} {what}" for what, count in found.finding.counts.items() if count)
    if counts or not of_run:
        print(f"{indent}{counts or 'nothing to judge'}")


def _without_pictures(finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, pictures=())
