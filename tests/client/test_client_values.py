"""What enters the client: refused at once with its path, or sent as it is meant."""

import array
import collections
import datetime
import decimal
import enum
import json
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import httpx
import numpy as np
import pytest
from client_world import URLS, Asked, Replicas, answer, event, memory
from hypothesis import given, settings
from hypothesis import strategies as st

from raftmem.client import RaftmemClient
from raftmem.client.values import checked

UTC = datetime.UTC
LONE = "a\ud800b"


@dataclass
class Point:
    x: int = 1


class Colour(enum.Enum):
    RED = "red"


class Named(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)
NO_TYPE = [
    b"bytes",
    bytearray(b"b"),
    memoryview(b"b"),
    {1, 2},
    frozenset({1}),
    {1: "a"},
    {None: "a"},
    {("a", "b"): 1},
    {b"a": 1},
    object(),
    decimal.Decimal("1.5"),
    datetime.datetime(2026, 1, 1, tzinfo=UTC),
    datetime.date(2026, 1, 1),
    datetime.timedelta(seconds=1),
    uuid.UUID(int=1),
    complex(1, 2),
    (n for n in (1, 2)),
    range(3),
    Point(),
    Colour.RED,
    len,
    np.array([1 + 2j]),
    np.array([object()]),
    np.datetime64("2026-01-01"),
    np.longdouble(1),
]
NO_VALUE = [
    math.nan,
    math.inf,
    -math.inf,
    2**53,
    -(2**53),
    LONE,
    {LONE: 1},
    CIRCLE,
    np.float32("nan"),
    np.array([np.inf]),
]


class World:
    def __init__(self) -> None:
        self.replicas = Replicas(self._answer)
        self.client = RaftmemClient(URLS, transport=self.replicas)

    def _answer(self, asked: Asked) -> httpx.Response:
        if asked.path.endswith("/search"):
            return answer({"results": []})
        return answer({"memory": memory(), "event": event(), "index": 5, "results": []})


@pytest.mark.parametrize("value", NO_TYPE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("where", ["value", "metadata"])
def test_value_that_json_has_no_form_for_is_refused_with_its_path(value: object, where: str) -> None:
    world = World()
    with pytest.raises(TypeError, match=rf"{where}\.deep\[1\]"):
        world.client.memories.add(text="x", **{where: {"deep": ["fine", value]}})  # type: ignore[arg-type]
    assert world.replicas.asked == []


@pytest.mark.parametrize("value", NO_VALUE, ids=lambda value: type(value).__name__)
def test_value_that_json_would_change_is_refused_with_its_path(value: object) -> None:
    world = World()
    with pytest.raises(ValueError, match=r"value\.deep\[1\]"):
        world.client.memories.add(value={"deep": ["fine", value]})
    assert world.replicas.asked == []


REFUSED: dict[str, Callable[[RaftmemClient], object]] = {
    "text": lambda c: c.memories.add(text=LONE),
    "id": lambda c: c.memories.get(LONE),
    "tags[0]": lambda c: c.memories.add(text="x", tags=[LONE]),
    "user_id": lambda c: c.memories.add(text="x", user_id=LONE),
    "confidence": lambda c: c.memories.add(text="x", confidence=math.nan),
    "embedding[1]": lambda c: c.memories.add(text="x", embedding=[1.0, math.inf]),
    "merge.value.n.by": lambda c: c.memories.patch("m", merge={"value.n": {"op": "inc", "by": math.nan}}),
    "events[1].value.a": lambda c: c.batch([{"op": "NOOP"}, {"op": "ADD", "value": {"a": math.nan}}]),
    "then[0].payload": lambda c: c.txn(then=[{"op": "TASK_ADD", "queue": "q", "payload": math.inf}]),
    "guards[0].memory": lambda c: c.memories.put("m", text="x", guards=[{"memory": LONE}]),
    "payload.a": lambda c: c.tasks.add("q", {"a": math.nan}),
    "queue": lambda c: c.tasks.add(LONE, 1),
    "name": lambda c: c.locks.acquire(LONE, owner="o", ttl=1),
    "owner": lambda c: c.locks.acquire("l", owner=LONE, ttl=1),
    "ttl": lambda c: c.locks.acquire("l", owner="o", ttl=math.nan),
    "wait": lambda c: c.locks.hold("l", wait=math.inf),
    "metadata.a": lambda c: c.locks.hold("l", metadata={"a": math.nan}),
    "filter": lambda c: c.memories.list(filter={"a": math.nan}),
    "tags[1]": lambda c: c.memories.list(tags=["a", LONE]),
    "embedding[0]": lambda c: c.memories.search([math.nan]),
    "comment": lambda c: c.gates.approve("g", comment=LONE),
    "key": lambda c: c.memories.add(text="x", key="k\n"),
    "result": lambda c: c.tasks.complete("t", token=1, result=LONE),
    "delay": lambda c: c.tasks.fail("t", token=1, delay=math.inf),
    "concurrency": lambda c: c.tasks.worker(["q"], print, concurrency=0),
    "stall": lambda c: c.watch(stall=math.nan),
    "empty": lambda c: c.memories.add(text="x", key=""),
    "no address": lambda c: c.memories.get(".."),
    "'' ": lambda c: c.locks.get(""),
    "NUL": lambda c: c.locks.get("a\0b"),
}


@pytest.mark.parametrize("place", REFUSED)
def test_value_that_cannot_be_sent_is_refused_wherever_it_enters(place: str) -> None:
    world = World()
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the place is looked at below
        REFUSED[place](world.client)
    assert place.strip() in str(refused.value)
    assert world.replicas.asked == []


WRONG: dict[str, Callable[[RaftmemClient], object]] = {
    "queues": lambda c: c.tasks.worker("review", print),
    "tags": lambda c: c.memories.list(tags="a"),
    "ttl": lambda c: c.locks.hold("l", ttl=datetime.timedelta(seconds=1)),  # type: ignore[arg-type]
    "delay": lambda c: c.tasks.add("q", delay="later"),  # type: ignore[arg-type]
    "name": lambda c: c.locks.get(7),  # type: ignore[arg-type]
    "id": lambda c: c.memories.get(uuid.UUID(int=1)),  # type: ignore[arg-type]
    "embedding": lambda c: c.memories.search("0.1"),  # type: ignore[arg-type]
    "embedding[0]": lambda c: c.memories.search(["0.1"]),  # type: ignore[list-item]
    "guards": lambda c: c.memories.put("m", text="x", guards={"memory": "m", "version": 1}),  # type: ignore[arg-type]
    "operations": lambda c: c.batch({"op": "NOOP"}),  # type: ignore[arg-type]
    "key": lambda c: c.memories.add(text="x", key=7),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("place", WRONG)
def test_argument_of_a_wrong_type_is_refused_by_name(place: str) -> None:
    world = World()
    with pytest.raises(TypeError) as refused:
        WRONG[place](world.client)
    assert place in str(refused.value)
    assert world.replicas.asked == []


@pytest.mark.parametrize("actor", ["agent/x ", " agent/x", "agent/x\n", "agent/\x00", "agent/a\r\nX: y", "agent/\x7f"])
def test_actor_that_no_header_can_carry_is_refused_when_the_client_is_made(actor: str) -> None:
    with pytest.raises(ValueError, match="actor"):
        RaftmemClient(URLS, actor=actor)


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"": "c"}, {"X": "a\nb"}, {"X": " a"}, {"ü": "a"}, {"X": LONE}])
def test_header_that_cannot_be_sent_is_refused_when_the_client_is_made(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        RaftmemClient(URLS, headers=headers)


@pytest.mark.parametrize("timeout", [math.nan, math.inf, 0, -1])
def test_timeout_that_is_no_time_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        RaftmemClient(URLS, timeout=timeout)


# --- what goes through ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        ((1, ("a", None)), [1, ["a", None]]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (collections.UserDict(a=1), {"a": 1}),
        (Named.RED, "red"),
        (Number.ONE, 1),
        ({Named.RED: 1}, {"red": 1}),
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([0.5, 1.5], np.float32), [0.5, 1.5]),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array(3.0), 3.0),
        (2**53 - 1, 2**53 - 1),
        ("grüße 你好 \U0001f600 \u0000", "grüße 你好 \U0001f600 \u0000"),
        ([[[]]], [[[]]]),
        (-0.0, -0.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_that_is_meant_goes_through(given_: object, sent: object) -> None:
    world = World()
    world.client.memories.add(value={"v": given_})
    assert world.replicas.asked[0].body["value"] == {"v": sent}


@pytest.mark.parametrize(
    "vector",
    [
        [0.5, 2],
        (0.5, 2),
        np.array([0.5, 2.0]),
        np.array([0.5, 2.0], np.float32),
        array.array("f", [0.5, 2.0]),
        [np.float32(0.5), np.int64(2)],
    ],
    ids=lambda vector: type(vector).__name__,
)
def test_embedding_of_any_numbers_goes_through(vector: list[float]) -> None:
    world = World()
    world.client.memories.add(text="x", embedding=vector)
    world.client.memories.search(vector)
    assert [asked.body["embedding"] for asked in world.replicas.asked] == [[0.5, 2.0]] * 2


def test_names_and_actors_in_any_language_are_sent_as_utf_8() -> None:
    world = World()
    client = RaftmemClient(URLS, actor="user/Jürgen 你好", headers={"X-Team": "équipe"}, transport=world.replicas)
    client.memories.add(text="x", key="schlüssel-1")
    client.memories.delete("straße/1")
    asked = world.replicas.asked
    raw = dict(asked[0].headers.raw)
    assert raw[b"Raftmem-Actor"].decode() == "user/Jürgen 你好"
    assert raw[b"Idempotency-Key"].decode() == "schlüssel-1"
    assert raw[b"X-Team"].decode() == "équipe"
    assert asked[1].path == "/v1/memories/stra%C3%9Fe%2F1"


def test_times_go_where_the_contract_has_times() -> None:
    world = World()
    at = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    world.client.memories.add(text="x", valid_at=at)
    world.client.batch([{"op": "ADD", "text": "x", "invalid_at": at}])
    world.client.memories.search([1.0], filter={"created_at": {"gte": at}})
    bodies = [asked.body for asked in world.replicas.asked]
    assert bodies[0]["valid_at"] == "2026-01-01T00:00:00Z"
    assert bodies[1]["events"][0]["invalid_at"] == "2026-01-01T00:00:00Z"
    assert bodies[2]["filter"] == {"created_at": {"gte": "2026-01-01T00:00:00Z"}}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_comes_out_as_it_went_in(value: object) -> None:
    out = checked(value, "v")
    assert json.dumps(out) == json.dumps(value)
