"""Counters, sets and the bank: known answers, each rule with one small history that breaks it."""

import pytest
from histories_made import assert_bad, assert_good, event, evidence, op

from jepsen_like.checkers import bank, counters, sets
from jepsen_like.history.logged import Event
from jepsen_like.history.record import Operation


def add(value: int, told: int | None, at: tuple[int, int]) -> Operation:
    return op("add", value, told, at=at)


def read(told: object, at: tuple[int, int], level: str = "lease") -> Operation:
    return op("read", None, told, at=at, level=level)


def open_add(value: int, at: int, request: str = "r1") -> Operation:
    return op("add", value, at=(at, at), type_="unknown", request=request)


# --- counters ---------------------------------------------------------------------------------------
COUNTED = [add(2, 2, (0, 1)), read(2, (2, 3)), add(3, 5, (4, 5)), read(5, (6, 7))]


def test_counter_within_its_bounds_is_good() -> None:
    assert_good(counters.check(evidence(COUNTED, counters={"x": 5})))
    assert_good(counters.check(evidence([*COUNTED, read(0, (8, 9), "eventual")], counters={"x": 5})))
    assert_good(
        counters.check(evidence([add(2, None, (0, 9)), read(None, (1, 2)), read(2, (1, 2))], counters={"x": 2}))
    )


@pytest.mark.parametrize(
    ("kind", "operations"),
    [
        ("lost-add", [add(2, None, (0, 1)), read(0, (2, 3))]),
        ("too-much", [add(2, None, (0, 1)), read(3, (2, 3))]),
        ("too-much", [add(2, None, (4, 5)), read(2, (2, 3))]),
        ("lost-update", [add(2, 2, (0, 9)), add(2, 2, (0, 9))]),
        ("falls", [add(2, 4, (0, 5)), add(2, None, (0, 9)), add(2, 2, (6, 7))]),
    ],
)
def test_counter_out_of_bounds_is_bad(kind: str, operations: list[Operation]) -> None:
    assert_bad(counters.check(evidence(operations)), kind)


def test_unknown_addition_counts_as_the_log_says() -> None:
    done = [event(5, "UPDATE", request="r1")]
    operations = [add(2, None, (0, 1)), open_add(3, 2)]
    assert_good(counters.check(evidence(operations, done, counters={"x": 5})))
    assert_bad(counters.check(evidence(operations, done, counters={"x": 2})), "wrong-sum", "1 of 1 unknown")
    assert_bad(counters.check(evidence(operations, [], counters={"x": 5})), "wrong-sum")
    assert_good(counters.check(evidence(operations, None, counters={"x": 2})))
    assert_bad(counters.check(evidence(operations, None, counters={"x": 6})), "wrong-sum", "2..5")


def test_counter_that_also_falls_is_bounded_both_ways() -> None:
    operations = [add(5, None, (0, 1)), add(-3, None, (2, 9)), read(2, (3, 4)), read(5, (3, 4))]
    assert_good(counters.check(evidence(operations, counters={"x": 2})))
    assert_bad(counters.check(evidence([*operations, read(1, (5, 6))], counters={"x": 2})), "lost-add")


def test_counter_that_nobody_read_in_the_end_is_not_judged() -> None:
    assert counters.check(evidence(COUNTED)).verdict == "unknown"


# --- sets -------------------------------------------------------------------------------------------
def test_set_that_only_grows_is_good() -> None:
    operations = [
        add(1, None, (0, 1)),
        open_add(2, 0),
        read([1], (2, 3)),
        read([2, 1], (4, 5)),
        read([], (6, 7), "eventual"),
    ]
    assert_good(sets.check(evidence(operations, sets={"x": [1, 2]})))


@pytest.mark.parametrize(
    ("kind", "operations", "final"),
    [
        ("lost-element", [add(1, None, (0, 1)), read([], (2, 3))], [1]),
        ("lost-element", [add(1, None, (0, 1))], []),
        ("lost-element", [open_add(1, 0), read([1], (2, 3)), read([], (4, 5))], [1]),
        ("never-added", [add(1, None, (0, 1)), read([1, 9], (2, 3))], [1]),
        ("failed-add", [op("add", 1, at=(0, 1), type_="fail"), read([1], (2, 3))], []),
        ("duplicate", [add(1, None, (0, 1)), read([1, 1], (2, 3))], [1]),
    ],
)
def test_set_that_lost_or_made_up_something_is_bad(kind: str, operations: list[Operation], final: list[int]) -> None:
    assert_bad(sets.check(evidence(operations, sets={"x": final})), kind)


def test_set_that_is_gone_in_the_end_is_bad() -> None:
    assert_bad(sets.check(evidence([add(1, None, (0, 1))], sets={})), "lost-element", "in the end")


# --- bank -------------------------------------------------------------------------------------------
OPENED = [
    event(1, "ADD", memory="a", version=1, payload={"value": 10}),
    event(2, "ADD", memory="b", version=1, payload={"value": 10}),
]


def moved(index: int, much: int, much_else: int | None = None) -> list[Event]:
    taken, given = ({"merge": {"value": {"op": "inc", "by": by}}} for by in (-much, much_else or much))
    return [
        event(index, "TXN", succeeded=True),
        event(index, "UPDATE", seq=1, memory="a", version=2, payload=taken),
        event(index, "UPDATE", seq=2, memory="b", version=2, payload=given),
    ]


def balances(a: int, b: int, index: int) -> Operation:
    return op("read", None, {"a": a, "b": b}, at=(index, index + 1), index=index)


def test_bank_whose_total_stays_is_good() -> None:
    operations = [balances(10, 10, 2), balances(7, 13, 3), balances(7, 13, 9)]
    finding = bank.check(evidence(operations, [*OPENED, *moved(3, 3)], total=20, balances={"a": 7, "b": 13}))
    assert_good(finding)
    assert finding.counts == {"transfers": 0, "reads": 4, "indexes": 2}


@pytest.mark.parametrize(
    ("kind", "read", "events"),
    [
        ("wrong-total", balances(7, 10, 3), [*OPENED, *moved(3, 3)]),
        ("negative", balances(-1, 21, 3), [*OPENED, *moved(3, 11)]),
        ("not-as-logged", balances(8, 12, 3), [*OPENED, *moved(3, 3)]),
        ("not-as-logged", balances(7, 13, 2), [*OPENED, *moved(3, 3)]),
        ("wrong-total-in-log", balances(7, 13, 4), [*OPENED, *moved(3, 2, 4), *moved(4, 1, -1)]),
    ],
)
def test_bank_that_lost_money_is_bad(kind: str, read: Operation, events: list[Event]) -> None:
    assert_bad(bank.check(evidence([balances(10, 10, 2), read], events, total=20)), kind)


def test_bank_without_an_account_is_bad() -> None:
    partial = op("read", None, {"a": 20}, at=(5, 6))
    assert_bad(bank.check(evidence([balances(10, 10, 2), partial], total=20)), "missing-account", "'b'")
