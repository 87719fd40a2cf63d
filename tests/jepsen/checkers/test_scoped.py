"""Known answers of the checker of lists and searches: one log, and one wrong answer for each rule."""

import pytest

from jepsen_like.checkers import scoped
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.history.logged import Event, log_of
from jepsen_like.history.record import History, Operation

ANN = {"app_id": "a", "user_id": "ann"}
BOB = {"app_id": "a", "user_id": "bob"}
LOG = [
    Event(index=1, seq=0, term=1, op="RAFT"),
    *(
        Event(index=index, seq=0, term=1, op=op, memory_id=name, version=version, payload=payload)
        for index, op, name, version, payload in [
            (2, "ADD", "m1", 1, {**ANN, "text": "x", "tags": ["t"], "embedding": [1.0, 0.0]}),
            (3, "ADD", "m2", 1, {**ANN, "run_id": "r", "text": "y", "embedding": [0.6, 0.8]}),
            (4, "ADD", "m3", 1, {**BOB, "text": "x", "on_duplicate": "noop"}),
            (5, "UPDATE", "m1", 2, {"value": 5}),
            (6, "DELETE", "m2", 2, {}),
            (7, "UPDATE", "m1", 3, {"tags": []}),
        ]
    ),
    Event(index=8, seq=0, term=1, op="ADD", outcome="refused", code="too-large", memory_id="m9", payload={**ANN}),
]


def judge(*operations: Operation, more: tuple[Event, ...] = ()) -> Finding:
    return scoped.check(Evidence(history=History(None, operations), log=log_of([*LOG, *more])))


def listed(index: int, value: dict[str, object], *rows: tuple[str, int]) -> Operation:
    result = [list(row) for row in rows]
    return Operation(process=1, f="list", type="ok", value=value, result=result, call=1, return_=2, index=index)


def searched(index: int, value: dict[str, object], *rows: tuple[str, int, float]) -> Operation:
    result = [list(row) for row in rows]
    return Operation(process=1, f="search", type="ok", value=value, result=result, call=1, return_=2, index=index)


OF_ANN: dict[str, object] = {"scope": ANN}
NEAR: dict[str, object] = {"scope": ANN, "embedding": [1.0, 0.0], "top_k": 2}


@pytest.mark.parametrize(
    "operation",
    [
        listed(1, OF_ANN),
        listed(3, OF_ANN, ("m1", 1), ("m2", 1)),
        listed(5, OF_ANN, ("m1", 2), ("m2", 1)),
        listed(6, OF_ANN, ("m1", 2)),
        listed(99, OF_ANN, ("m1", 3)),
        listed(6, {"scope": ANN, "tags": ["t"]}, ("m1", 2)),
        listed(7, {"scope": ANN, "tags": ["t"]}),
        listed(3, {"scope": {**ANN, "run_id": "r"}}, ("m2", 1)),
        listed(4, {"scope": {"app_id": "a"}}, ("m1", 1), ("m2", 1), ("m3", 1)),
        searched(5, NEAR, ("m1", 2, 1.0), ("m2", 1, 0.6)),
        searched(5, {**NEAR, "top_k": 1}, ("m1", 2, 1.0)),
        searched(4, {"scope": BOB, "embedding": [1.0, 0.0], "top_k": 2}),
        searched(4, {**NEAR, "embedding": [1.0, 0.0, 0.0]}),
        searched(4, {**NEAR, "embedding": [-1.0, 0.0]}, ("m1", 1, 0.0), ("m2", 1, 0.0)),
    ],
)
def test_an_answer_that_shows_its_index_is_good(operation: Operation) -> None:
    assert judge(operation).verdict == "good", judge(operation)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (listed(3, OF_ANN, ("m1", 1)), "left-out"),
        (listed(6, OF_ANN, ("m1", 2), ("m2", 1)), "not-there"),
        (listed(4, OF_ANN, ("m1", 1), ("m2", 1), ("m3", 1)), "not-there"),
        (listed(8, OF_ANN, ("m1", 3), ("m9", 1)), "not-there"),
        (listed(5, OF_ANN, ("m1", 1), ("m2", 1)), "wrong-version"),
        (listed(6, OF_ANN, ("m1", 2), ("m1", 2)), "shown-twice"),
        (listed(7, {"scope": ANN, "tags": ["t"]}, ("m1", 3)), "not-there"),
        (searched(5, {**NEAR, "top_k": 1}, ("m2", 1, 0.6)), "not-the-best"),
        (searched(5, NEAR, ("m1", 2, 1.0)), "not-the-best"),
        (searched(5, NEAR, ("m2", 1, 1.0), ("m1", 2, 0.6)), "wrong-score"),
    ],
)
def test_a_wrong_answer_is_named(operation: Operation, kind: str) -> None:
    finding = judge(operation)
    assert (finding.verdict, finding.counts.get(kind, 0) > 0) == ("bad", True), finding


def test_a_fact_that_was_added_twice_though_only_once_was_asked_is_found() -> None:
    again = Event(
        index=9,
        seq=0,
        term=1,
        op="ADD",
        memory_id="m4",
        version=1,
        payload={**BOB, "text": "x", "on_duplicate": "noop"},
    )
    assert judge(listed(1, OF_ANN), more=(again,)).counts["duplicate"] == 1
    elsewhere = Event(index=9, seq=0, term=1, op="ADD", memory_id="m4", version=1, payload={**ANN, "text": "x"})
    assert judge(listed(1, OF_ANN), more=(elsewhere,)).verdict == "good"


def test_a_duplicate_that_is_none_is_found() -> None:
    taken = {**BOB, "on_duplicate": "noop"}
    right, wrong = (
        Event(index=9, seq=0, term=1, op="NOOP", requested_op="ADD", memory_id="m3", payload={**taken, "text": text})
        for text in ("x", "z")
    )
    assert judge(listed(1, OF_ANN), more=(right,)).verdict == "good"
    assert judge(listed(1, OF_ANN), more=(wrong,)).counts["no-duplicate"] == 1


def test_nothing_shown_or_no_log_is_not_judged() -> None:
    assert judge().verdict == "unknown"
    assert scoped.check(Evidence(history=History(None, (listed(1, OF_ANN),)), log=None)).verdict == "unknown"
