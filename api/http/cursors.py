"""Cursors of lists: where the next page begins, the index that the first page pinned, and what the list was about.

Opaque to clients. The rule: a cursor only continues the list it came from; one that was changed, or that comes with
other parameters, is 400. `timeout_ms` may differ from page to page.
"""

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from raftmem.api.http.parameters import Parameters
from raftmem.errors import BadRequest
from raftmem.model.records import Position

_CHECK_BYTES: Final = 12
_FREE: Final = frozenset({"cursor", "timeout_ms"})
_encode = msgspec.msgpack.Encoder().encode


class MemoryCursor(Struct, frozen=True, array_like=True):
    """`index`: pinned by the first page. `after`: (created index, id) of the last row looked at."""

    index: int
    after: tuple[int, str]


class EventCursor(Struct, frozen=True, array_like=True):
    """`index`: pinned by the first page. `after`: the last event looked at."""

    index: int
    after: Position


class PlaceCursor(Struct, frozen=True, array_like=True):
    """`after`: created position of the last row looked at. Pins no index: such a list shows how things stand now."""

    after: Position


_Cursor = TypeVar("_Cursor", bound=MemoryCursor | EventCursor | PlaceCursor)


class Cursors(Generic[_Cursor]):
    """The cursors of one list: one path with one set of parameters."""

    def __init__(self, kind: type[_Cursor], path: str, given: Parameters) -> None:
        self._kind = kind
        self._list = _encode([path, sorted(pair for pair in given.pairs if pair[0] not in _FREE)])
        self._given = given.text("cursor")

    def given(self) -> _Cursor | None:
        """The cursor of this request. Raises: BadRequest."""
        if self._given is None:
            return None
        try:
            raw = urlsafe_b64decode(self._given.encode("ascii") + b"==")
            check, body = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
            if check != self._check(body):
                raise ValueError("another list")
            return msgspec.msgpack.decode(body, type=self._kind)
        except (binascii.Error, ValueError) as error:
            detail = "cursor does not belong to this list: send it unchanged, with the query it came from"
            raise BadRequest(detail, parameter="cursor") from error

    def next(self, cursor: _Cursor) -> str:
        """As text."""
        body = _encode(cursor)
        return urlsafe_b64encode(self._check(body) + body).rstrip(b"=").decode("ascii")

    def _check(self, body: bytes) -> bytes:
        return hashlib.blake2b(self._list + body, digest_size=_CHECK_BYTES, person=b"raftmem.cursor").digest()
