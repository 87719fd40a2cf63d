"""Locks and fencing: known answers from the log, from what clients were told, and from the guarded resource."""

import pytest
from histories_made import assert_bad, assert_good, event, evidence, op

from jepsen_like.checkers.locks import check
from jepsen_like.history.logged import Event
from jepsen_like.history.record import Operation


def took(index: int, owner: str, permits: int = 1) -> Event:
    payload = {"owner": owner, "ttl_ms": 100, **({"permits": permits} if permits > 1 else {})}
    return event(index, "LOCK_ACQUIRE", lock="x", token=index, payload=payload)


def granted(index: int, owner: str, seq: int = 1, token: int | None = None) -> Event:
    return event(index, "LOCK_GRANT", seq=seq, lock="x", owner=owner, token=token or index)


def gave(index: int, owner: str, token: int, name: str = "LOCK_RELEASE") -> Event:
    return event(index, name, lock="x", token=token, payload={"owner": owner, "token": token})


def expired(index: int, owner: str, token: int | None) -> Event:
    return event(index, "LOCK_EXPIRE", lock="x", owner=owner, token=token)


def guarded(index: int, token: int, **more: object) -> Event:
    return event(index, "UPDATE", memory="m", payload={"value": 1, "guards": [{"lock": "x", "token": token, **more}]})


def acquire(owner: str, token: int, at: tuple[int, int] = (0, 1)) -> Operation:
    return op("acquire", {"owner": owner}, {"token": token}, at=at)


def use(owner: str, token: int, read: int, at: tuple[int, int], process: int = 0) -> Operation:
    return op("use", {"owner": owner, "token": token}, {"read": read, "wrote": read + 1}, at=at, process=process)


WAITED = event(4, "LOCK_WAIT", lock="x", payload={"owner": "b"})
GOOD = {
    "released, granted to who waits, expired": [
        took(3, "a"),
        WAITED,
        event(5, "LOCK_RENEW", lock="x", token=3, payload={"owner": "a", "token": 3}),
        guarded(6, 3),
        gave(7, "a", 3),
        granted(7, "b"),
        guarded(8, 7, owner="b"),
        expired(9, "b", 7),
        took(10, "a"),
    ],
    "a semaphore of two, two granted in one entry": [
        took(1, "a", 2),
        took(2, "b", 2),
        event(3, "OWNER_RELEASE", owner="a"),
        event(3, "LOCK_FORCE_RELEASE", seq=1, lock="x", owner="a", token=1),
        granted(3, "c", seq=2),
    ],
    "a wait that expires ends no hold": [took(3, "a"), WAITED, expired(5, "b", None), guarded(6, 3)],
    "a guard that was false": [
        took(1, "a"),
        gave(2, "a", 1),
        event(3, "UPDATE", memory="m", outcome="refused", payload={"guards": [{"lock": "x", "token": 1}]}),
        event(4, "TXN", succeeded=False, payload={"guards": [{"lock": "x", "token": 1}]}),
        event(4, "UPDATE", seq=1, memory="m"),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_log_with_one_holder_at_a_time_is_good(name: str) -> None:
    assert_good(check(evidence([], GOOD[name])))


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        ("two-holders", [took(1, "a"), took(2, "b")]),
        ("two-holders", [took(1, "a", 2), took(2, "b", 2), took(3, "c", 2)]),
        ("two-holders", [took(1, "a"), WAITED, granted(5, "b", seq=0)]),
        ("token-does-not-rise", [took(5, "a"), gave(6, "a", 5), granted(7, "b", token=4)]),
        ("stale-token-taken", [took(1, "a"), expired(2, "a", 1), took(3, "b"), gave(4, "a", 1)]),
        ("stale-token-taken", [took(1, "a"), gave(2, "a", 7, name="LOCK_RENEW")]),
        ("stale-guard", [took(1, "a"), expired(2, "a", 1), took(3, "b"), guarded(4, 1)]),
        ("stale-guard", [took(1, "a"), guarded(4, 1, owner="b")]),
        (
            "stale-guard",
            [
                took(1, "a"),
                gave(2, "a", 1),
                event(3, "TXN", succeeded=True, payload={"guards": [{"lock": "x", "token": 1}]}),
            ],
        ),
    ],
)
def test_log_with_two_holders_or_a_stale_token_is_bad(kind: str, events: list[Event]) -> None:
    assert_bad(check(evidence([], events)), kind)


def test_token_that_was_told_was_granted_to_whom_it_was_told() -> None:
    log = [took(1, "a"), gave(2, "a", 1), took(3, "b")]
    assert_good(check(evidence([acquire("a", 1), acquire("b", 3)], log)))
    assert_bad(check(evidence([acquire("a", 3)], log)), "token-without-grant")
    assert_bad(check(evidence([acquire("a", 1), acquire("b", 1)], log)), "one-token-for-two")


def test_resource_that_was_used_in_turn_is_good() -> None:
    log = [took(1, "a"), gave(2, "a", 1), took(3, "b")]
    uses = [
        use("a", 1, 0, (0, 1)),
        use("b", 3, 1, (2, 3)),
        op("use", {"owner": "a", "token": 1}, at=(4, 5), type_="fail"),
    ]
    assert_good(check(evidence(uses, log, resource=2, fenced=True)))
    assert_bad(check(evidence(uses, log, resource=3)), "wrong-sum", "used 2 times")


def test_lost_update_is_told_with_both_its_users() -> None:
    uses = [use("a", 17, 41, (120, 130), process=3), use("b", 19, 41, (121, 125), process=5)]
    words = "a (process 3, token 17) and b (process 5, token 19) both read 41 from x and both wrote 42"
    assert_bad(check(evidence(uses, [took(1, "a")], fenced=False, resource=2)), "lost-update", words)


def test_token_that_falls_is_bad_where_the_resource_looks_at_tokens() -> None:
    uses = [use("b", 3, 0, (0, 1)), use("a", 1, 1, (2, 3))]
    log = [took(1, "a"), gave(2, "a", 1), took(3, "b")]
    assert_bad(check(evidence(uses, log, resource=2, fenced=True)), "token-falls", "a (process 0, token 1)")
    assert_good(check(evidence(uses, log, resource=2, fenced=False)))


def test_locks_without_a_log_are_not_judged() -> None:
    assert check(evidence([acquire("a", 1)], None)).verdict == "unknown"
    assert check(evidence([], [])).verdict == "unknown"
