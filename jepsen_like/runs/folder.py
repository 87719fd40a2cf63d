"""The folder of a run, and the file names in it. Every reader and writer uses this module."""

from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from jepsen_like.checkers.evidence import Ending, Evidence, Finding, Verdict
from jepsen_like.history.jsonl import read_history
from jepsen_like.history.logged import read_log


class Result(Struct, frozen=True, kw_only=True):
    """The result of a run.

    `sometimes`: the count of each thing that happened. `unavailable`: nemeses that could not be used here, and why.
    `began`: RFC 3339, for people. `command`: repeats it. `expected`: the verdict that was wanted. `shows`: the
    finding that was to be bad, if one was.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    sometimes: dict[str, int] = {}
    unavailable: dict[str, str] = {}
    began: str = ""
    seconds: float = 0
    command: str = ""
    expected: Verdict = "good"
    shows: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict == self.expected and self.shown

    @property
    def shown(self) -> bool:
        """A run that is bad for another reason than it should be has not shown what it was to show."""
        return not self.shows or any(
            finding.name == self.shows and finding.verdict == "bad" for finding in self.findings
        )


class RunFolder(NamedTuple):
    """`nodes`: what each replica wrote and its settings; `data`: their folders, kept when the run did not pass."""

    path: Path

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def clients(self) -> Path:
        """The log of the client library."""
        return self.path / "clients.log"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def ending(self) -> Path:
        return self.path / "ending.json"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def nodes(self) -> Path:
        return self.path / "nodes"

    def evidence(self) -> Evidence:
        """Raises: ValueError naming the file and the line."""
        ending = msgspec.json.decode(self.ending.read_bytes(), type=Ending) if self.ending.exists() else Ending()
        log = read_log(self.log) if self.log.exists() else None
        return Evidence(history=read_history(self.history), log=log, ending=ending)

    def outcome(self) -> Result:
        """Raises: ValueError, FileNotFoundError when the run did not get that far."""
        return msgspec.json.decode(self.result.read_bytes(), type=Result)
