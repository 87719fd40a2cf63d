"""Merges: one row a rule."""

import msgspec
import pytest
from machine_world import World, add, json, update

from raftmem.limits import JSON_INTEGER_MAX, NAME_BYTES_MAX, TAGS_MAX, VALUE_BYTES_MAX
from raftmem.machine import canonical_json
from raftmem.machine.json_text import too_deep
from raftmem.machine.merge import Merged, merge
from raftmem.machine.overlay import Refusal
from raftmem.model.commands import Content, Fields, Merge, MergeOp, Update

BIG = JSON_INTEGER_MAX


def merged(value: object, *merges: tuple[str, MergeOp, object], tags: tuple[str, ...] = ()) -> Merged | Refusal:
    text = None if value is None else json(value)
    return merge(text, tags, [Merge(path, op, json(by)) for path, op, by in merges])


@pytest.mark.parametrize(
    ("before", "path", "op", "by", "after"),
    [
        (1, "value", "inc", 2, 3),
        ({"n": 1}, "value.n", "inc", -2, {"n": -1}),
        ({}, "value.n", "inc", 2, {"n": 2}),
        (None, "value", "inc", 2, 2),
        (None, "value.a.b", "inc", 1, {"a": {"b": 1}}),
        ({"a": {}}, "value.a.b.c", "inc", 1, {"a": {"b": {"c": 1}}}),
        (BIG - 1, "value", "inc", 1, BIG),
        (1, "value", "max", 2.5, 2.5),
        (3, "value", "max", 2.5, 3),
        (1, "value", "max", 1.0, 1),
        (None, "value", "max", 2, 2),
        (3, "value", "min", 2.5, 2.5),
        (-1.5, "value", "min", 2, -1.5),
        ({"x": 1}, "value.y", "min", 7, {"x": 1, "y": 7}),
        ([1], "value", "append", [2], [1, [2]]),
        (None, "value.l", "append", None, {"l": [None]}),
        ([1, True, "1"], "value", "union", [1.0, 2, 2, False, "1"], [1, True, "1", 2, False]),
        ([{"a": 1, "b": 2}], "value", "union", [{"b": 2, "a": 1}, {"a": 1}], [{"a": 1, "b": 2}, {"a": 1}]),
        ([2, 2], "value", "union", [2], [2, 2]),
        ([1, 0.0], "value", "union", [True, False, -0.0], [1, 0.0, True, False]),
        ([1, 0, [True]], "value", "remove", [True, False, [1]], [1, 0, [True]]),
        (None, "value", "union", [1, 1], [1]),
        ([1, 2.0, 1, True, "x"], "value", "remove", [1, 2], [True, "x"]),
        ({"x": 1}, "value.l", "remove", [1], {"x": 1}),
        ({"x": 1}, "value.l.m", "remove", [1], {"x": 1}),
        ({"x": [1]}, "value.x", "set", {"y": None}, {"x": {"y": None}}),
        (None, "value.a.b", "set", "v", {"a": {"b": "v"}}),
        ({"x": 1}, "value", "set", 5, 5),
        ({"x": None}, "value.x", "set", 1, {"x": 1}),
        ({"é.x": 1}, "value.é", "set", 1, {"é.x": 1, "é": 1}),
    ],
)
def test_merge_of_a_value(before: object, path: str, op: MergeOp, by: object, after: object) -> None:
    assert merged(before, (path, op, by)) == Merged(json(after), ())


@pytest.mark.parametrize(
    ("before", "path", "op", "by"),
    [
        (1.0, "value", "inc", 1),
        (1, "value", "inc", 1.0),
        (True, "value", "inc", 1),
        (1, "value", "inc", True),
        ("1", "value", "inc", 1),
        ({"x": None}, "value.x", "inc", 1),
        (BIG, "value", "inc", 1),
        (-BIG, "value", "inc", -1),
        ("a", "value", "max", 1),
        (1, "value", "max", "a"),
        (True, "value", "max", 1),
        (0, "value", "min", False),
        (None, "value", "max", "a"),
        (1, "value", "append", 1),
        ({}, "value", "append", 1),
        ([1], "value", "union", 1),
        (None, "value", "union", 1),
        ("x", "value", "union", []),
        ([1], "value", "remove", 1),
        (None, "value", "remove", 1),
        ({"a": 1}, "value.a", "remove", [1]),
        (1, "value.a", "set", 1),
        ([1], "value.0", "set", 1),
        ({"a": "x"}, "value.a.b", "set", 1),
        ({"a": None}, "value.a.b", "inc", 1),
        ({"a": 1}, "value.a.b", "remove", []),
    ],
)
def test_merge_that_does_not_fit_is_refused_with_its_path(before: object, path: str, op: MergeOp, by: object) -> None:
    assert merged(before, (path, op, by)) == Refusal("merge-type", path)


@pytest.mark.parametrize(
    ("op", "by", "after"),
    [
        ("append", "a", ("a", "b", "a")),
        ("union", ["b", "c"], ("a", "b", "c")),
        ("remove", ["a"], ("b",)),
        ("set", [], ()),
        ("set", ["x"], ("x",)),
    ],
)
def test_merge_of_tags(op: MergeOp, by: object, after: tuple[str, ...]) -> None:
    assert merged(1, ("tags", op, by), tags=("a", "b")) == Merged(b"1", after)


@pytest.mark.parametrize(
    ("op", "by", "code"),
    [
        ("inc", 1, "merge-type"),
        ("max", 1, "merge-type"),
        ("append", 1, "merge-type"),
        ("append", "", "merge-type"),
        ("union", "x", "merge-type"),
        ("union", ["x", None], "merge-type"),
        ("set", None, "merge-type"),
        ("set", "x", "merge-type"),
        ("append", "é" * (NAME_BYTES_MAX // 2 + 1), "too-large"),
        ("set", [str(n) for n in range(TAGS_MAX + 1)], "too-large"),
    ],
)
def test_merge_of_tags_that_does_not_fit(op: MergeOp, by: object, code: str) -> None:
    assert merged(1, ("tags", op, by), tags=("a",)) == Refusal(code, "tags")


def test_tags_at_their_limits_fit() -> None:
    tags = ["é" * (NAME_BYTES_MAX // 2) + str(n % 10) for n in range(TAGS_MAX)]
    assert merged(1, ("tags", "set", tags)) == Merged(b"1", tuple(tags))


def test_merges_run_in_order_on_what_the_one_before_left() -> None:
    assert merged(
        None, ("value.n", "set", 1), ("value.n", "inc", 1), ("tags", "append", "x"), ("value.l", "append", 0)
    ) == Merged(b'{"n":2,"l":[0]}', ("x",))


def test_the_order_of_keys_stays() -> None:
    assert merged({"z": 1, "a": 2, "m": 3}, ("value.a", "inc", 1)) == Merged(b'{"z":1,"a":3,"m":3}', ())


def test_a_value_that_no_merge_touches_keeps_its_bytes() -> None:
    assert merge(b'{"x": 1E2}', (), [Merge("tags", "append", b'"x"')]) == Merged(b'{"x": 1E2}', ("x",))


def test_a_value_set_to_null_is_not_set() -> None:
    assert merged({"a": 1}, ("value", "set", None)) == Merged(None, ())
    assert merged({"a": 1}, ("value", "set", None), ("value.b", "inc", 1)) == Merged(b'{"b":1}', ())


@pytest.mark.parametrize("path", ["text", "values", "tags.x", "", ".value"])
def test_an_unknown_path_is_refused(path: str) -> None:
    assert merged({}, (path, "set", 1)) == Refusal("invalid-request", path)


@pytest.mark.parametrize("by", [b"", b"{", b"nul", b'"\xff"', b"[1e999]", b"[" * 65 + b"]" * 65, b"[" * 9000])
def test_an_argument_that_is_not_usable_json_is_refused(by: bytes) -> None:
    assert merge(None, (), [Merge("value.x", "set", by)]) == Refusal("invalid-request", "value.x")


def test_a_value_that_grows_past_its_limit_is_too_large() -> None:
    big = "x" * (VALUE_BYTES_MAX - 4)
    assert isinstance(merged([], ("value", "append", big)), Merged)
    assert merged([], ("value.a", "set", 1)) == Refusal("merge-type", "value.a")
    assert merged([], ("value", "append", big + "x")) == Refusal("too-large", "value")


def test_a_value_that_grows_too_deep_is_too_large() -> None:
    path = "value" + ".a" * 63
    assert isinstance(merged(None, (path, "set", 1)), Merged)
    assert isinstance(merged(None, (path, "set", {})), Merged)
    assert merged(None, (path, "set", [[]])) == Refusal("too-large", path)
    assert merged(None, (path + ".a", "set", 1)) == Refusal("too-large", path + ".a")
    assert merged(None, ("value" + ".a" * 5000, "set", 1)) == Refusal("too-large", "value" + ".a" * 5000)


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        (b"[" * 64 + b"]" * 64, False),
        (b"[" * 65 + b"]" * 65, True),
        (b"[" + b"[]," * 500 + b"[]]", False),
        (json("[" * 500), False),
        (json(['"[' * 500, "\\[" * 500]), False),
        (b'{"' + b"{" * 80 + b'":1}', False),
        (b'{"a":' * 65 + b"1" + b"}" * 65, True),
    ],
)
def test_nesting_counts_brackets_outside_strings(text: bytes, deep: bool) -> None:
    assert too_deep(text) is deep


def test_update_replaces_then_merges_and_hashes_the_result() -> None:
    world = World()
    world.one(add("a", text="t", value={"n": 1}))
    world.one(update("a", value={"n": 10}, tags=("x",), merge={"value.n": ("inc", 1), "tags": ("union", ["y"])}))
    record = world.memory("a")
    assert (record.value, record.tags) == (b'{"n":11}', ("x", "y"))
    assert record.sha256 == canonical_json.content_sha256("t", b'{"n":11}')


def test_a_refused_merge_refuses_the_update_whole() -> None:
    world = World()
    world.one(add("a", value={"n": 1}))
    outcome = world.one(update("a", confidence=0.5, merge={"value.n": ("inc", 1), "value.n.x": ("set", 1)}))
    assert (outcome.code, outcome.path, outcome.version) == ("merge-type", "value.n.x", 1)
    assert world.value("a") == {"n": 1}


def test_a_merge_to_null_of_the_only_content_is_refused() -> None:
    world = World()
    world.one(add("a", value=1))
    assert world.one(update("a", merge={"value": ("set", None)})).code == "invalid-request"


def test_an_empty_merge_is_no_merge() -> None:
    world = World()
    world.one(add("a", value=1))
    assert world.one((Update("a", Fields()), Content(merge=()))).applied


def test_a_merged_value_is_compact_json() -> None:
    result = merge(b' { "a" : [ 1.0 , 1e3 , 1e22, 0.1 ] } ', (), [Merge("value.b", "set", b' "\\u00e9" ')])
    assert result == Merged('{"a":[1.0,1000.0,1e22,0.1],"b":"é"}'.encode(), ())
    assert isinstance(result, Merged)
    assert result.value is not None
    assert msgspec.json.decode(result.value)["b"] == "é"
