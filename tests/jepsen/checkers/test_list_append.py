"""Lists that are appended to: known answers, and serial executions with one read falsified."""

import random
from collections.abc import Callable, Sequence
from itertools import permutations, product

import pytest
from histories_made import assert_bad, assert_good, evidence, op
from hypothesis import given, settings
from hypothesis import strategies as st

from jepsen_like.checkers.cycles import RW, WW, Graph
from jepsen_like.checkers.list_append import check
from jepsen_like.history.record import Operation


def append(value: int, after: list[int] | None, at: tuple[int, int], key: str = "x") -> Operation:
    return op("append", value, after, at=at, key=key)


def read(seen: list[int], at: tuple[int, int], key: str = "x", level: str = "lease") -> Operation:
    return op("read", None, seen, at=at, key=key, level=level)


def lost(value: int, at: int, key: str = "x") -> Operation:
    return op("append", value, at=(at, at), key=key, type_="unknown")


def txn(value: object, result: object, at: tuple[int, int]) -> Operation:
    return op("txn", value, result, at=at, key="")


GOOD = {
    "one after another": [append(1, [1], (0, 1)), append(2, [1, 2], (2, 3)), read([1, 2], (4, 5))],
    "an unknown append that was done": [lost(1, 0), read([1], (4, 5))],
    "an unknown append that was never done": [lost(1, 0), read([], (4, 5))],
    "an unknown append that is done late": [lost(1, 0), read([], (4, 5)), read([1], (6, 7))],
    "a weak read of the past": [append(1, [1], (0, 1)), read([], (4, 5), level="eventual")],
    "overlapping reads": [append(1, [1], (0, 9)), read([], (2, 5)), read([1], (1, 4))],
    "two lists in one entry": [
        txn([["x", 1], ["y", 2]], [[1], [2]], (0, 5)),
        read([1], (1, 6)),
        read([2], (6, 7), key="y"),
    ],
}
BAD = {
    "G1a": [
        op("append", 1, at=(0, 1), type_="fail", error="no-leader"),
        read([1], (2, 3)),
    ],
    "never-appended": [append(1, [1], (0, 1)), read([1, 7], (2, 3))],
    "duplicate": [append(1, [1], (0, 1)), append(2, None, (0, 1)), read([1, 2, 1], (2, 3))],
    "lost-append": [append(1, None, (0, 1)), append(2, [2], (0, 1)), read([2], (2, 3))],
    "incompatible-order": [lost(1, 0), lost(2, 0), read([1, 2], (1, 2)), read([2, 1], (1, 2))],
    "lost-update": [append(1, [1], (0, 5)), append(2, [2], (0, 5))],
    "stale-read": [append(1, [1], (0, 1)), read([], (2, 3))],
    "real-time-order": [append(1, None, (0, 1)), append(2, None, (2, 3)), read([2, 1], (4, 5))],
    "internal": [append(1, [1, 2], (0, 1)), lost(2, 0)],
    "G1b": [txn([["x", 1], ["x", 2]], None, (0, 9)), read([1], (1, 2)), read([1, 2], (3, 4))],
    # y was seen without what stands in x before it
    "G0": [
        txn([["x", 1], ["y", 2]], None, (0, 9)),
        txn([["x", 3], ["y", 4]], None, (0, 9)),
        read([1, 3], (10, 11)),
        read([4, 2], (10, 11), key="y"),
    ],
    "G1c": [
        txn([["append", "x", 1], ["r", "y", None]], [None, [2]], (0, 9)),
        txn([["append", "y", 2], ["r", "x", None]], [None, [1]], (0, 9)),
    ],
    "G-single": [
        txn([["x", 1], ["y", 2]], None, (0, 9)),
        txn([["r", "x", None], ["r", "y", None]], [[1], []], (0, 9)),
        read([2], (10, 11), key="y"),
    ],
    "G2": [
        txn([["r", "x", None], ["append", "y", 2]], [[], None], (0, 9)),
        txn([["r", "y", None], ["append", "x", 1]], [[], None], (0, 9)),
        read([1], (10, 11)),
        read([2], (10, 11), key="y"),
    ],
    # who read y without 2 knew, by another's read of 3, that it was there: no key alone shows it
    "G-single-realtime": [
        txn([["x", 1], ["y", 2]], None, (0, 9)),
        txn([["y", 3], ["x", 4]], None, (0, 9)),
        txn([["r", "x", None]], [[1]], (1, 2)),
        txn([["r", "y", None]], [[]], (3, 4)),
        read([1, 4], (10, 11)),
        read([2, 3], (10, 11), key="y"),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_history_that_one_order_explains_is_good(name: str) -> None:
    assert_good(check(evidence(GOOD[name])))


@pytest.mark.parametrize("name", BAD)
def test_history_that_no_order_explains_is_bad_by_its_name(name: str) -> None:
    assert_bad(check(evidence(BAD[name])), name)


def test_lost_update_between_two_transactions_is_spelled_out() -> None:
    both = [
        txn([["r", "x", None], ["append", "x", 1]], [[], None], (0, 9)),
        txn([["r", "x", None], ["append", "x", 2]], [[], None], (0, 9)),
        read([1, 2], (10, 11)),
    ]
    assert_bad(check(evidence(both)), "lost-update", "by rw on x", "by ww on x")


def test_what_is_missing_in_the_end_is_lost() -> None:
    acknowledged, shown = append(1, [1], (0, 1)), [lost(2, 2), read([1, 2], (3, 4))]
    assert_good(check(evidence([acknowledged, *shown], lists={"x": [1, 2]})))
    assert_bad(check(evidence([acknowledged, *shown], lists={"x": [1]})), "lost-append", "2 of x was read")
    assert_bad(check(evidence([acknowledged], lists={})), "lost-append", "1 of x was acknowledged")


def test_nothing_at_all_is_not_judged() -> None:
    assert check(evidence([])).verdict == "unknown"


# --- brute force ------------------------------------------------------------------------------------
def serial(operations: Sequence[Operation]) -> bool:
    """Whether some order that real time allows explains every answer. Unknown ones may be left out."""
    doubtful = [one for one in operations if one.type == "unknown"]
    for left_out in product((False, True), repeat=len(doubtful)):
        gone = {id(one) for one, out in zip(doubtful, left_out, strict=True) if out}
        kept = [one for one in operations if id(one) not in gone and one.type != "fail"]
        if any(_explains(order) for order in permutations(kept)):
            return True
    return False


def _explains(order: Sequence[Operation]) -> bool:
    state: dict[str, list[object]] = {}
    latest = -1
    for one in order:
        if one.return_ is not None and one.return_ < latest:
            return False
        latest = max(latest, one.call)
        steps = one.value if one.f == "txn" else [[one.key, one.value]] if one.f == "append" else []
        assert isinstance(steps, list)
        for key, value in steps:
            state.setdefault(key, []).append(value)
        told = one.result if one.f != "txn" or one.result is None else None
        if one.type == "ok" and told is not None and told != state.get(one.key, []):
            return False
    return True


@st.composite
def runs(draw: Callable[..., int]) -> list[Operation]:
    """At most six operations by overlapping clients, carried out one at a time between their call and their return."""
    integers = st.integers
    count = draw(integers(2, 6))
    state: dict[str, list[int]] = {"x": [], "y": []}
    done: list[Operation] = []
    for moment in range(count):
        at = (10 * moment - draw(integers(0, 25)), 10 * moment + draw(integers(1, 25)))
        key = "xy"[draw(integers(0, 1))]
        match draw(integers(0, 4)):
            case 0 | 1:
                done.append(read(list(state[key]), at, key=key))
            case 2:
                state[key].append(moment)
                done.append(append(moment, list(state[key]), at, key=key))
            case 3:
                for name in "xy":
                    state[name].append(moment)
                done.append(txn([["x", moment], ["y", moment]], None, at))
            case _:
                if draw(integers(0, 1)):
                    state[key].append(moment)
                done.append(lost(moment, at[0], key=key))
    return done


@settings(max_examples=150, deadline=None)
@given(runs())
def test_simulated_serial_run_is_good(operations: list[Operation]) -> None:
    assert check(evidence(operations)).verdict == "good", operations


@settings(max_examples=250, deadline=None)
@given(runs(), st.randoms(use_true_random=False))
def test_falsified_read_is_found_or_harmless(operations: list[Operation], chance: random.Random) -> None:
    reads = [place for place, one in enumerate(operations) if one.f == "read"]
    if not reads:
        return
    place = chance.choice(reads)
    was = operations[place]
    values = list(was.result) if isinstance(was.result, list) else []
    if values and chance.random() < 0.5:
        values.pop(chance.randrange(len(values)))
    else:
        values.insert(chance.randint(0, len(values)), chance.randrange(len(operations)))
    operations[place] = read(values, (was.call // 1_000_000, (was.return_ or 0) // 1_000_000), key=was.key)
    verdict = check(evidence(operations)).verdict
    assert verdict == ("good" if serial(operations) else "bad"), operations


# --- large ------------------------------------------------------------------------------------------
def test_many_operations_by_many_clients_are_good() -> None:
    chance = random.Random(7)
    state: dict[str, list[int]] = {}
    operations: list[Operation] = []
    for moment in range(20_000):
        key, at = f"{moment // 1000}-{chance.randrange(5)}", (10 * moment - chance.randrange(60), 10 * moment + 30)
        held = state.setdefault(key, [])
        if chance.random() < 0.5:
            held.append(moment)
            operations.append(append(moment, list(held), at, key=key))
        else:
            operations.append(read(list(held), at, key=key))
    finding = check(evidence(operations, lists=dict(state)))
    assert_good(finding)
    assert finding.counts["operations"] == 20_000


def test_long_cycle_is_found_without_recursion() -> None:
    graph = Graph(50_000)
    for node in range(50_000):
        graph.add(node, (node + 1) % 50_000, WW if node else RW, 0)
    (cycle,) = graph.cycles()
    assert cycle.name == "G-single"
    assert len(cycle.steps) == 50_000
