"""Cursors of lists: where the next page begins, the index that the first page pinned, and what the list was about.

A cursor is sealed under a key that all replicas of the group share, so a client can neither read nor make one, and
any replica takes it. The rule: a cursor only continues the list it came from, in the cluster it came from; one that was
changed, or that comes with other parameters, is 400. `timeout_ms` may differ from page to page.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from raftmem.api.http.call import Call
from raftmem.api.http.parameters import Parameters
from raftmem.errors import BadRequest
from raftmem.model.records import Position

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

    def __init__(self, kind: type[_Cursor], call: Call, given: Parameters) -> None:
        self._kind = kind
        self._sealer = call.shared.sealer
        parameters = sorted(pair for pair in given.pairs if pair[0] not in _FREE)
        self._list = _encode([call.service.cluster, call.route, call.segments, parameters])
        self._given = given.text("cursor")

    def given(self) -> _Cursor | None:
        """The cursor of this request. Raises: BadRequest."""
        if self._given is None:
            return None
        try:
            raw = urlsafe_b64decode(self._given.encode("ascii") + b"==")
            if urlsafe_b64encode(raw).rstrip(b"=") != self._given.encode("ascii"):
                raise ValueError("another spelling of the same bytes")
            return msgspec.msgpack.decode(self._sealer.open(raw, self._list), type=self._kind)
        except (binascii.Error, ValueError) as error:
            detail = "cursor does not belong to this list: send it unchanged, with the query it came from"
            raise BadRequest(detail, parameter="cursor") from error

    def next(self, cursor: _Cursor) -> str:
        """As text."""
        sealed = self._sealer.seal(_encode(cursor), self._list)
        return urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")
