"""The filter language: what each condition means, and what is refused with which place."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftmem.api.http.filter import parse
from raftmem.errors import BadRequest
from raftmem.limits import FILTER_NODES_MAX, FILTER_VALUES_MAX
from raftmem.model.commands import Actor, Provenance, Scope
from raftmem.model.records import Position, Record

RECORD = Record(
    id="m-1",
    version=3,
    status="active",
    created=Position(101, 2),
    updated=Position(105, 0),
    scope=Scope(app_id="shop", agent_id="planner"),
    text="Prod deploys are FROZEN, Straße",
    value=b'{"frozen":true,"seen":2,"deep":{"list":[1,"two",{"a":null}]},"nothing":null}',
    metadata=b'{"env":"prod","level":3,"ratio":1.0,"flags":["a","B"]}',
    sha256=bytes(range(32)),
    tags=("deploy", "Freeze"),
    actor=Actor("agent", "planner-7"),
    created_ms=1_795_165_200_120,  # 2026-11-20T09:00:00.120Z
    updated_ms=1_795_165_204_120,
    memory_type="fact",
    confidence=0.9,
    provenance=Provenance(source_ref="wiki/1", derived_from=("m-0",)),
    valid_at=0,
    pinned=True,
    embedding_model="toy-3",
    dimension=3,
)
BARE = Record(
    "m-2", 1, "active", Position(1, 0), Position(1, 0), Scope(), None, None, b"", b"", (), Actor("user", "u"), 0, 0
)

CASES = [
    ("id", "eq", "m-1", True),
    ("app_id", "eq", "shop", True),
    ("user_id", "eq", "shop", False),
    ("user_id", "ne", "shop", True),
    ("user_id", "nin", ["shop"], True),
    ("user_id", "in", ["shop", None], False),
    ("user_id", "eq", None, False),
    ("user_id", "exists", False, True),
    ("user_id", "exists", True, False),
    ("agent_id", "exists", True, True),
    ("version", "gte", 3, True),
    ("version", "gt", 3, False),
    ("version", "lt", 3.5, True),
    ("version", "gt", "2", False),
    ("version", "lt", True, False),
    ("version", "eq", "3", False),
    ("version", "ne", "3", True),
    ("version", "in", [1, 3.0], True),
    ("version", "in", ["3", True], False),
    ("pinned", "eq", True, True),
    ("pinned", "eq", 1, False),
    ("pinned", "in", [1], False),
    ("pinned", "in", [True], True),
    ("pinned", "gt", False, True),
    ("pinned", "gt", 0, False),
    ("confidence", "lte", 0.9, True),
    ("importance", "lte", 1, False),
    ("text", "contains", "FROZEN", True),
    ("text", "contains", "frozen", False),
    ("text", "icontains", "frozen", True),
    ("text", "icontains", "STRASSE", True),
    ("text", "contains", 1, False),
    ("text", "gt", "Proc", True),
    ("tags", "contains", "deploy", True),
    ("tags", "contains", "deplo", False),
    ("tags", "contains", "freeze", False),
    ("tags", "icontains", "freeze", True),
    ("tags", "eq", ["deploy", "Freeze"], True),
    ("sha256", "eq", bytes(range(32)).hex(), True),
    ("created_index", "eq", 101, True),
    ("updated_index", "gt", 101, True),
    ("created_at", "eq", "2026-11-20T09:00:00.120Z", True),
    ("created_at", "eq", "2026-11-20T10:00:00.12+01:00", True),
    ("created_at", "lt", "2026-11-20t09:00:00.120000001z", True),
    ("created_at", "gte", "2026-11-20T04:00:00.121-05:00", False),
    ("created_at", "in", ["2026-11-20T09:00:00.120Z"], True),
    ("updated_at", "ne", "2026-11-20T09:00:00.120Z", True),
    ("valid_at", "eq", "1970-01-01T00:00:00Z", True),
    ("invalid_at", "lt", "2999-01-01T00:00:00Z", False),
    ("expires_at", "exists", False, True),
    ("actor.type", "eq", "agent", True),
    ("actor.role", "exists", True, False),
    ("actor", "eq", {"type": "agent", "id": "planner-7", "role": None}, True),
    ("provenance.source_ref", "contains", "wiki", True),
    ("provenance.derived_from", "contains", "m-0", True),
    ("provenance.reason", "exists", True, False),
    ("provenance", "exists", True, True),
    ("embedding.dimension", "eq", 3, True),
    ("embedding.model", "eq", "toy-3", True),
    ("embedding", "eq", {"model": "toy-3", "dimension": 3}, True),
    ("metadata.env", "eq", "prod", True),
    ("metadata.level", "gt", 2, True),
    ("metadata.ratio", "eq", 1, True),
    ("metadata.ratio", "eq", True, False),
    ("metadata.flags", "icontains", "b", True),
    ("metadata.env.x", "exists", True, False),
    ("metadata.none", "ne", 1, True),
    ("value.frozen", "eq", True, True),
    ("value.frozen", "eq", 1, False),
    ("value.nothing", "exists", True, True),
    ("value.nothing", "eq", None, True),
    ("value.nothing", "ne", 1, True),
    ("value.nothing", "lt", 1, False),
    ("value.deep.list", "contains", "two", True),
    ("value.deep.list", "contains", {"a": None}, True),
    ("value.deep.list", "contains", True, False),
    ("value.deep.list", "gt", 0, False),
    ("value.deep", "eq", {"list": [1.0, "two", {"a": None}]}, True),
    ("value.deep", "eq", {"list": [True, "two", {"a": None}]}, False),
    ("value.deep", "in", [1, {"list": [1, "two", {"a": None}]}], True),
]


@pytest.mark.parametrize(("field", "op", "value", "expected"), CASES)
def test_condition_on_a_record_is_as_the_table_says(field: str, op: str, value: object, expected: bool) -> None:
    assert parse({"field": field, "op": op, "value": value}).matches(RECORD) is expected


UNSET_IN_BARE = (
    *("app_id", "user_id", "agent_id", "run_id", "text", "value", "value.frozen", "metadata.env", "memory_type"),
    *("claim_type", "confidence", "importance", "actor.role", "provenance", "provenance.reason", "embedding"),
    *("embedding.model", "embedding.dimension"),
)


@pytest.mark.parametrize("field", UNSET_IN_BARE)
@pytest.mark.parametrize("op", ["eq", "gt", "lte", "in", "contains"])
def test_unset_field_fails_every_comparison_of_a_string(field: str, op: str) -> None:
    value: object = ["zzz"] if op == "in" else "zzz"
    assert not parse({"field": field, "op": op, "value": value}).matches(BARE)
    assert parse({"field": field, "op": "exists", "value": False}).matches(BARE)


def test_and_or_not_combine() -> None:
    yes = {"field": "version", "op": "eq", "value": 3}
    no = {"field": "version", "op": "eq", "value": 4}
    assert parse({"and": [yes, yes]}).matches(RECORD)
    assert not parse({"and": [yes, no]}).matches(RECORD)
    assert parse({"or": [no, yes]}).matches(RECORD)
    assert not parse({"or": [no, no]}).matches(RECORD)
    assert parse({"not": {"and": [yes, {"not": yes}]}}).matches(RECORD)


def test_value_that_is_not_an_object_has_no_paths() -> None:
    record = msgspec.structs.replace(RECORD, value=b"7")
    assert parse({"field": "value", "op": "gt", "value": 6}).matches(record)
    assert not parse({"field": "value.a", "op": "exists", "value": True}).matches(record)
    assert parse({"field": "value", "op": "exists", "value": False}).matches(BARE)


GOOD = {"field": "text", "op": "eq", "value": "x"}
REFUSED = [
    (None, "filter"),
    ([], "filter"),
    ({}, "filter"),
    ({"and": [GOOD], "or": [GOOD]}, "filter"),
    ({"xor": [GOOD]}, "filter.xor"),
    ({"and": []}, "filter.and"),
    ({"or": GOOD}, "filter.or"),
    ({"not": [GOOD]}, "filter.not"),
    ({"and": [GOOD, {"field": "text", "op": "like", "value": "x"}]}, "filter.and[1].op"),
    ({"not": {"or": [{"field": "nope", "op": "eq", "value": 1}]}}, "filter.not.or[0].field"),
    ({"field": "metadata.", "op": "eq", "value": 1}, "filter.field"),
    ({"field": "metadata.a..b", "op": "eq", "value": 1}, "filter.field"),
    ({"field": "text.a", "op": "eq", "value": 1}, "filter.field"),
    ({"field": "vector_at", "op": "exists", "value": True}, "filter.field"),
    ({"field": 1, "op": "eq", "value": 1}, "filter.field"),
    ({"field": "text", "op": ["eq"], "value": 1}, "filter.op"),
    ({"field": "text", "op": "eq"}, "filter.value"),
    ({"field": "text", "value": "x"}, "filter.op"),
    ({"field": "text", "op": "eq", "value": "x", "case": 1}, "filter.case"),
    ({"field": "text", "op": "exists", "value": 1}, "filter.value"),
    ({"field": "text", "op": "in", "value": "x"}, "filter.value"),
    ({"field": "text", "op": "in", "value": ["x"] * (FILTER_VALUES_MAX + 1)}, "filter.value"),
    ({"field": "text", "op": "gt", "value": ["x"]}, "filter.value"),
    ({"field": "text", "op": "lt", "value": None}, "filter.value"),
    ({"field": "text", "op": "icontains", "value": 1}, "filter.value"),
    ({"field": "created_at", "op": "contains", "value": "2026"}, "filter.op"),
    ({"field": "created_at", "op": "gt", "value": 1}, "filter.value"),
    ({"field": "created_at", "op": "gt", "value": "2026-11-20"}, "filter.value"),
    ({"field": "created_at", "op": "gt", "value": "2026-13-20T00:00:00Z"}, "filter.value"),
    ({"field": "created_at", "op": "gt", "value": "2026-11-20T00:00:00"}, "filter.value"),
    ({"field": "created_at", "op": "in", "value": ["2026-11-20T00:00:00Z", "x"]}, "filter.value[1]"),
    ({"and": [GOOD] * FILTER_NODES_MAX}, f"filter.and[{FILTER_NODES_MAX - 1}]"),
]


@pytest.mark.parametrize(("raw", "place"), REFUSED)
def test_wrong_filter_is_refused_with_its_place(raw: object, place: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(raw)
    assert refused.value.parameter == place
    assert place in refused.value.detail or refused.value.detail.startswith("a filter has at most")


def test_nesting_past_the_bound_is_refused_and_up_to_it_works() -> None:
    nested: dict[str, object] = {"field": "version", "op": "eq", "value": 3}
    for _ in range(FILTER_NODES_MAX - 1):
        nested = {"not": nested}
    assert parse(nested).matches(RECORD) is ((FILTER_NODES_MAX - 1) % 2 == 0)
    with pytest.raises(BadRequest):
        parse({"not": nested})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 2.5]) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)


def _shape(value: object) -> object:
    """JSON with the type of each scalar beside it: Python's equality is then JSON's."""
    if isinstance(value, list):
        return [_shape(item) for item in value]
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    return (isinstance(value, bool), value)


@settings(max_examples=150, deadline=None)
@given(found=JSON, wanted=JSON)
def test_equality_is_that_of_json_values(found: object, wanted: object) -> None:
    record = msgspec.structs.replace(RECORD, metadata=msgspec.json.encode({"x": found}))
    expected = _shape(found) == _shape(wanted)
    field = "metadata.x"
    assert parse({"field": field, "op": "eq", "value": wanted}).matches(record) is expected
    assert parse({"field": field, "op": "ne", "value": wanted}).matches(record) is not expected
    assert parse({"field": field, "op": "in", "value": [wanted]}).matches(record) is expected
    assert parse({"field": field, "op": "nin", "value": [wanted]}).matches(record) is not expected


@settings(max_examples=150, deadline=None)
@given(raw=JSON | st.dictionaries(st.sampled_from(["and", "or", "not", "field", "op", "value"]), JSON, max_size=3))
def test_any_json_is_parsed_or_refused_and_a_match_never_raises(raw: object) -> None:
    try:
        parsed = parse(raw)
    except BadRequest:
        return
    assert parsed.matches(RECORD) in (True, False)
    assert parsed.matches(BARE) in (True, False)


def test_a_filter_says_how_many_conditions_it_has() -> None:
    one = {"field": "text", "op": "icontains", "value": "x"}
    assert [parse(raw).conditions for raw in (one, {"or": [one, one]}, {"not": {"and": [one] * 3}})] == [1, 3, 5]
