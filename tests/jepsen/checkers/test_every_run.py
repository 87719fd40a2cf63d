"""What judges every run: sessions, what a read reflects, durability, agreement, and whether anything was tested."""

import pytest
from histories_made import assert_bad, assert_good, event, evidence, op

from jepsen_like.checkers import agreement, durability, reflected, sessions, tested
from jepsen_like.checkers.evidence import Ending, Searched
from jepsen_like.history.logged import Event
from jepsen_like.history.record import Operation


# --- sessions ---------------------------------------------------------------------------------------
def session(index: int, at: int, least: int, process: int = 0) -> Operation:
    return op("read", {"min_index": least}, at=(at, at + 1), index=index, level="session", process=process)


def test_session_that_goes_on_is_good() -> None:
    wrote = op("write", 1, at=(0, 1), index=5)
    assert_good(sessions.check(evidence([wrote, session(5, 2, 5), session(7, 4, 5), session(1, 6, 0, process=1)])))


def test_session_that_goes_back_is_bad() -> None:
    wrote = op("write", 1, at=(0, 1), index=5)
    assert_bad(sessions.check(evidence([wrote, session(4, 2, 3)])), "went-back", "after process 0: write")
    assert_bad(sessions.check(evidence([session(4, 2, 5)])), "behind-min-index", "index 5")


# --- reflected --------------------------------------------------------------------------------------
MEMORIES = [
    event(1, "ADD", memory="x", version=1, payload={"value": 1}),
    event(2, "UPDATE", memory="x", version=2, payload={"value": 2}),
    event(3, "UPDATE", memory="x", version=2, outcome="refused", payload={"value": 9}),
    event(4, "DELETE", memory="x", version=3),
    event(5, "ADD", memory="x", version=4, payload={"value": [1]}),
    event(6, "UPDATE", memory="x", version=5, payload={"merge": {"value": {"op": "append", "by": 2}}}),
]


def read(told: object, index: int, at: tuple[int, int] = (0, 1), level: str = "eventual") -> Operation:
    return op("read", None, told, at=at, index=index, level=level)


@pytest.mark.parametrize(
    ("told", "index"),
    [
        ({"version": 1, "value": 1}, 1),
        ({"version": 2, "value": 2}, 3),
        (2, 2),
        (None, 4),
        ([1], 5),
        ({"version": 5, "value": [1, 2]}, 6),
    ],
)
def test_read_of_what_the_log_says_is_good(told: object, index: int) -> None:
    finding = reflected.check(evidence([read(told, index)], MEMORIES))
    assert_good(finding)
    assert finding.counts["compared"] == 1


@pytest.mark.parametrize(
    ("kind", "told", "index"),
    [
        ("wrong-version", {"version": 1, "value": 2}, 2),
        ("wrong-value", {"version": 2, "value": 1}, 2),
        ("wrong-value", 9, 3),
        ("wrong-value", None, 3),
        ("wrong-value", [1, 2], 5),
        ("shows-what-is-not", 2, 4),
        ("beyond-the-log", [1, 2], 7),
    ],
)
def test_read_of_something_else_is_bad(kind: str, told: object, index: int) -> None:
    assert_bad(reflected.check(evidence([read(told, index)], MEMORIES)), kind)


def test_strong_read_behind_what_others_were_told_is_bad() -> None:
    told = op("write", 1, at=(0, 1), index=5, key="y")
    assert_bad(reflected.check(evidence([told, read(2, 3, (2, 3), "lease")], MEMORIES)), "stale-read", "index 5")
    assert_good(reflected.check(evidence([told, read(2, 3, (0, 3), "lease"), read(2, 3, (2, 3))], MEMORIES)))


# --- durability -------------------------------------------------------------------------------------
def write(request: str, index: int | None, at: tuple[int, int] = (0, 1), idempotency: str | None = None) -> Operation:
    return op("write", 1, at=at, index=index, request=request, idempotency=idempotency)


LOG = [
    event(1, "RAFT"),
    event(2, "ADD", memory="x", request="r2"),
    event(3, "UPDATE", memory="x", request="r3"),
    event(4, "UPDATE", memory="x", request="r4", outcome="refused"),
    event(5, "LOCK_WAIT", lock="x", request="r5"),
    event(6, "LOCK_RELEASE", lock="x", request="r6", token=1),
    event(6, "LOCK_GRANT", seq=1, lock="x", request="r6", owner="o", token=6),
]


def test_log_that_has_what_was_acknowledged_is_good() -> None:
    operations = [
        write("r2", 2),
        op("write", 1, at=(2, 2), request="r3", type_="unknown"),
        op("write", 1, at=(2, 2), request="never", type_="unknown"),
        op("write", 1, at=(2, 3), index=4, request="r4", type_="fail", error="precondition-failed"),
        op("acquire", {"owner": "o"}, {"token": 6}, at=(2, 9), index=6, request="r5"),
        op("read", None, 1, at=(2, 3), index=2, request="r9", level="lease"),
        op("claim", {}, {"tasks": []}, at=(2, 3), index=2, request="r10"),
        write("again", 2, (8, 9), idempotency="k"),
        write("r2", 2, (0, 1), idempotency="k"),
    ]
    finding = durability.check(evidence(operations, LOG))
    assert_good(finding)
    assert finding.counts["unknown and done"] == 1


@pytest.mark.parametrize(
    ("kind", "operations", "log"),
    [
        ("lost-write", [write("gone", 3)], LOG),
        ("lost-write", [write("r2", 3)], LOG),
        ("lost-write", [write("r4", 4)], LOG),
        ("no-index", [write("r2", None)], LOG),
        ("done-twice", [write("r2", 2)], [*LOG, event(7, "ADD", memory="y", request="r2")]),
        ("refused-and-done", [op("write", 1, at=(0, 1), request="r2", type_="fail")], LOG),
        ("out-of-order", [write("r3", 3, (0, 1)), write("r2", 2, (2, 3))], LOG),
        (
            "out-of-order",
            [write("r3", 3, (0, 1)), op("write", 1, at=(2, 2), request="r2", type_="unknown")],
            LOG,
        ),
        ("gap", [], [LOG[0], LOG[2]]),
        ("gap", [], [event(2, "ADD"), event(2, "ADD", seq=2)]),
        ("term-falls", [], [event(1, "RAFT", term=2), event(2, "ADD", term=1)]),
    ],
)
def test_log_that_lost_or_moved_something_is_bad(kind: str, operations: list[Operation], log: list[Event]) -> None:
    assert_bad(durability.check(evidence(operations, log)), kind)


def test_durability_without_a_log_is_not_judged() -> None:
    assert durability.check(evidence([write("r2", 2)], None)).verdict == "unknown"
    assert durability.check(evidence([], [])).verdict == "unknown"


# --- agreement --------------------------------------------------------------------------------------
def memory(name: str, vector: list[float] | None, app: str = "a") -> dict[str, object]:
    embedding = None if vector is None else {"model": "m", "dimension": len(vector), "vector": vector}
    return {"id": name, "app_id": app, "status": "active", "embedding": embedding}


MADE = (
    memory("east", [1, 0]),
    memory("north", [0, 2]),
    memory("also-east", [3, 0]),
    memory("west", [-1, 0]),
    memory("other", [1, 0], app="b"),
    memory("deep", [1, 0, 0]),
    memory("mute", None),
)
RIGHT = (("also-east", 1.0), ("east", 1.0), ("north", 0.0), ("west", 0.0))


def ended(*found: tuple[str, float], top_k: int = 10, **more: dict[str, str]) -> Ending:
    searched = Searched(vector=(1.0, 0.0), app_id="a", top_k=top_k, found={"n1": RIGHT[:top_k], "n2": found})
    given = {"digests": {"n1": "d", "n2": "d"}, "replays": {"n1": "", "n2": ""}, **more}
    return Ending(index=9, memories=MADE, searches=(searched,), digests=given["digests"], replays=given["replays"])


def test_replicas_that_agree_are_good() -> None:
    assert_good(agreement.check(evidence([], [], ending=ended(*RIGHT))))
    nearly = (("also-east", 0.999999), ("east", 0.999999), *RIGHT[2:])
    assert_good(agreement.check(evidence([], [], ending=ended(*nearly))))
    assert_good(agreement.check(evidence([], [], ending=ended(*RIGHT[:2], top_k=2))))


@pytest.mark.parametrize(
    ("words", "found", "top_k"),
    [
        ("stands after", (RIGHT[1], RIGHT[0], *RIGHT[2:]), 10),
        ("east scores 0.9990000", (RIGHT[0], ("east", 0.999), *RIGHT[2:]), 10),
        ("3 memories are shown, and there are 4", RIGHT[:3], 10),
        ("also-east (1.0000000) is left out", (RIGHT[1], RIGHT[2]), 2),
        ("other is no candidate", (*RIGHT[:2], ("other", 1.0), RIGHT[3]), 10),
        ("shown twice", (RIGHT[0], RIGHT[0], *RIGHT[2:]), 10),
        ("scores nan", (RIGHT[0], ("east", float("nan")), *RIGHT[2:]), 10),
    ],
)
def test_search_that_is_not_the_arithmetic_is_bad(words: str, found: tuple[tuple[str, float], ...], top_k: int) -> None:
    assert_bad(agreement.check(evidence([], [], ending=ended(*found, top_k=top_k))), "search-differs", words, "n2")


def test_replicas_that_differ_are_bad() -> None:
    parted = ended(*RIGHT, digests={"n1": "d", "n2": "e"})
    assert_bad(agreement.check(evidence([], [], ending=parted)), "digests-differ", "n2 e")
    complained = ended(*RIGHT, replays={"n1": "", "n2": "index 4 differs"})
    assert_bad(agreement.check(evidence([], [], ending=complained)), "replay-differs", "n2: index 4 differs")


def test_replicas_that_nobody_asked_are_not_judged() -> None:
    assert agreement.check(evidence([], [])).verdict == "unknown"


# --- tested -----------------------------------------------------------------------------------------
def test_run_with_too_few_successes_has_tested_nothing() -> None:
    operations = [read(1, 1), read(1, 1, level="lease"), op("write", 1, at=(2, 3), type_="fail")]
    assert_good(tested.checker(2)(evidence(operations)))
    finding = tested.checker(3)(evidence(operations))
    assert finding.verdict == "unknown"
    assert finding.summary == "2 of 3 operations succeeded, at least 3 were wanted"
    assert finding.details == (
        "read: 2 ok",
        "write: 1 fail",
        "level eventual: 1 ok",
        "level lease: 1 ok",
        "replica n1: 2 ok",
    )
    assert tested.checker(1, ["read", "write"])(evidence(operations)).verdict == "unknown"
