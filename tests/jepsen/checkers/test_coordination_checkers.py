"""Gates, transactions and guarded counters: stories that keep the rules, and for each rule one that breaks it."""

import pytest
from msgspec.structs import replace

from jepsen_like.checkers import counting, gates, txns
from jepsen_like.checkers.evidence import Evidence
from jepsen_like.history.logged import Actor, Event, log_of
from jepsen_like.history.record import History, Operation, Type


def told(story: str) -> list[Event]:
    """`1 PUT required=1`, `2 APPROVE ann open`, `3 UPDATE plan 2`, `3 CLOSE`: events of the gate `g` and of memories.

    Every event of a gate is closed unless it ends with `open`; `!` before the op: refused.
    """
    events: list[Event] = []
    for line in story.split(", "):
        index, op, *rest = line.split()
        seq = sum(event.index == int(index) for event in events)
        plain = Event(index=int(index), seq=seq, term=1, op=op.removeprefix("!"))
        about = of_memory(plain, rest) if plain.op in ("ADD", "UPDATE", "DELETE") else of_gate(plain, rest)
        if op.startswith("!"):
            code = "precondition-failed" if about.gate is None else "wrong-state"
            about = replace(about, outcome="refused", code=code)
        events.append(about)
    return events


def of_memory(event: Event, rest: list[str]) -> Event:
    payload = {"value": 0, "guards": [{"gate": "g", "open": True}] if "guarded" in rest else []}
    return replace(event, memory_id=rest[0], version=int(rest[1]), payload=payload)


def of_gate(event: Event, rest: list[str]) -> Event:
    words = [word for word in rest if word != "open"]
    actor = Actor("user", words[0]) if event.op in ("APPROVE", "REVOKE") else None
    payload = definition(words) if event.op == "PUT" else None
    return replace(event, op=f"GATE_{event.op}", gate="g", open="open" in rest, actor=actor, payload=payload)


def definition(words: list[str]) -> dict[str, object]:
    """`required=2 by=ann plan=1`."""
    given = dict(word.split("=") for word in words)
    pins = [{"memory": name, "version": int(at)} for name, at in given.items() if name not in ("required", "by")]
    return {"required": int(given["required"]), "approvers": [given["by"]] if "by" in given else [], "pins": pins}


def read(index: int, *, is_open: bool, approvals: list[str], consumed: bool = False) -> Operation:
    result = {"open": is_open, "approvals": approvals, "consumed": consumed}
    return Operation(process=1, f="read", key="g", type="ok", result=result, call=1, return_=2, index=index)


def evidence(events: list[Event], *operations: Operation) -> Evidence:
    return Evidence(history=History(None, operations), log=log_of(events))


GOOD = "1 ADD plan 1, 2 PUT required=1 plan=1, 3 APPROVE ann open, 4 ADD done 1 guarded, 5 UPDATE plan 2, 5 CLOSE"


def test_gate_that_is_as_its_log_says_is_good() -> None:
    end = "6 !ADD more 1 guarded, 7 !CONSUME, 8 PUT required=0 open, 9 CONSUME, 10 !CONSUME, 11 PUT required=0 open"
    reads = [read(2, is_open=False, approvals=[]), read(4, is_open=True, approvals=["user/ann"])]
    late = [read(5, is_open=False, approvals=["user/ann"]), read(10, is_open=False, approvals=[], consumed=True)]
    finding = gates.check(evidence(told(f"{GOOD}, {end}"), *reads, *late))
    assert (finding.verdict, finding.counts) == ("good", {"gates": 1, "consumed": 1, "closed": 1})


@pytest.mark.parametrize(
    ("story", "kind"),
    [
        (GOOD.removesuffix(", 5 CLOSE"), "not-closed"),
        (GOOD.replace("5 UPDATE", "6 UPDATE").replace("5 CLOSE", "7 CLOSE"), "not-closed"),
        ("1 PUT required=2, 2 APPROVE ann, 3 APPROVE ann open", "wrongly-told"),
        ("1 PUT required=1 by=bob, 2 APPROVE ann open", "no-approver"),
        ("1 PUT required=1, 2 CONSUME", "wrongly-consumed"),
        ("1 PUT required=0 open, 2 CONSUME, 3 CONSUME", "wrongly-consumed"),
        ("1 PUT required=0 open, 2 CONSUME, 3 APPROVE ann", "after-the-end"),
        ("1 PUT required=0 open, 2 !CONSUME", "wrongly-refused"),
        ("1 PUT required=1, 2 ADD done 1 guarded", "guard-broken"),
        ("1 PUT required=0 open, 2 !ADD done 1 guarded", "wrongly-refused"),
        ("1 APPROVE ann", "no-such-gate"),
    ],
)
def test_gate_that_breaks_a_rule_is_found(story: str, kind: str) -> None:
    finding = gates.check(evidence(told(story)))
    assert finding.verdict == "bad"
    assert kind in finding.counts


def test_read_that_tells_what_the_log_does_not_say_at_its_index_is_found() -> None:
    finding = gates.check(evidence(told(GOOD), read(5, is_open=True, approvals=["user/ann"])))
    assert (finding.verdict, "wrong-read" in finding.counts) == ("bad", True)


# --- transactions -------------------------------------------------------------------------------------
def taken(type_: Type, index: int | None = 7) -> Operation:
    value = {"ops": ["LOCK_ACQUIRE", "UPDATE"]}
    told = index if type_ == "ok" else None
    return Operation(process=1, f="take", value=value, type=type_, call=1, index=told, request="r")


def of_request(*places: tuple[int, str]) -> list[Event]:
    return [Event(index=index, seq=seq, term=1, op=op, request_id="r") for seq, (index, op) in enumerate(places)]


WHOLE = ((7, "TXN"), (7, "LOCK_ACQUIRE"), (7, "UPDATE"))


@pytest.mark.parametrize(
    ("type_", "places", "kind"),
    [
        ("ok", WHOLE, None),
        ("unknown", WHOLE, None),
        ("unknown", (), None),
        ("fail", (), None),
        ("fail", WHOLE, "refused-and-applied"),
        ("ok", (), "lost"),
        ("ok", WHOLE[:2], "torn"),
        ("unknown", (*WHOLE[:2], (8, "UPDATE")), "torn"),
        ("ok", tuple((8, op) for _, op in WHOLE), "misplaced"),
    ],
)
def test_transaction_is_good_whole_or_not_at_all(
    type_: Type, places: tuple[tuple[int, str], ...], kind: str | None
) -> None:
    finding = txns.check(evidence(of_request(*places), taken(type_)))
    assert finding.verdict == ("good" if kind is None else "bad")
    assert kind is None or kind in finding.counts


# --- counters -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "verdict"), [([0, 1, 2, 3], "good"), ([0, 1, 1, 2], "bad"), ([0, 2], "bad"), ([0], "unknown")]
)
def test_guarded_counter_is_good_if_each_write_is_one_higher(values: list[int], verdict: str) -> None:
    events = [
        Event(index=at, seq=0, term=1, op="UPDATE", memory_id="m", version=at, payload={"value": value})
        for at, value in enumerate(values, 1)
    ]
    counted = Operation(process=1, f="count", key="m", type="ok", call=1, return_=2)
    assert counting.check(evidence(events, counted)).verdict == verdict
