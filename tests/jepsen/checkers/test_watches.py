"""Watches: known answers, over one log of six entries."""

import pytest
from histories_made import assert_bad, assert_good, event, evidence, op

from jepsen_like.checkers.showing import Past, Showing
from jepsen_like.checkers.watches import check
from jepsen_like.history.logged import log_of
from jepsen_like.history.record import Operation

SCOPE = {"app_id": "a", "user_id": None, "agent_id": None, "run_id": None}
LOG = [
    event(1, "RAFT"),
    event(2, "ADD", memory="m", version=1, scope=SCOPE, payload={"value": 1, "tags": ["red"]}),
    event(3, "ADD", memory="n", version=1, payload={"value": 1}),
    event(4, "UPDATE", memory="m", version=2, scope=SCOPE, payload={"value": 2, "tags": []}),
    event(4, "UPDATE", seq=1, memory="n", version=2, payload={"merge": {"value": {"op": "inc", "by": 1}}}),
    event(5, "LOCK_ACQUIRE", lock="l", token=5, payload={"owner": "o"}),
    event(6, "UPDATE", memory="m", version=2, outcome="refused", payload={"value": 3}),
    event(7, "TASK_ADD", tasks=("t",), payload={"queue": "q"}),
    event(8, "TASK_CLAIM", tasks=("t",), token=8, payload={"queues": ["q", "p"]}),
]
Item = tuple[int, int | None, list[int]]
ALL: list[Item] = [(2, None, [0]), (3, 2, [0]), (4, 3, [0, 1]), (5, 4, [0]), (6, 5, [0]), (7, 6, [0]), (8, 7, [0])]


def watch(
    first: int | None, items: list[Item], bookmarks: tuple[int, ...] = (), at: int = 0, **filters: object
) -> Operation:
    shown = [{"index": index, "prev_index": before, "seqs": seqs} for index, before, seqs in items]
    told = {"items": shown, "bookmarks": list(bookmarks), "ended": "enough"}
    return op("watch", {"from": first, "filters": filters}, told, at=(at, at + 1), key="s", index=(first or 3) - 1)


def test_stream_of_the_whole_log_is_good() -> None:
    assert_good(check(evidence([watch(1, ALL, (0, 8))], LOG)))
    assert_good(check(evidence([watch(1, [(1, None, [0]), (2, 1, [0])], include="internal")], LOG)))


def test_stream_from_what_comes_next_is_good() -> None:
    assert_good(check(evidence([watch(None, [(3, None, [0]), *ALL[2:4]])], LOG)))


@pytest.mark.parametrize(
    ("filters", "indexes"),
    [
        ({"op": "UPDATE"}, [4, 6]),
        ({"op": "UPDATE", "outcome": "refused"}, [6]),
        ({"memory_id": "n"}, [3, 4]),
        ({"app_id": "a"}, [2, 4]),
        ({"lock": "l"}, [5]),
        ({"queue": "q"}, [7, 8]),
        ({"actor_id": "nobody"}, []),
        ({"op": "RAFT", "include": "internal"}, [1]),
        ({"tag": "red"}, [2, 4]),  # right after or right before
    ],
)
def test_filter_shows_what_the_contract_says(filters: dict[str, object], indexes: list[int]) -> None:
    shown = Past(log_of(LOG)).showing(filters)
    assert isinstance(shown, Showing)
    assert shown.indexes == indexes


def test_tags_that_the_log_does_not_determine_are_not_guessed() -> None:
    put_or_patch = event(9, "UPDATE", memory="m", payload={"value": 4})
    tagged = event(8, "UPDATE", memory="m", payload={"value": 4, "tags": ["green"]})
    after = event(10, "UPDATE", memory="m", payload={"value": 5})
    shown = Past(log_of([*LOG[:-1], tagged, put_or_patch, after])).showing({"tag": "green"})
    assert shown == "the log does not determine the tags at index 10"
    assert check(evidence([watch(1, [], near="x")], LOG)).verdict == "unknown"


@pytest.mark.parametrize(
    ("kind", "first", "items", "bookmarks"),
    [
        ("gap", 1, [ALL[0], (4, 2, [0, 1])], ()),
        ("gap", 2, [(3, None, [0])], ()),
        ("split", 1, [ALL[0], ALL[1], (4, 3, [0])], ()),
        ("repeat", 1, [ALL[0], (2, 2, [0]), ALL[1]], ()),
        ("disorder", 1, [ALL[0], (4, 2, [0, 1]), (3, 4, [0])], ()),
        ("not-wanted", 3, [(2, None, [0]), ALL[1]], ()),
        ("not-wanted", 8, [(9, None, [0])], ()),
        ("wrong-prev-index", 1, [ALL[0], (3, None, [0])], ()),
        ("wrong-prev-index", 4, [(4, 2, [0, 1])], ()),
        ("bookmark-ahead", 1, [ALL[0]], (4,)),
        ("bookmark-falls", 1, ALL, (8, 7)),
    ],
)
def test_stream_that_breaks_a_rule_is_bad(kind: str, first: int, items: list[Item], bookmarks: tuple[int, ...]) -> None:
    assert_bad(check(evidence([watch(first, items, bookmarks)], LOG)), kind)


def test_session_goes_on_right_after_where_its_stream_ended() -> None:
    begun = watch(1, ALL[:2], (3,))
    assert_good(check(evidence([begun, watch(4, ALL[2:4], at=5)], LOG)))
    assert_bad(check(evidence([begun, watch(5, ALL[3:], at=5)], LOG)), "resumed-too-late", "up to 3")
    assert_bad(check(evidence([begun, watch(3, ALL[1:], at=5)], LOG)), "resumed-too-early")


def test_streams_without_a_log_are_not_judged() -> None:
    assert check(evidence([watch(1, ALL)], None)).verdict == "unknown"
    assert check(evidence([], LOG)).verdict == "unknown"
