"""Many runs, each a process of its own with its own command, and their common verdict.

Rules: a campaign passes only if every run has the verdict that was wanted of it. A run that could not be made, or gave
no verdict, is no pass. A night must have met everything that it should.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, structs

from jepsen_like.checkers.evidence import Verdict
from jepsen_like.history.jsonl import read_history
from jepsen_like.runs import sometimes
from jepsen_like.runs.folder import RunFolder
from jepsen_like.runs.options import Options, command, words

LAST_WORDS: Final = 400  # characters of what a run said that gave no result
FILE: Final = "campaign.json"


class Row(Struct, frozen=True, kw_only=True):
    """One run. `folder`: within the campaign's. `verdict`: None if it gave none, `note` says why. `without`, `shows`:
    of its options; `shown`: what it was to show was seen."""

    folder: str
    workload: str
    nemeses: tuple[str, ...]
    seed: int
    verdict: Verdict | None = None
    expected: Verdict = "good"
    without: tuple[str, ...] = ()
    shows: str = ""
    shown: bool = True
    seconds: float = 0
    ok: int = 0
    note: str = ""
    command: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict == self.expected and self.shown


class Campaign(Struct, frozen=True, kw_only=True):
    """`sometimes`: of all runs together. `never`: what should have been met and was not. `interrupted`: some of what
    was planned was not run."""

    profile: str
    seed: int
    began: str
    seconds: float = 0
    rows: tuple[Row, ...] = ()
    sometimes: dict[str, int] = {}
    never: tuple[str, ...] = ()
    unavailable: dict[str, str] = {}
    interrupted: bool = False

    @property
    def verdict(self) -> Verdict:
        """Of the campaign: bad if some run has a verdict that was not wanted, or not for what it was to show;
        unknown if one has none."""
        if any(row.verdict not in (None, "unknown") and not row.passed for row in self.rows):
            return "bad"
        whole = self.rows and not self.never and not self.interrupted
        return "good" if whole and all(row.passed for row in self.rows) else "unknown"


class Runner:
    """`tell`: gets each row as its run ends. `at_once`: runs at a time."""

    def __init__(self, folder: Path, *, at_once: int, tell: Callable[[Row], None]) -> None:
        self._folder = folder
        self._at_once = at_once
        self._tell = tell
        self._began = time.monotonic()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def end(self) -> None:
        """Tell the runs under way to end at once; they clean up after themselves."""
        for process in list(self._processes):
            process.terminate()

    def run(self, campaign: Campaign, planned: Iterable[Options], *, minutes: float | None, night: bool) -> Campaign:
        """`minutes`: after which no run begins. Written to campaign.json as it goes on. Ctrl-C reaches the runs under
        way too, which end with what they have."""
        rows: list[Row] = []
        seen: Counter[str] = Counter()
        waiting: Iterator[Options] = iter(planned)
        with ThreadPoolExecutor(self._at_once) as pool:
            under_way: set[Future[Row]] = set()
            while True:
                while len(under_way) < self._at_once and (options := self._next(waiting, minutes)) is not None:
                    under_way.add(pool.submit(self._one, len(rows) + len(under_way) + 1, options))
                if not under_way:
                    break
                try:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                except KeyboardInterrupt:
                    waiting, campaign = iter(()), structs.replace(campaign, interrupted=True)
                    continue
                for row in (work.result() for work in done):
                    rows.append(row)
                    seen.update(self._seen(row))
                    self._tell(row)
                campaign = self._written(campaign, rows, seen)
        if not night and next(waiting, None) is not None:
            campaign = structs.replace(campaign, interrupted=True)
        if night:
            campaign = structs.replace(campaign, never=tuple(sometimes.missed(seen)))
        return self._written(campaign, rows, seen)

    def _next(self, waiting: Iterator[Options], minutes: float | None) -> Options | None:
        if minutes is not None and time.monotonic() - self._began > minutes * 60:
            return None
        return next(waiting, None)

    def _one(self, number: int, options: Options) -> Row:
        """A run, in a process of its own."""
        name = "-".join(
            [f"{number:03}", *(f"no-{name}" for name in options.without), options.workload, *options.nemeses]
        )
        folder = RunFolder(self._folder / name)
        argv = [sys.executable, "-m", "jepsen_like", *words(options), "--folder", str(folder.path)]
        code, output = self._ended(argv)
        row = Row(
            folder=name,
            workload=options.workload,
            nemeses=options.nemeses,
            seed=options.seed,
            without=options.without,
            shows=options.shows,
            command=command(options),
        )
        if not folder.result.exists():
            said = output.decode("utf-8", "replace").strip()[-LAST_WORDS:]
            return structs.replace(row, note=f"exit code {code}: {said.splitlines()[-1] if said else ''}")
        result = folder.outcome()
        wrong = [finding for finding in result.findings if finding.verdict != "good"]
        wrong.sort(key=lambda finding: finding.name != options.shows)
        return structs.replace(
            row,
            verdict=result.verdict,
            expected=result.expected,
            shown=result.shown,
            seconds=result.seconds,
            ok=sum(operation.type == "ok" for operation in read_history(folder.history).operations),
            note=f"{wrong[0].name}: {wrong[0].summary}" if wrong else "",
        )

    def _ended(self, argv: Sequence[str]) -> tuple[int, bytes]:
        """Exit code, and all that was said."""
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            self._processes.add(process)
            output, _ = process.communicate()
            self._processes.discard(process)
            return process.returncode, output

    def _seen(self, row: Row) -> dict[str, int]:
        folder = RunFolder(self._folder / row.folder)
        return folder.outcome().sometimes if row.verdict is not None else {}

    def _written(self, campaign: Campaign, rows: list[Row], seen: Counter[str]) -> Campaign:
        campaign = structs.replace(
            campaign,
            rows=tuple(sorted(rows, key=lambda row: row.folder)),
            sometimes=dict(sorted(seen.items())),
            seconds=round(time.monotonic() - self._began, 1),
        )
        (self._folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(campaign)))
        return campaign


def read_campaign(folder: Path) -> Campaign:
    """Raises: ValueError, FileNotFoundError."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Campaign)
