"""What the final log says of operations without an answer, and of locks that no client ended."""

from histories_made import MS, event, op
from msgspec.structs import replace

from jepsen_like.checkers.closing import BY_THE_LOG, Times, close
from jepsen_like.checkers.evidence import Evidence
from jepsen_like.checkers.linearizability import checker
from jepsen_like.history.logged import Event, log_of
from jepsen_like.history.record import History, Operation


def unknown(f: str, value: object, at: int, request: str) -> Operation:
    return op(f, value, at=(at, 0), type_="unknown", request=request)


def test_write_that_stands_in_the_log_is_closed_before_what_has_a_higher_index() -> None:
    lost = unknown("put", {"value": 1}, 0, "r1")
    later = op("put", {"value": 2}, {"version": 2}, at=(10, 20), index=8, request="r2")
    log = log_of([event(5, "ADD", request="r1", memory="x", version=1), event(8, "UPDATE", request="r2", version=2)])
    closed = close([lost, later], log, [lost, later])
    assert closed.operations[0] == replace(lost, type="ok", result={"version": 1}, index=5, return_=20 * MS)
    assert (closed.closed, closed.dropped, closed.contradictions) == (1, 0, ())


def test_write_behind_which_nothing_was_answered_is_done_some_day() -> None:
    lost = unknown("write", 1, 0, "r1")
    closed = close([lost], log_of([event(5, "ADD", request="r1", memory="x", version=1)]), [lost])
    assert (closed.operations[0].type, closed.operations[0].return_) == ("ok", None)
    read = op("read", None, None, at=(5, 6), index=4, level="lease")
    assert checker("register")(evidence([lost, read], [event(5, "ADD", request="r1")])).verdict == "good"


def test_read_that_reflects_the_index_closes_it_and_one_before_does_not() -> None:
    before, at = op("read", at=(0, 3), index=4, level="lease"), op("read", at=(0, 7), index=5, level="linearizable")
    stale = op("read", at=(0, 1), index=9, level="eventual")
    assert Times([before, at, stale]).before(5) == 7 * MS
    assert Times([before, at, stale]).after(5) == 0
    assert Times([op("write", 1, at=(2, 3), index=4)]).after(5) == 2 * MS
    replayed = op("write", 1, at=(8, 9), index=4, idempotency="k")
    assert Times([replayed]).after(5) == 0


def test_write_that_was_refused_or_is_not_in_the_log_was_never_done() -> None:
    lost = [unknown("write", 1, 0, "r1"), unknown("write", 2, 0, "r2")]
    log = log_of([event(5, "ADD", request="r1", outcome="refused")])
    closed = close(lost, log, lost)
    assert (closed.operations, closed.dropped) == ((), 2)
    assert close(lost, None, lost).operations == tuple(lost)


def test_write_called_after_a_higher_index_was_answered_is_a_contradiction() -> None:
    early = op("write", 1, at=(0, 5), index=8)
    lost = unknown("write", 2, 10, "r1")
    finding = checker("register")(evidence([early, lost], [event(5, "ADD", request="r1")]))
    assert finding.verdict == "bad"
    assert finding.details[0].startswith("write of process 0 has index 5 in the log, but was only called at 10.000 ms")


def test_repetition_under_one_key_is_one_operation_from_the_first_call_to_the_first_answer() -> None:
    first = op("write", 1, at=(0, 0), type_="unknown", request="r1", idempotency="k")
    again = op("write", 1, at=(10, 20), index=5, request="r2", idempotency="k")
    closed = close([first, again], log_of([event(5, "ADD", request="r1")]), [first, again])
    assert closed.operations == (replace(again, call=0),)


def evidence(operations: list[Operation], events: list[Event]) -> Evidence:
    return Evidence(history=History(None, tuple(operations)), log=log_of(events))


def acquire(owner: str, at: tuple[int, int], token: int, request: str) -> Operation:
    return op("acquire", {"owner": owner}, {"token": token}, at=at, key="l", index=token, request=request)


def grant(index: int, owner: str, request: str) -> Event:
    return event(index, "LOCK_ACQUIRE", lock="l", token=index, request=request, payload={"owner": owner})


def test_lock_that_expired_may_be_had_by_another() -> None:
    operations = [acquire("a", (0, 1), 3, "r1"), acquire("b", (10, 11), 6, "r2")]
    expired = event(5, "LOCK_EXPIRE", lock="l", owner="a", token=3, request="leader")
    events = [grant(3, "a", "r1"), expired, grant(6, "b", "r2")]
    assert checker("lock")(evidence(operations, events)).verdict == "good"
    without = checker("lock")(evidence(operations, [events[0], events[2]]))
    assert (without.verdict, without.counts["added from the log"]) == ("bad", 0)


def test_expiry_has_its_place_between_the_answers_around_its_index() -> None:
    operations = [acquire("a", (0, 1), 3, "r1"), acquire("b", (10, 11), 6, "r2")]
    log = log_of([grant(3, "a", "r1"), event(5, "LOCK_EXPIRE", lock="l", owner="a", token=3), grant(6, "b", "r2")])
    expire = close(operations, log, operations).operations[-1]
    assert (expire.process, expire.f, expire.value) == (BY_THE_LOG, "expire", {"owner": "a", "token": 3})
    assert (expire.call, expire.return_) == (0, 11 * MS)


def test_wait_without_an_answer_is_closed_by_its_grant_and_dropped_by_its_leave() -> None:
    lost = replace(unknown("acquire", {"owner": "b"}, 2, "r2"), key="l")
    held = acquire("a", (0, 1), 3, "r1")
    freed = op("release", {"owner": "a", "token": 3}, at=(5, 6), key="l", index=7, request="r3")
    wait = event(4, "LOCK_WAIT", lock="l", request="r2", payload={"owner": "b"})
    release = event(7, "LOCK_RELEASE", lock="l", token=3, request="r3", payload={"owner": "a"})
    granted = event(7, "LOCK_GRANT", seq=1, lock="l", owner="b", token=7, request="r3")
    left = event(6, "LOCK_LEAVE", lock="l", owner="b")
    had = close([held, lost, freed], log_of([grant(3, "a", "r1"), wait, release, granted]), [held, freed])
    assert [(one.f, one.result, one.return_) for one in had.operations if one.process == lost.process][1] == (
        "acquire",
        {"token": 7},
        None,
    )
    assert (had.closed, had.added) == (1, 0)
    gone = close([held, lost, freed], log_of([grant(3, "a", "r1"), wait, left, release]), [held, freed])
    assert (gone.dropped, gone.added) == (1, 0)


def test_grant_to_one_that_was_told_no_and_its_end_come_from_the_log() -> None:
    refused = op("acquire", {"owner": "b"}, at=(2, 9), key="l", type_="fail", error="lock-held", request="r2")
    held = acquire("a", (0, 1), 3, "r1")
    freed = op("release", {"owner": "a", "token": 3}, at=(3, 4), key="l", index=7, request="r3")
    events = [
        grant(3, "a", "r1"),
        event(7, "LOCK_RELEASE", lock="l", token=3, request="r3"),
        event(7, "LOCK_GRANT", seq=1, lock="l", owner="b", token=7, request="r3"),
        event(8, "LOCK_RELEASE", lock="l", owner="b", token=7, request="leave"),
        grant(9, "a", "r4"),
    ]
    again = acquire("a", (10, 11), 9, "r4")
    finding = checker("lock")(evidence([held, refused, freed, again], events))
    assert (finding.verdict, finding.counts["added from the log"]) == ("good", 2)
