"""The complaints of one checker so far, by kind, and the finding that follows from them.

The rule: every fault is counted, and the first few of each kind are told, so that a run full of faults makes a page and
not a book.
"""

from collections import Counter

import msgspec

from jepsen_like.checkers.evidence import Finding
from jepsen_like.history.record import Operation

TOLD_OF_A_KIND = 8
_VALUE_CHARS = 160


class Complaints:
    """`name`: of the checker. Something is wrong: `add`. Something cannot be judged: `doubt`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kinds: Counter[str] = Counter()
        self._told: dict[str, list[str]] = {}
        self._doubts: list[str] = []

    def __len__(self) -> int:
        return self._kinds.total()

    def add(self, kind: str, text: str) -> None:
        self._kinds[kind] += 1
        told = self._told.setdefault(kind, [])
        if len(told) < TOLD_OF_A_KIND:
            told.append(f"{kind}: {text}")

    def doubt(self, text: str) -> None:
        self._doubts.append(text)

    def finding(self, good: str, counts: dict[str, int] | None = None) -> Finding:
        """`good`: the summary if there is nothing to complain of."""
        details = [line for kind in self._told for line in self._lines(kind)]
        counted = {**(counts or {}), **self._kinds}
        if self._kinds:
            summary = "; ".join(f"{count} × {kind}" for kind, count in self._kinds.most_common())
            return Finding(
                name=self._name, verdict="bad", summary=summary, details=(*details, *self._doubts), counts=counted
            )
        if self._doubts:
            return Finding(
                name=self._name,
                verdict="unknown",
                summary=f"not judged: {self._doubts[0]}",
                details=tuple(self._doubts),
                counts=counted,
            )
        return Finding(name=self._name, verdict="good", summary=good, counts=counted)

    def _lines(self, kind: str) -> list[str]:
        more = self._kinds[kind] - len(self._told[kind])
        return [*self._told[kind], *([f"{kind}: and {more} more"] if more else [])]


def ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f}"


def when(operation: Operation) -> str:
    """From its call to its return."""
    end = "?" if operation.return_ is None else ms(operation.return_)
    return f"{ms(operation.call)}–{end} ms"


def tell(operation: Operation) -> str:
    """An operation in one line, for people."""
    parts = [f"process {operation.process}: {operation.f}"]
    if operation.key:
        parts.append(operation.key)
    if operation.value is not None:
        parts.append(short(operation.value))
    if operation.type == "ok":
        parts.append(f"-> {short(operation.result)}")
    else:
        parts.append(f"-> {operation.type}{f' ({operation.error})' if operation.error else ''}")
    where = f" by {operation.node}" if operation.node else ""
    index = "" if operation.index is None else f", index {operation.index}"
    level = f", {operation.level}" if operation.level else ""
    return f"{' '.join(parts)} [{when(operation)}{where}{index}{level}]"


def short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _VALUE_CHARS else f"{text[: _VALUE_CHARS - 60]} … {text[-50:]}"
