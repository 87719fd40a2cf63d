"""Histories as maps in EDN: `{:process 3, :type :ok, :f :read, :value 4}`, in one vector or one after the other.

As Jepsen means them: `:ok` is done, with the value of the answer; `:fail` was not done, for whatever reason; `:info`
may have been. A read that told nil is one whose answer is not known (but of a string map, where every get tells, and of
a list, where it is empty). Values `[key value]` of independent tests are taken apart (`independent.py`). Passed over:
whatever is done by a process that is no number (the nemesis).
"""

from collections.abc import Iterator

from jepsen_like.history.calls import Calls, Entry, happening
from jepsen_like.history.edn import Map, read_forms
from jepsen_like.history.independent import apart
from jepsen_like.history.record import History, Operation

LOOKS = ("read", "get")


def read_edn(text: str) -> History:
    """Raises: ValueError naming the line."""
    entries: list[Entry] = []
    for form in _maps(text):
        process = form.get("process")
        if isinstance(process, int) and not isinstance(process, bool):
            entries.append(_entry(process, form))
        elif process is None:
            raise ValueError(f"line {form.line}: an operation without a :process")
    calls = Calls(_completed)
    for entry in apart(entries):
        calls.add(entry)
    return History(None, calls.operations())


def read_porcupine_kv(text: str) -> History:
    """The maps with a `:key` and strings, one a line. Raises: ValueError naming the line."""
    for form in _maps(text):
        if not isinstance(form.get("key"), str) or form.get("f") not in ("get", "put", "append"):
            raise ValueError(f"line {form.line}: not a get, put or append of a key")
        if (form.get("f"), form.get("type"), form.get("value")) == ("get", "ok", None):
            raise ValueError(f"line {form.line}: a get that tells nothing")
    return read_edn(text)


def _maps(text: str) -> Iterator[Map]:
    forms = read_forms(text)
    if not forms:
        raise ValueError("there is nothing in it")
    if len(forms) == 1 and isinstance(forms[0], list):
        forms = forms[0]
    for number, form in enumerate(forms, 1):
        if not isinstance(form, Map):
            raise ValueError(f"form {number}: {str(form)[:60]!r} is not an operation")
        yield form


def _entry(process: int, form: Map) -> Entry:
    f = form.get("f")
    if not isinstance(f, str):
        raise ValueError(f"line {form.line}: an operation without a :f")
    key, error = form.get("key"), form.get("error")
    return Entry(
        form.line,
        process,
        happening(form.get("type"), form.line),
        str(f),
        _bare(form.get("value")),
        "" if key is None else str(key),
        None if error is None else str(error),
    )


def _bare(value: object) -> object:
    """Without the classes of EDN, so that it can be written as JSON."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if isinstance(value, Map):
        return {str(name): _bare(item) for name, item in value.items()}
    return str(value) if isinstance(value, str) else value


def _completed(call: Entry, back: Entry | None, at: int, place: int) -> Operation:
    looks = call.f in LOOKS
    unknown = Operation(
        process=call.process, f=call.f, key=call.key, value=None if looks else call.value, type="unknown", call=at
    )
    if back is None or back.type == "info" or (looks and back.type == "ok" and back.value is None):
        return unknown
    told = back.value if back.type == "ok" and (looks or back.value != call.value) else None
    if back.type == "ok" and back.value is not None and is_list_append(call.value):
        told = _lists(call, back)
    return Operation(
        process=call.process,
        f=call.f,
        key=call.key,
        value=_written(call, back) if call.f in ("write", "cas") else unknown.value,
        type="ok" if back.type == "ok" else "fail",
        result=told,
        call=at,
        return_=place,
        error=f"edn:{back.error}" if back.type == "fail" and back.error else None,
    )


def _written(call: Entry, back: Entry) -> object:
    """Where the answer names a value of the same kind, or the call none, it was that."""
    named = back.type == "ok" and (call.value is None or type(back.value) is type(call.value))
    return back.value if named else call.value


def is_list_append(value: object) -> bool:
    """`[[:append key value] [:r key nil]]`"""
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 3 and one[0] in ("append", "r") for one in value
    )


def _lists(call: Entry, back: Entry) -> list[object]:
    """The answer to each step, None for an append. Raises: ValueError."""
    asked, told = call.value, back.value
    assert isinstance(asked, list)
    if (
        not isinstance(told, list)
        or not is_list_append(told)
        or [one[:2] for one in told] != [one[:2] for one in asked]
    ):
        raise ValueError(f"line {back.line}: {str(told)[:60]} is no answer to {str(asked)[:60]}")
    return [None if f == "append" else [] if seen is None else seen for f, _, seen in told]
