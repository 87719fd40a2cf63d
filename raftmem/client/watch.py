"""A watch of the log: entries as they are applied, from one replica or the next, without a gap or a repeat.

The rule: `index` is the place up to which everything was delivered; a stream that ends, stalls, is told `lagged` or
`goodbye`, or shows that an entry was missed, is left, and another begins right after the place. What a replica says
besides the log is believed only if it continues the place.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Unpack
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from raftmem.client.effects import Failed, Pause, Program, Request, Shut, Stream, open_stream, read
from raftmem.client.errors import ClusterChanged, FutureIndex, IndexCompacted, ServerError, Unreachable, of_reply
from raftmem.client.plan import Pairs, pairs
from raftmem.client.retry import PAUSE_S_FIRST, PAUSE_S_MAX, Caller
from raftmem.client.session import CLUSTER
from raftmem.client.shapes import Entry, Event, ScopeIds
from raftmem.client.values import names, seconds

_log = logging.getLogger("raftmem.client")
_LINE_BYTES_MAX: Final = 64 << 20  # of one entry; the service sends much smaller ones
_AGAIN: Final = frozenset({429, 502, 503, 504, 507})


class _Item(Struct, frozen=True):
    """One line of a stream."""

    type: str
    index: int | None = None
    prev_index: int | None = None
    events: list[Event] = []
    oldest_index: int | None = None


_DECODE: Final = msgspec.json.Decoder(_Item).decode


class WatchPlan(NamedTuple):
    """The filter, the start and the patience of a watch. See `watch`."""

    from_index: int | None
    params: Pairs
    stall: float
    patience: float | None


def watch(
    from_index: int | None = None,
    *,
    op: str | None = None,
    memory_id: str | None = None,
    lock: str | None = None,
    queue: str | None = None,
    gate: str | None = None,
    actor_id: str | None = None,
    request_id: str | None = None,
    outcome: Literal["applied", "refused"] | None = None,
    tags: Sequence[str] = (),
    internal: bool = False,
    stall: float = 30.0,
    patience: float | None = None,
    **scope: Unpack[ScopeIds],
) -> WatchPlan:
    """Entries of the log as they are applied, from `from_index` on (inclusive; None: what comes next).

    `internal`: Raft's own entries too. `stall`: seconds without even a bookmark after which a stream is dead.
    `patience`: how long no replica may answer before that is an error; None: however long.

    Raises: IndexCompacted, ClusterChanged, Unreachable, BadRequest, FutureIndex.
    """
    asked: dict[str, object] = {
        "op": op,
        "memory_id": memory_id,
        "lock": lock,
        "queue": queue,
        "gate": gate,
        "actor_id": actor_id,
        "request_id": request_id,
        "outcome": outcome,
        "tag": names(tags, "tags"),
        "include": "internal" if internal else None,
        **scope,
    }
    return WatchPlan(
        from_index,
        pairs(asked),
        seconds(stall, "stall"),
        None if patience is None else seconds(patience, "patience"),
    )


class Watching:
    """One watch. It reads one stream at a time."""

    def __init__(self, caller: Caller, stream: Stream, plan: WatchPlan) -> None:
        self._caller = caller
        self._stream = stream
        self._wanted = plan.params
        self._stall_s = plan.stall
        self._patience_s = plan.patience
        self.index = None if plan.from_index is None else plan.from_index - 1
        self._cluster: str | None = None
        self._ready: deque[Entry] = deque()
        self._rest = b""
        self._open = False
        self._resumed = False
        self._failures = 0
        self._failing_since: float | None = None

    # --- the loop -----------------------------------------------------------------------------------
    def next_entry(self) -> Program[Entry]:
        """Wait for the next entry. Raises: IndexCompacted, ClusterChanged, Unreachable, BadRequest, …"""
        while not self._ready:
            if not self._open:
                yield from self._opening()
                continue
            got = yield from read(self._stream)
            if isinstance(got, Failed):
                yield from self._leave(got.reason)
            elif not got:
                yield from self._leave("the stream ended")
            else:
                over = self._take(got)
                if over is not None:
                    yield from self._leave(over)
        entry = self._ready.popleft()
        self.index = entry.index
        self._caller.session.reached(entry.index)  # what its reader then reads is no older
        return entry

    def shut(self) -> Program[None]:
        self._open = False
        yield Shut(self._stream)

    def _opening(self) -> Program[None]:
        endpoint = self._caller.endpoints.current
        got = yield from open_stream(self._stream, self._request(endpoint))
        if isinstance(got, Failed):
            yield from self._failed(endpoint, got.reason)
            return
        if not self._caller.session.saw(got.headers):
            yield from self._failed(endpoint, "answers for an incarnation of the group that is over")
            return
        cluster = got.headers.get(CLUSTER)
        if self._cluster is not None and cluster != self._cluster:
            yield Shut(self._stream)
            raise ClusterChanged(self._cluster, cluster or "unknown")
        self._cluster = cluster
        if got.status == 200:
            self._open, self._rest = True, b""
            return
        yield Shut(self._stream)
        error = of_reply(got.status, got.body, index=None, endpoint=endpoint)
        behind = self._resumed and isinstance(error, FutureIndex)  # a replica that does not know what it has yet
        if got.status not in _AGAIN and not behind:
            raise error
        yield from self._failed(endpoint, error.detail)

    def _request(self, endpoint: str) -> Request:
        place = () if self.index is None else (("from", str(self.index + 1)),)
        query = urlencode((*self._wanted, *place))
        headers = (*self._caller.headers, ("Accept", "application/x-ndjson"), ("Accept-Encoding", "identity"))
        url = f"{endpoint}/v1/watch?{query}" if query else f"{endpoint}/v1/watch"
        return Request("GET", url, headers, None, self._caller.connect_s, self._stall_s)

    def _leave(self, reason: str) -> Program[None]:
        """Leave the stream. Its unread entries are asked for again."""
        self._open, self._rest = False, b""
        yield Shut(self._stream)
        yield from self._failed(self._caller.endpoints.current, reason)

    def _failed(self, endpoint: str, reason: str) -> Program[None]:
        """Go on at the next replica, with a pause after each round of failures."""
        clock = self._caller.clock
        now = clock.now()
        self._failing_since = now if self._failing_since is None else self._failing_since
        _log.info("the watch at %s goes on elsewhere: %s", endpoint, reason)
        if self._patience_s is not None and now - self._failing_since >= self._patience_s:
            raise Unreachable({endpoint: reason})
        self._caller.endpoints.failed(endpoint)
        self._failures += 1
        rounds, rest = divmod(self._failures, len(self._caller.endpoints.urls))
        if rest == 0:
            longest = min(PAUSE_S_MAX, PAUSE_S_FIRST * 2 ** min(rounds, 16))
            yield Pause(self._caller.randomness.random() * longest)

    # --- what comes -----------------------------------------------------------------------------------
    def _take(self, data: bytes) -> str | None:
        """Take in bytes of the stream -> the reason to leave it, or None. Raises: IndexCompacted."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES_MAX:
            raise ServerError(f"a line of the watch is longer than {_LINE_BYTES_MAX} bytes")
        for line in lines:
            if line.strip():
                over = self._item(line)
                if over is not None:
                    return over
        return None

    def _item(self, line: bytes) -> str | None:
        try:
            item = _DECODE(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"a line that is no item of a watch: {error}"
        if item.type == "compacted" and not self._ready:  # else what has come is delivered first, and it is asked again
            detail = f"the entries after index {self._place()} are no longer kept"
            raise IndexCompacted(detail, problem={"oldest_index": item.oldest_index or item.index})
        if item.type not in ("entry", "bookmark") or item.index is None:
            return f"told {item.type}"
        place = self._place()
        self._failures, self._failing_since, self._resumed = 0, None, True
        if item.type == "bookmark":
            if not self._ready:
                self.index = item.index if place is None else max(place, item.index)
            return None
        if place is not None and item.index <= place:
            return None  # delivered already
        if place is not None and item.prev_index is not None and item.prev_index > place:
            return f"entry {item.prev_index} was missed"
        self._ready.append(Entry(item.index, item.prev_index, item.events))
        return None

    def _place(self) -> int | None:
        """The index up to which everything was delivered, or is about to be."""
        return self._ready[-1].index if self._ready else self.index
