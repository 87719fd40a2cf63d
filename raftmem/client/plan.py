"""A plan: one request before it is sent, with its path and body, its safety to repeat, and the reader of its reply.

The rules: a write is either *keyed* (one Idempotency-Key is made for the call and sent with every attempt) or harmless
to repeat by its owner or token (acquire, renew, heartbeat), so every plan may be sent again. What cannot be sent as it
is meant is refused while the plan is made, before anything is sent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from raftmem.client.values import checked, header, moment, name, seconds, times

T = TypeVar("T")
_S = TypeVar("_S", bound=Struct)
Level = Literal["lease", "linearizable", "session", "bounded", "eventual"]
Guard = Mapping[str, object]
Pairs = tuple[tuple[str, str], ...]
WAIT_S_MAX: Final = 60.0  # that one request may wait on a replica


@dataclass(frozen=True)
class Reading:
    """The freshness of a read. `pinned`: its parameters are complete, and the session adds nothing."""

    level: Level | None = None
    at: int | None = None
    max_staleness: float | None = None
    pinned: bool = False


@dataclass(frozen=True)
class Plan(Generic[T]):
    """One request. `reading`: None for a write. `keyed`: a write under a key; `key`: the caller's own key.
    `wait_s`: the longest wait on a replica that the request asks for."""

    method: str
    path: str
    parse: Callable[[bytes], T]
    params: Pairs = ()
    content: bytes | None = None
    reading: Reading | None = None
    keyed: bool = False
    key: str | None = None
    headers: Pairs = ()
    wait_s: float = 0.0


@dataclass(frozen=True)
class Shape:
    """The paging of a list. `wait_s`: the longest wait of its first page for a first item."""

    page_size: int
    descending: bool = False
    consistency: Level | None = None
    at: int | None = None
    wait_s: float = 0.0


@dataclass(frozen=True)
class Page(Generic[T]):
    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True)
class ListPlan(Generic[T]):
    """A list that is read page by page."""

    first: Plan[Page[T]]

    def following(self, page: Page[T], sent: Pairs) -> Plan[Page[T]] | None:
        """The plan of the next page. A cursor is valid only with the parameters that were `sent` with the first."""
        if page.next_cursor is None:
            return None
        kept = tuple(pair for pair in sent if pair[0] != "cursor")
        params = (*kept, ("cursor", page.next_cursor))
        return replace(self.first, params=params, reading=Reading(pinned=True))


def parser(kind: type[_S]) -> Callable[[bytes], _S]:
    """The reader of a body of this kind."""
    return msgspec.json.Decoder(kind).decode


def get(
    path: str,
    parse: Callable[[bytes], T],
    asked: Mapping[str, object] | None = None,
    *,
    reading: Reading,
    wait_s: float = 0.0,
) -> Plan[T]:
    """A read without a body."""
    return Plan("GET", path, parse, pairs(asked or {}), reading=reading, wait_s=wait_s)


def write(
    method: str,
    path: str,
    parse: Callable[[bytes], T],
    body: Mapping[str, object] | None,
    *,
    key: str | None = None,
    keyed: bool = True,
    wait_s: float = 0.0,
    headers: Pairs = (),
) -> Plan[T]:
    """A write. Raises: TypeError, ValueError for what cannot be sent as it is (see `values.py`)."""
    if key is not None and not header(key, "key"):
        raise ValueError("key is empty: leave it out, or give one")
    content = None if body is None else checked_json(body)
    return Plan(method, path, parse, content=content, keyed=keyed, key=key, headers=headers, wait_s=wait_s)


def given(**fields: object) -> dict[str, object]:
    """The fields that are not None."""
    return {field: value for field, value in fields.items() if value is not None}


def listing(path: str, under: str, kind: type[list[_S]], asked: Mapping[str, object], shape: Shape) -> ListPlan[_S]:
    """A list whose pages carry their items under this name."""
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def parse(body: bytes) -> Page[_S]:
        page = decode(body)
        items = msgspec.json.decode(page[under], type=kind)
        return Page(items, msgspec.json.decode(page["next_cursor"], type=str | None))

    params = {**asked, "limit": shape.page_size, "order": "desc" if shape.descending else None}
    reading = Reading(shape.consistency, shape.at)
    return ListPlan(Plan("GET", path, parse, pairs(params), reading=reading, wait_s=shape.wait_s))


def encode(value: object) -> bytes:
    """Raises: TypeError for what is no JSON."""
    return msgspec.json.encode(value)


def checked_json(body: Mapping[str, object]) -> bytes:
    """Raises: TypeError, ValueError, with the path of what JSON cannot carry."""
    return encode(checked(body, ""))


def pairs(params: Mapping[str, object]) -> Pairs:
    """As a query: None is left out, and each item of a sequence stands for itself. Raises: TypeError, ValueError."""
    found: list[tuple[str, str]] = []
    for parameter, value in params.items():
        several = value if isinstance(value, list | tuple) else (value,)
        found += [(parameter, _shown(item, parameter)) for item in several if item is not None]
    return tuple(found)


def _shown(value: object, path: str) -> str:
    plain = checked(times(value) if isinstance(value, Mapping) else value, path)
    return plain if isinstance(plain, str) else encode(plain).decode()


def segment(value: str, path: str = "name") -> str:
    """A name inside a path, in any language; a slash in it is no separator. Raises: TypeError, ValueError."""
    return quote(name(value, path), safe="")


def ms(duration: float | None, path: str = "a duration") -> int | None:
    """Seconds as the service counts them: at least one millisecond if it is more than nothing.

    Raises: TypeError, ValueError.
    """
    if duration is None:
        return None
    found = seconds(duration, path)
    return 0 if found <= 0 else max(1, round(found * 1000))


def dated(fields: Mapping[str, object]) -> dict[str, object]:
    """Fields with their times as text. Raises: ValueError for a time without a zone."""
    return {field: moment(value, field) if isinstance(value, datetime) else value for field, value in fields.items()}


def guards_of(guards: Sequence[Guard]) -> list[Guard] | None:
    """Raises: TypeError for one guard instead of a list of them."""
    if isinstance(guards, Mapping | str):
        raise TypeError("guards is one guard; give a list of them")
    return list(guards) or None
