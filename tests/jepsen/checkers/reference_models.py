"""What each model's thing does, written down once more and naively, and a judge that tries every order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from jepsen_like.history.record import Operation

Answer = tuple[str, object]  # ok and the result, or fail and the code; "never": it blocks, so it does not happen
Execute = Callable[[object, str, object, object], tuple[object, Answer]]
OK: Answer = ("ok", None)


def register(state: object, f: str, value: object, _: object) -> tuple[object, Answer]:
    match f, value:
        case "read", _:
            return state, ("ok", state)
        case "write", _:
            return value, OK
        case "delete", _:
            return None, OK
        case "cas", [old, new]:
            return (new, OK) if old == state else (state, ("fail", "precondition-failed"))
    raise AssertionError(f)


def memory(state: object, f: str, value: object, _: object) -> tuple[object, Answer]:
    version, there, held = state if isinstance(state, tuple) else (0, False, None)
    asked = value if isinstance(value, dict) else {}
    wanted = asked.get("if")
    if f == "read":
        return state, ("ok", {"version": version, "value": held} if there else None)
    if f in ("patch", "delete") and wanted is not None and not (there and wanted == version):
        return state, ("fail", "precondition-failed")
    if f == "delete" and version and not there:
        return state, ("ok", {"version": version})
    if f in ("patch", "delete") and not there:
        return state, ("fail", "not-found")
    after = (version + 1, f != "delete", asked.get("value"))
    return after, ("ok", {"version": version + 1})


def lock(state: object, f: str, value: object, token: object, permits: int = 1) -> tuple[object, Answer]:
    """A token that nobody heard is a range: of all that it can be."""
    held, newest = state if isinstance(state, tuple) else (frozenset(), 0)
    holds = dict(held)
    asked = value if isinstance(value, dict) else {}
    owner = asked["owner"]
    least = newest + (permits == 1)
    if f == "acquire":
        if owner not in holds and len(holds) >= permits:
            return state, ("fail", "lock-held")
        can_be = holds.get(owner, range(least, 1000))
        if isinstance(token, int):
            if token not in can_be:
                return state, ("never", None)
            newest = max(newest, token)
        holds[owner] = range(token, token + 1) if isinstance(token, int) else can_be
        return (frozenset(holds.items()), newest), ("ok", {"token": token})
    if owner in holds and len(holds[owner]) > 1 and token == "stale-token":
        return state, ("fail", "stale-token")  # it may have been another one
    if owner not in holds or asked["token"] not in holds[owner]:
        return state, ("fail", "stale-token")
    del holds[owner]
    return (frozenset(holds.items()), max(newest, asked["token"])), OK


def semaphore(state: object, f: str, value: object, token: object) -> tuple[object, Answer]:
    return lock(state, f, value, token, permits=2)


def gate(state: object, f: str, value: object, _: object) -> tuple[object, Answer]:
    if f == "put":
        required = value["required"] if isinstance(value, dict) else 0
        same = isinstance(state, tuple) and state[0] == required and not state[2]
        return (state if same else (required, frozenset(), False)), OK
    if not isinstance(state, tuple):
        return state, ("ok", None) if f == "read" else ("fail", "not-found")
    required, approvals, consumed = state
    is_open = len(approvals) >= required and not consumed
    if f == "read":
        return state, ("ok", {"open": is_open, "approvals": sorted(approvals), "consumed": consumed})
    if f == "consume":
        return ((required, approvals, True), OK) if is_open else (state, ("fail", "wrong-state"))
    actor = {value["actor"]} if isinstance(value, dict) else set()
    after = approvals | actor if f == "approve" else approvals - actor
    if consumed and after != approvals:
        return state, ("fail", "wrong-state")
    return (required, after, consumed), ("ok", {"open": len(after) >= required and not consumed})


def strings(state: object, f: str, value: object, _: object) -> tuple[object, Answer]:
    text = str(state or "")
    if f == "get":
        return state, ("ok", text)
    return (text + str(value) if f == "append" else value), OK


def registers(state: object, f: str, value: object, _: object) -> tuple[object, Answer]:
    assert f == "txn"
    values = dict(state) if isinstance(state, frozenset) else {}
    told: list[object] = []
    assert isinstance(value, list)
    for do, name, wanted in value:
        if do == "write":
            values[name] = wanted
        told.append([do, name, values.get(name, 0)])
    return frozenset(values.items()), ("ok", told)


def mutex(state: object, f: str, _: object, __: object) -> tuple[object, Answer]:
    wanted = f == "acquire"
    return (wanted, OK) if bool(state) is not wanted else (state, ("never", None))


@dataclass(frozen=True)
class Reference:
    """`asked`: an operation and its value. `wrong`: another answer of such, by operation. `looks`: change nothing."""

    execute: Execute
    asked: st.SearchStrategy[tuple[str, object]]
    wrong: Mapping[str, st.SearchStrategy[object]]
    looks: frozenset[str] = field(default_factory=frozenset)


def _either(*each: st.SearchStrategy[tuple[str, object]]) -> st.SearchStrategy[tuple[str, object]]:
    return st.one_of(each)


_VALUE = st.integers(1, 3)
_IF = st.one_of(st.none(), st.integers(1, 3))
_OWNER = st.sampled_from("ab")
_TOKEN = st.integers(1, 5)
_HOLDING = _either(
    st.tuples(st.just("acquire"), st.fixed_dictionaries({"owner": _OWNER, "permits": st.just(2)})),
    st.tuples(st.just("release"), st.fixed_dictionaries({"owner": _OWNER, "token": _TOKEN})),
)
_TOLD_TOKEN: Mapping[str, st.SearchStrategy[object]] = {"acquire": st.fixed_dictionaries({"token": _TOKEN})}
_MICRO = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("xy"), st.integers(0, 2)).map(list),
    st.tuples(st.just("read"), st.sampled_from("xy"), st.none()).map(list),
)
REFERENCES = {
    "register": Reference(
        register,
        _either(
            st.tuples(st.just("read"), st.none()),
            st.tuples(st.just("write"), _VALUE),
            st.tuples(st.just("cas"), st.tuples(_VALUE, _VALUE).map(list)),
            st.tuples(st.just("delete"), st.none()),
        ),
        {"read": st.one_of(st.none(), _VALUE)},
        frozenset({"read"}),
    ),
    "memory": Reference(
        memory,
        _either(
            st.tuples(st.just("read"), st.none()),
            st.tuples(st.just("put"), st.fixed_dictionaries({"value": _VALUE})),
            st.tuples(st.just("patch"), st.fixed_dictionaries({"value": _VALUE, "if": _IF})),
            st.tuples(st.just("delete"), st.fixed_dictionaries({"if": _IF})),
        ),
        {
            "read": st.one_of(st.none(), st.fixed_dictionaries({"version": st.integers(1, 4), "value": _VALUE})),
            "put": st.fixed_dictionaries({"version": st.integers(1, 4)}),
        },
        frozenset({"read"}),
    ),
    "lock": Reference(lock, _HOLDING, _TOLD_TOKEN),
    "semaphore": Reference(semaphore, _HOLDING, _TOLD_TOKEN),
    "gate": Reference(
        gate,
        _either(
            st.tuples(st.just("put"), st.fixed_dictionaries({"required": st.integers(0, 2)})),
            st.tuples(st.sampled_from(["approve", "revoke"]), st.fixed_dictionaries({"actor": _OWNER})),
            st.tuples(st.sampled_from(["read", "consume"]), st.none()),
        ),
        {
            "read": st.fixed_dictionaries(
                {"open": st.booleans(), "approvals": st.just(["a"]), "consumed": st.booleans()}
            ),
            "approve": st.fixed_dictionaries({"open": st.booleans()}),
        },
        frozenset({"read"}),
    ),
    "kv": Reference(
        strings,
        _either(
            st.tuples(st.just("get"), st.none()),
            st.tuples(st.sampled_from(["append", "append", "put"]), st.sampled_from("xyz")),
        ),
        {"get": st.text("xyz", max_size=3)},
        frozenset({"get"}),
    ),
    "multi-register": Reference(
        registers,
        st.tuples(st.just("txn"), st.lists(_MICRO, min_size=1, max_size=2)),
        {},
    ),
    "mutex": Reference(mutex, st.tuples(st.sampled_from(["acquire", "release"]), st.none()), {}),
}


@st.composite
def histories(draw: st.DrawFn, reference: Reference, most: int = 6) -> list[Operation]:
    """Of a thing that does as it must: each operation happens once between its call and its return. Some have no
    answer, and of those some never happened."""
    state: object = None
    made: list[Operation] = []
    for number in range(draw(st.integers(1, most))):
        f, value = draw(reference.asked)
        middle = 10 * number + 50
        call, return_ = middle - draw(st.integers(1, 30)), middle + draw(st.integers(1, 30))
        unknown = draw(st.integers(0, 5)) == 0
        before = state
        state, (type_, told) = reference.execute(state, f, value, number + 1)
        if type_ == "never" or (unknown and draw(st.booleans())):
            state = before
        if type_ == "never":
            continue
        made.append(
            Operation(
                process=number,
                f=f,
                value=value,
                type="unknown" if unknown else "ok" if type_ == "ok" else "fail",
                result=told if type_ == "ok" and not unknown else None,
                error=str(told) if type_ == "fail" and not unknown else None,
                call=call,
                return_=None if unknown else return_,
            )
        )
    return sorted(made, key=lambda operation: operation.call)


def some_order_fits(reference: Reference, operations: Sequence[Operation]) -> bool:
    """Every order of every choice of the unknown ones, until one fits. One with a return happens by then, or never."""
    return _rest_fits(reference, None, tuple(operations))


def _rest_fits(reference: Reference, state: object, left: tuple[Operation, ...]) -> bool:
    if all(operation.type == "unknown" for operation in left):
        return True
    soonest = min(_end(operation) for operation in left if operation.type != "unknown")
    for operation in left:
        if operation.call > soonest:
            continue
        after, fits = _happens(reference, state, operation)
        rest = [one for one in left if one is not operation and (one.type != "unknown" or _end(one) >= operation.call)]
        if fits and _rest_fits(reference, after, tuple(rest)):
            return True
    return False


def _end(operation: Operation) -> float:
    return float("inf") if operation.return_ is None else operation.return_


def _happens(reference: Reference, state: object, operation: Operation) -> tuple[object, bool]:
    told = operation.result
    token = told.get("token") if isinstance(told, dict) else operation.error
    after, (type_, answer) = reference.execute(state, operation.f, operation.value, token)
    if type_ == "never":
        return state, False
    if operation.type == "unknown":
        return after, True
    if operation.type == "fail":
        return after, type_ == "fail" and answer == operation.error
    return after, type_ == "ok" and (answer == told or (told is None and operation.f not in reference.looks))
