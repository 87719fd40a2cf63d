"""Histories as maps in EDN: `{:process 3, :type :ok, :f :read, :value 4}`, in one vector or one after the other.

As Jepsen means them: `:ok` is done, with the value of the answer; `:fail` was not done, for whatever reason; `:info`
may have been. A read that told nil is one whose answer is not known (but of a string map, where every get tells).
Passed over: whatever is done by a process that is no number (the nemesis).
"""

from collections.abc import Iterator

from jepsen_like.history.calls import Calls, Entry, happening
from jepsen_like.history.edn import Map, read_forms
from jepsen_like.history.record import History, Operation

LOOKS = ("read", "get")


def read_edn(text: str) -> History:
    """Raises: ValueError naming the line."""
    calls = Calls(_completed)
    for form in _maps(text):
        process = form.get("process")
        if isinstance(process, int) and not isinstance(process, bool):
            calls.add(_entry(process, form))
        elif process is None:
            raise ValueError(f"line {form.line}: an operation without a :process")
    return History(None, calls.operations())


def read_porcupine_kv(text: str) -> History:
    """The maps with a `:key` and strings, one a line. Raises: ValueError naming the line."""
    for form in _maps(text):
        if not isinstance(form.get("key"), str) or form.get("f") not in ("get", "put", "append"):
            raise ValueError(f"line {form.line}: not a get, put or append of a key")
    return read_edn(text)


def _maps(text: str) -> Iterator[Map]:
    forms = read_forms(text)
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
    return Operation(
        process=call.process,
        f=call.f,
        key=call.key,
        value=unknown.value,
        type="ok" if back.type == "ok" else "fail",
        result=told,
        call=at,
        return_=place,
        error=f"edn:{back.error}" if back.type == "fail" and back.error else None,
    )
