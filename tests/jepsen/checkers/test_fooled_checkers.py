"""Histories made to fool a checker: bad ones that look harmless, good ones that look bad, and long ones."""

from pathlib import Path

import msgspec
import pytest
from histories_made import assert_bad, assert_good, event, evidence, op
from msgspec.structs import replace
from test_search import NO_HURRY, read, told, write
from test_search import op as at

from jepsen_like.checkers import reflected, tasks
from jepsen_like.checkers.closing import close
from jepsen_like.checkers.counterexample import smallest
from jepsen_like.checkers.models.registry import MODELS
from jepsen_like.checkers.search import Bounds
from jepsen_like.history.jsonl import read_history
from jepsen_like.history.logged import log_of
from jepsen_like.history.record import Operation, Start


# --- locks ------------------------------------------------------------------------------------------
def acquire(owner: str, call: int, return_: int | None, token: int | None = None, permits: int = 1) -> Operation:
    return at(
        "acquire", {"owner": owner, "permits": permits}, call, return_, None if token is None else {"token": token}
    )


def of_hold(f: str, owner: str, token: int, call: int) -> Operation:
    return at(f, {"owner": owner, "token": token}, call, call + 1)


def test_token_that_falls_is_bad_and_one_entry_may_serve_two_of_a_semaphore() -> None:
    falls = [acquire("a", 0, 1, 7), of_hold("release", "a", 7, 2), acquire("b", 4, 5, 6)]
    assert told("lock", falls).verdict == "bad"
    assert told("lock", [*falls[:2], acquire("b", 4, 5, 8)]).verdict == "good"
    two = [acquire("a", 0, 1, 7, permits=2), acquire("b", 2, 3, 7, permits=2)]
    assert told("semaphore", two).verdict == "good"
    assert told("semaphore", [two[0], acquire("b", 2, 3, 6, permits=2)]).verdict == "bad"


def test_token_that_nobody_heard_is_one_token_and_not_any() -> None:
    unheard = [acquire("a", 0, None), of_hold("renew", "a", 5, 2)]
    assert told("lock", [*unheard, acquire("a", 4, 5, 5)]).verdict == "good"
    assert told("lock", [*unheard, of_hold("renew", "a", 7, 4)]).verdict == "bad"
    assert told("lock", [*unheard, acquire("a", 4, 5, 7)]).verdict == "bad"
    held = [acquire("b", 0, 1, 9), of_hold("release", "b", 9, 2), acquire("a", 4, 5)]
    assert told("lock", [*held, of_hold("release", "a", 8, 6)]).verdict == "bad"


def test_vote_refused_by_a_consumed_gate_would_have_changed_it() -> None:
    consumed = [at("put", {"required": 0}, 0, 1), at("consume", None, 2, 3)]
    revoked = at("revoke", {"actor": "a"}, 4, 5, error="wrong-state")
    assert told("gate", [*consumed, revoked]).verdict == "bad"
    approved = at("approve", {"actor": "a"}, 1, 2)
    assert told("gate", [consumed[0], approved, at("consume", None, 2, 3), revoked]).verdict == "good"


# --- long histories ---------------------------------------------------------------------------------
def test_stale_read_at_the_end_of_a_long_history_is_found_at_once_and_shown_with_the_write_it_missed() -> None:
    clients = [write(value, 10 * value, 10 * value + 95) for value in range(1, 3_000)]
    unknown = [write(10_000 + value, 100 * value) for value in range(200)]
    missed, stale = write(5_000, 40_000, 40_010), read(2_990, 40_020, 40_030)
    operations = sorted([*clients, *unknown, missed, stale], key=lambda one: one.call)
    found = MODELS["register"].judge(operations, Bounds(float("inf"), order=False))
    assert (found.verdict, found.stuck, found.configurations) == ("bad", stale, 0)
    assert set(smallest(MODELS["register"], operations, found, NO_HURRY).operations) == {missed, stale}
    again = [*operations, write(2_990, 40_005)]  # somebody may have written it once more
    assert MODELS["register"].judge(sorted(again, key=lambda one: one.call), NO_HURRY).verdict == "good"


def test_value_that_was_there_at_first_is_gone_for_good_once_written_over() -> None:
    outcome = MODELS["cas-register"].judge([write(1, 0, 1), read(0, 2, 3)], Bounds(float("inf"), order=False))
    assert (outcome.verdict, outcome.reason[:38]) == ("bad", "what it was told had been written over")
    assert MODELS["cas-register"].judge([write(1, 0, 5), read(0, 2, 3)], NO_HURRY).verdict == "good"


def test_string_that_many_append_to_is_found_in_about_as_many_steps_as_there_are_operations() -> None:
    operations: list[Operation] = []
    so_far = ""
    for turn in range(40):  # thirty at once, the last called taking effect first
        parts = [f"{turn}.{client} " for client in range(30)]
        begin = 1_000 * turn
        operations += [at("append", part, begin + place, begin + 900 + place) for place, part in enumerate(parts)]
        so_far += "".join(reversed(parts))
        operations.append(at("get", None, begin + 950, begin + 990, so_far))
    for before in ([], [at("put", "", -2, -1)]):
        found = MODELS["kv"].judge([*before, *operations], Bounds(float("inf"), configurations=50_000))
        assert found.verdict == "good"


def test_get_is_not_given_up_while_a_put_may_still_make_what_it_tells() -> None:
    lost = [at("put", "a", 0, 1), at("append", "x", 2, 3)]
    assert told("kv", [*lost, at("get", None, 4, 9, "b")]).verdict == "bad"
    for call, return_ in ((1, None), (4, 9), (6, None)):
        operations = sorted(
            [*lost, at("get", None, 5, 9, "b"), at("put", "b", call, return_)], key=lambda one: one.call
        )
        assert told("kv", operations).verdict == "good"


# --- idempotency keys -------------------------------------------------------------------------------
def test_key_without_an_answer_has_one_effect_and_not_one_for_each_attempt() -> None:
    tries = [op("append", "x", at=(n, 0), type_="unknown", request=f"r{n}", idempotency="k") for n in (0, 1)]
    assert close(tries, None, tries).operations == (tries[0],)
    done = close(tries, log_of([event(5, "UPDATE", request="r1")]), tries).operations
    assert [(one.request, one.call, one.type) for one in done] == [("r1", 0, "ok")]


def test_key_that_asks_for_something_else_is_no_repetition() -> None:
    first = op("write", 1, at=(0, 1), index=5, idempotency="k")
    other = op("write", 2, at=(2, 3), index=6, idempotency="k")
    assert close([first, other], None, []).operations == (first, other)


# --- what every run is judged by --------------------------------------------------------------------
def test_value_that_the_log_never_had_was_never_there_at_any_level() -> None:
    dirty = op("read", None, 7, at=(0, 1), index=1, level="eventual", key="never")
    assert_bad(reflected.check(evidence([dirty], [event(1, "RAFT")])), "shows-what-is-not")
    assert_good(
        reflected.check(evidence([replace(dirty, result=None), replace(dirty, result=[7])], [event(1, "RAFT")]))
    )


def test_reply_that_no_healthy_replica_gives_is_bad() -> None:
    torn = op("read", None, "a page of index 3 follows one of index 2", at=(0, 1), type_="fail", error="nonsense")
    assert_bad(reflected.check(evidence([torn], [event(1, "RAFT")])), "nonsense", "index 3")


def test_task_that_is_added_again_unfinished_is_bad() -> None:
    added = event(1, "TASK_ADD", tasks=("t",), payload={"queue": "q"})
    claimed = event(2, "TASK_CLAIM", tasks=("t",), token=2)
    again = event(3, "TASK_ADD", tasks=("t",), payload={"queue": "q"})
    assert_bad(tasks.check(evidence([], [added, claimed, again], drained=True)), "added-twice", "index 3")


# --- our own format ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (replace(read(1, 0, 1), return_=None), "ok without a return"),
        (replace(read(1, 5, 6), return_=4), "its return is before its call"),
        (replace(write(1, 0), return_=3), "an unknown outcome has no return"),
        (replace(read(1, 0, 1), level="Linearizable"), "the level 'Linearizable' is none of linearizable, lease"),
        (Start(workload="another"), "another run begins here"),
    ],
)
def test_line_that_would_be_judged_too_kindly_is_refused(
    line: Operation | Start, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "history.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, (Start(workload="one"), line))))
    with pytest.raises(ValueError, match=f"line 2: {complaint}"):
        read_history(file)
