"""The search says what trying every order says, of every model; its bounds hold, and it can be fooled by neither."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from reference_models import REFERENCES, Reference, histories, some_order_fits

from jepsen_like.checkers.models.register import Register
from jepsen_like.checkers.models.registry import MODELS
from jepsen_like.checkers.search import Bounds, Outcome, search
from jepsen_like.history.record import Operation, Type

NAMES = sorted(REFERENCES)
NO_HURRY = Bounds(float("inf"))


def told(name: str, operations: Sequence[Operation]) -> Outcome:
    return MODELS[name].judge(operations, NO_HURRY)


def wronged(draw: st.DrawFn, reference: Reference, operations: list[Operation]) -> list[Operation]:
    """One answer is another, or one operation took another time."""
    place = draw(st.integers(0, len(operations) - 1))
    operation = operations[place]
    if operation.type == "ok" and operation.f in reference.wrong and draw(st.booleans()):
        wrong = replace(operation, result=draw(reference.wrong[operation.f]))
    elif operation.return_ is not None:
        call = draw(st.integers(0, 110))
        wrong = replace(operation, call=call, return_=call + draw(st.integers(1, 30)))
    else:
        wrong = replace(operation, call=draw(st.integers(0, 110)))
    return sorted([*operations[:place], wrong, *operations[place + 1 :]], key=lambda one: one.call)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_history_of_a_thing_that_does_as_it_must_is_accepted(name: str, data: st.DataObject) -> None:
    operations = data.draw(histories(REFERENCES[name], most=12))
    assert told(name, operations).verdict == "good"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_verdict_is_that_of_trying_every_order(name: str, data: st.DataObject) -> None:
    reference = REFERENCES[name]
    operations = data.draw(histories(reference))
    for _ in range(data.draw(st.integers(0, 2)) if operations else 0):
        operations = data.draw(st.composite(wronged)(reference, operations))
    outcome = told(name, operations)
    assert (outcome.verdict == "good") == some_order_fits(reference, operations)
    if outcome.verdict == "good":
        assert_is_an_order(reference, operations, outcome.order)


def assert_is_an_order(reference: Reference, operations: Sequence[Operation], order: Sequence[Operation]) -> None:
    """It allows for real time and has everything that was answered; so it alone has to fit."""
    for earlier, later in itertools.combinations(order, 2):
        assert later.return_ is None or later.return_ >= earlier.call
    in_order = [replace(operation, call=place, return_=place) for place, operation in enumerate(order)]
    assert some_order_fits(reference, [replace(one, type="ok") if one.type == "unknown" else one for one in in_order])
    assert [operation for operation in operations if operation.type == "ok" and operation not in order] == []


def op(
    f: str, value: object, call: int, return_: int | None, result: object = None, error: str | None = None
) -> Operation:
    if return_ is None:
        return Operation(process=call, f=f, value=value, type="unknown", call=call)
    type_: Type = "ok" if error is None else "fail"
    return Operation(process=call, f=f, value=value, type=type_, result=result, call=call, return_=return_, error=error)


def write(value: int, call: int, return_: int | None = None) -> Operation:
    return op("write", value, call, return_)


def read(value: int | None, call: int, return_: int) -> Operation:
    return op("read", None, call, return_, value)


def test_unknown_write_may_take_effect_late_but_not_before_its_call_and_once() -> None:
    late = [write(1, 0), read(None, 1, 2), read(1, 3, 4)]
    assert told("register", late).verdict == "good"
    twice = [*late, write(2, 5, 6), read(1, 7, 8)]
    assert told("register", twice).verdict == "bad"
    early = [read(1, 0, 1), write(1, 2)]
    assert told("register", early).verdict == "bad"


def test_unknown_operations_that_do_the_same_are_counted_not_told_apart() -> None:
    unknown = [write(1, place) for place in range(30)]
    turns = [one for at in range(100, 160, 4) for one in (write(2, at, at + 1), read(1, at + 2, at + 3))]
    good = told("register", [*unknown, *turns])
    assert (good.verdict, good.configurations < 200) == ("good", True)
    bad = told("register", [*unknown[:14], *turns])
    assert (bad.verdict, bad.configurations < 200) == ("bad", True)


def test_failed_cas_may_be_explained_by_a_value_that_nobody_saw() -> None:
    mismatch = op("cas", [1, 5], 4, 5, error="precondition-failed")
    assert told("register", [write(1, 0, 1), mismatch]).verdict == "bad"
    assert told("register", [write(1, 0, 1), write(7, 2), mismatch]).verdict == "good"
    assert told("register", [write(1, 0, 1), write(1, 2), mismatch]).verdict == "bad"


def test_call_at_the_instant_of_a_return_overlaps_it() -> None:
    assert told("register", [write(1, 0, 5), read(None, 5, 6)]).verdict == "good"
    assert told("register", [write(1, 0, 5), read(None, 6, 7)]).verdict == "bad"


def test_operation_that_may_lapse_happens_in_its_time_or_never() -> None:
    lapsing = replace(write(1, 2), return_=4)
    assert told("register", [write(2, 0, 1), lapsing, read(1, 8, 9)]).verdict == "good"
    assert told("register", [write(2, 0, 1), lapsing, read(2, 8, 9)]).verdict == "good"
    assert told("register", [write(2, 0, 1), lapsing, read(2, 5, 6), read(1, 8, 9)]).verdict == "bad"


def test_value_that_was_never_written_is_named_without_a_search() -> None:
    outcome = told("register", [write(1, 0, 1), read(3, 2, 3)])
    assert (outcome.verdict, outcome.reason, outcome.configurations) == ("bad", "3 was never written", 0)


def test_stuck_operation_is_the_one_that_fits_nowhere() -> None:
    stale = read(1, 6, 7)
    outcome = told("register", [write(1, 0, 1), write(2, 2, 3), read(2, 4, 5), stale, write(1, 8, 9)])
    assert (outcome.verdict, outcome.stuck) == ("bad", stale)
    assert [operation.value for operation in outcome.order if operation.f == "write"] == [1, 2]


def hard(count: int) -> list[Operation]:
    """Transactions that overlap, and one read too many."""
    writes = [op("txn", [["write", name, 1]], place, 100) for place, name in enumerate("abcdefghijkl"[:count])]
    return [
        *writes,
        op("txn", [["read", "a", None], ["read", "b", None]], 50, 101, [["read", "a", 2], ["read", "b", 0]]),
    ]


def test_search_that_reaches_a_bound_is_unknown_never_good_or_bad() -> None:
    assert MODELS["multi-register"].judge(hard(8), NO_HURRY).verdict == "bad"
    few = MODELS["multi-register"].judge(hard(8), Bounds(float("inf"), configurations=100))
    assert (few.verdict, few.reason) == ("unknown", "stopped at 100 configurations")
    ticks = itertools.count()
    short = MODELS["multi-register"].judge(hard(12), Bounds(3, clock=lambda: float(next(ticks))))
    assert (short.verdict, short.reason) == ("unknown", "stopped by time at 768 configurations")


def test_long_history_of_many_clients_needs_neither_recursion_nor_many_configurations() -> None:
    writes = [write(value, 10 * value, 10 * value + 45) for value in range(1, 10_000)]
    reads = [read(value, 10 * value + 46, 10 * value + 47) for value in range(1, 10_000, 3)]
    outcome = search(Register(), sorted([*writes, *reads], key=lambda one: one.call), Bounds(float("inf")))
    assert (outcome.verdict, outcome.configurations < 40_000) == ("good", True)


def test_operation_of_another_model_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"the model lock knows no operation 'read' \(process 1\)"):
        told("lock", [read(1, 1, 2)])
