"""Jepsen's old console logs of one register: `INFO  jepsen.util - 3 :invoke :cas [1 2]`.

nil is absent. A cas that failed with its own value is a known mismatch, with a reason (`:timed-out`) it was not done; a
failed read says nothing; `:info` leaves a write open for ever. Passed over: a time before the line, lines of other
parts of Jepsen and of the nemesis, fields behind the value. Refused: a log without any line of the kind.
"""

import re

from jepsen_like.history.calls import Calls, Entry, happening
from jepsen_like.history.edn import Keyword, read_forms
from jepsen_like.history.record import History, Operation

_LINE = re.compile(r"\s*(?:\d{4}-\S+\s+\d\S*\s+)?[A-Z]+\s+(?:\[[^\]]*\]\s+)?(?P<part>[\w.$-]+)(?:\s+-|:)\s(?P<rest>.*)")


def read_jepsen_log(text: str) -> History:
    """Raises: ValueError naming the line."""
    calls = Calls(_completed)
    found = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number}: not of a Jepsen log: {line[:60]!r}")
        if match["part"] != "jepsen.util":
            continue
        found = True
        entry = _entry(number, match["rest"])
        if entry is not None:
            calls.add(entry)
    if not found:
        raise ValueError("no line of it is of jepsen.util")
    return History(None, calls.operations())


def _entry(number: int, rest: str) -> Entry | None:
    """None: it is of the nemesis, which may say anything."""
    if rest.lstrip().startswith(":"):
        return None
    try:
        forms = read_forms(rest)
    except ValueError as error:
        raise ValueError(f"line {number}: {str(error).partition(': ')[2]}") from error
    if len(forms) < 3:
        raise ValueError(f"line {number}: not an operation: {rest[:60]!r}")
    process, type_, f = forms[:3]
    value = forms[3] if len(forms) > 3 else None
    if not isinstance(process, int) or not isinstance(f, Keyword) or f not in ("read", "write", "cas"):
        raise ValueError(f"line {number}: not an operation of a register: {rest[:60]!r}")
    entry = Entry(number, process, happening(type_, number), str(f), value)
    if entry.type == "invoke" and f != "read":
        _look_at(entry)
    return entry


def _look_at(entry: Entry) -> None:
    given = entry.value if isinstance(entry.value, list) else [entry.value]
    wanted = 2 if entry.f == "cas" else 1
    if len(given) != wanted or not all(value is None or isinstance(value, int) for value in given):
        raise ValueError(f"line {entry.line}: {entry.f} of {entry.value!r}")


def _completed(call: Entry, back: Entry | None, at: int, place: int) -> Operation:
    operation = Operation(process=call.process, f=call.f, value=call.value, type="unknown", call=at)
    if call.f == "read":
        operation = Operation(process=call.process, f="read", type="unknown", call=at)
    if back is None or back.type == "info":
        return operation
    told = back.value if call.f == "read" and back.type == "ok" else None
    return Operation(
        process=call.process,
        f=call.f,
        value=operation.value,
        type="ok" if back.type == "ok" else "fail",
        result=told,
        call=at,
        return_=place,
        error="precondition-failed" if back.type == "fail" and call.f == "cas" and back.value == call.value else None,
    )
