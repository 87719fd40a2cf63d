"""Holds and waits that run out by themselves: too early only if no delay of any message can explain it."""

import pytest
from histories_made import assert_bad, assert_good, event, evidence, op

from jepsen_like.checkers.locks import check
from jepsen_like.history.logged import Event
from jepsen_like.history.record import Operation


def entry(index: int, name: str, request: str = "", *, token: int | None = None, **payload: object) -> Event:
    return event(index, name, lock="x", token=token or index, request=request, payload={"owner": "a", **payload})


def ends(index: int, token: int | None) -> Event:
    return event(index, "LOCK_EXPIRE", lock="x", owner="a", token=token)


def acquire(at: tuple[int, int], *, index: int | None = 1, token: int = 1, request: str = "asks") -> Operation:
    return op("acquire", {"owner": "a"}, {"token": token}, at=at, index=index, request=request)


def told(index: int, returned: int) -> Operation:
    """Somebody hears of that index then."""
    return op("write", 1, at=(returned - 1, returned), key="m", index=index, process=9, request="hears")


TAKEN = entry(1, "LOCK_ACQUIRE", "asks", ttl_ms=100)
NEXT = event(9, "ADD", memory="m", request="hears")


@pytest.mark.parametrize(("heard", "bad"), [(200, False), (111, False), (110, False), (109, True), (50, True)])
def test_hold_that_was_asked_for_at_10_ms_for_100_ms_does_not_end_before_110(heard: int, bad: bool) -> None:
    finding = check(evidence([acquire((10, 20)), told(9, heard)], [TAKEN, ends(2, 1), NEXT]))
    if bad:
        assert_bad(finding, "hold-ends-early", "index 2 ends what a has of x", "not asked for before 10.0 ms")
    else:
        assert_good(finding)


def test_renewal_counts_from_its_own_call_and_with_its_own_time_to_live() -> None:
    renew = op("renew", {"owner": "a", "token": 1}, at=(80, 90), index=2, request="renews")
    same = entry(2, "LOCK_RENEW", "renews", token=1)
    longer = entry(2, "LOCK_RENEW", "renews", token=1, ttl_ms=500)
    for renewed, heard, bad in ((same, 170, True), (same, 190, False), (longer, 190, True), (longer, 590, False)):
        log = [TAKEN, renewed, ends(3, 1), NEXT]
        finding = check(evidence([acquire((10, 20)), renew, told(9, heard)], log))
        assert finding.verdict == ("bad" if bad else "good"), (renewed, heard, finding)


def test_hold_of_one_who_waited_counts_from_its_grant() -> None:
    """The wait was asked for at 10 ms, the release that made the grant at 300."""
    release = op("release", {"owner": "b", "token": 1}, at=(300, 310), index=3, request="gives")
    log = [
        event(1, "LOCK_ACQUIRE", lock="x", token=1, payload={"owner": "b", "ttl_ms": 900}),
        event(2, "LOCK_WAIT", lock="x", request="asks", payload={"owner": "a", "ttl_ms": 100, "wait_ms": 900}),
        event(3, "LOCK_RELEASE", lock="x", token=1, request="gives", payload={"owner": "b", "token": 1}),
        event(3, "LOCK_GRANT", seq=1, lock="x", owner="a", token=3, request="gives"),
        ends(4, 3),
        NEXT,
    ]
    asked = acquire((10, 320), index=3, token=3)
    assert_bad(check(evidence([asked, release, told(9, 390)], log)), "hold-ends-early", "promised 100 ms")
    assert_good(check(evidence([asked, release, told(9, 410)], log)))


def test_wait_is_not_cut_short() -> None:
    log = [
        event(1, "LOCK_ACQUIRE", lock="x", token=1, payload={"owner": "b", "ttl_ms": 900}),
        event(2, "LOCK_WAIT", lock="x", request="asks", payload={"owner": "a", "ttl_ms": 100, "wait_ms": 50}),
        ends(3, None),
        NEXT,
    ]
    asked = op("acquire", {"owner": "a"}, at=(10, 70), type_="fail", error="lock-held", request="asks")
    assert_bad(check(evidence([asked, told(9, 55)], log)), "wait-ends-early", "promised 50 ms")
    assert_good(check(evidence([asked, told(9, 65)], log)))


def test_end_that_nobody_heard_of_and_a_hold_that_was_given_back_say_nothing() -> None:
    back = event(2, "LOCK_RELEASE", lock="x", token=1, payload={"owner": "a", "token": 1})
    assert_good(check(evidence([acquire((10, 20))], [TAKEN, ends(2, 1)])))
    assert_good(check(evidence([acquire((10, 20)), told(9, 40)], [TAKEN, back, NEXT])))


def test_call_of_one_whose_entry_stands_before_says_since_when_at_the_latest() -> None:
    """Whoever took the lock left no record of its own; the entry before was asked for at 60 ms."""
    before = op("write", 1, at=(60, 70), key="m", index=1, process=8, request="before")
    taken = entry(2, "LOCK_ACQUIRE", "unheard", ttl_ms=100)
    log = [event(1, "ADD", memory="m", request="before"), taken, ends(3, 2), NEXT]
    assert_bad(check(evidence([before, told(9, 150)], log)), "hold-ends-early", "not asked for before 60.0 ms")
    assert_good(check(evidence([before, told(9, 161)], log)))


def test_hold_that_ended_before_the_history_begins_is_not_judged() -> None:
    """The log is older: its first entries were asked for by others, at times that nobody here knows."""
    log = [entry(1, "LOCK_ACQUIRE", "long ago", ttl_ms=900), ends(2, 1), NEXT]
    assert_good(check(evidence([told(9, 20)], log)))
