"""Idempotency keys: known answers."""

from histories_made import assert_bad, assert_good, event, evidence, op

from jepsen_like.checkers.idempotency import check
from jepsen_like.history.logged import Event
from jepsen_like.history.record import Operation, Type


def tried(request: str, at: int, *, key: str = "k1", type_: Type = "ok", value: int = 1, index: int = 5) -> Operation:
    told = {"value": value, "index": index} if type_ == "ok" else None
    where = index if type_ == "ok" else None
    return op("add", 1, told, at=(at, at + 1), type_=type_, index=where, request=request, idempotency=key)


def done(index: int, request: str) -> Event:
    return event(index, "UPDATE", memory="x", request=request)


FIRST = tried("r1", 0, type_="unknown")


def test_key_that_is_asked_again_and_done_once_is_good() -> None:
    operations = [FIRST, tried("r2", 2), tried("r3", 4), tried("r4", 0, key="k2", type_="unknown")]
    finding = check(evidence(operations, [done(5, "r1")], counters={"x": 1}))
    assert_good(finding)
    assert finding.counts == {"keys": 2, "again": 2}


def test_unknown_outcome_that_the_log_knows_counts_once() -> None:
    assert_good(check(evidence([FIRST], [done(5, "r1")], counters={"x": 1})))
    assert_bad(check(evidence([FIRST], [done(5, "r1")], counters={"x": 0})), "wrong-sum")


def test_key_that_was_done_twice_is_bad() -> None:
    log = [done(5, "r1"), done(6, "r2")]
    finding = check(evidence([FIRST, tried("r2", 2, index=6, value=2)], log, counters={"x": 2}))
    assert_bad(finding, "two-effects", "[5, 6]")
    assert_bad(finding, "wrong-sum", "x is 2")


def test_replies_that_differ_are_bad() -> None:
    operations = [tried("r1", 0), tried("r2", 2, value=2)]
    assert_bad(check(evidence(operations, [done(5, "r1")], counters={"x": 1})), "told-differently")


def test_acknowledged_effect_that_the_log_does_not_have_is_bad() -> None:
    assert_bad(check(evidence([tried("r1", 0)], [], counters={"x": 0})), "effect-lost", "index [5]")


def test_two_keys_told_the_same_value_are_bad() -> None:
    operations = [tried("r1", 0), tried("r2", 0, key="k2", index=6)]
    assert_bad(check(evidence(operations, [done(5, "r1"), done(6, "r2")], counters={"x": 2})), "lost-update")


def test_nothing_under_a_key_is_not_judged() -> None:
    assert check(evidence([op("add", 1, at=(0, 1))], [])).verdict == "unknown"
