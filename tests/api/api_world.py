"""One replica in memory behind the API: the real machine over the in-memory state, and no consensus.

Index 1 to 100 are Raft's own entries, so the first write stands at index 101 of term 3; the wall clock moves one
second an entry and stands at 2026-11-20T09:00:00.120Z for index 101.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Final, TypeVar

import httpx

from raftmem import codec, errors
from raftmem.api.app import create_app
from raftmem.api.settings import ApiSettings
from raftmem.commands import Actor, Draft, Expire, Header
from raftmem.machine.run import Applied, step_entry
from raftmem.service import Level, MemberView, Point, ReadOptions, Status, Written
from raftmem.storage.contracts import Hit, VectorQuery
from raftmem.storage.cosine import search_at
from raftmem.storage.memory_state import MemoryStateStore

TERM: Final = 3
FIRST_WALL_MS: Final = 1_795_165_200_120  # 2026-11-20T09:00:00.120Z
FIRST: Final = 101
_T = TypeVar("_T")


def run(work: Coroutine[object, object, _T]) -> _T:
    return asyncio.run(work)


class MemoryService:
    """`failure`: raised by the next writes and reads. `oldest`: lowest index that may be read."""

    def __init__(self, *, node_id: str = "n2", oldest: int = 1) -> None:
        self.node_id = node_id
        self.cluster = "5f2a9c01/1"
        self.term = TERM
        self.leader_id: str | None = "n1"
        self.leader_url: str | None = "http://127.0.0.1:8101"
        self.store = MemoryStateStore()
        self.oldest = oldest
        self.failure: Exception | None = None
        self.lapses = 0  # how many answers the lease does not cover
        self.reads: list[ReadOptions] = []
        self.drafts: list[Draft] = []
        self._ids = 0
        self._applied: dict[int, Applied] = {}
        self._moved = asyncio.Event()
        for _ in range(1, FIRST):
            self.entry(codec.no_op(time=0, wall_ms=FIRST_WALL_MS))

    def entry(self, data: bytes) -> Applied:
        """Apply one entry, as raft would."""
        index = self.store.head().index + 1
        with self.store.write() as writer:
            applied = step_entry(writer, index, TERM, data)
        self._applied[index] = applied
        self._moved.set()
        return applied

    def expire(self, memory_id: str, version: int) -> None:
        header = Header(Actor("system", "raft"), "expiry", (Expire(memory_id, version),))
        body = codec.encode_draft(Draft(header, (None,)), bytes)
        self.entry(codec.seal(body, time=10**15, wall_ms=self.wall_ms))

    @property
    def wall_ms(self) -> int:
        return FIRST_WALL_MS + (self.store.head().index + 1 - FIRST) * 1000

    async def write(self, draft: Draft, *, timeout_ms: int) -> Written:
        assert timeout_ms > 0
        if self.failure is not None:
            raise self.failure
        self.drafts.append(draft)
        body = codec.encode_draft(draft, bytes)
        applied = self.entry(codec.seal(body, time=self.store.head().index * 1_000_000, wall_ms=self.wall_ms))
        first = applied.row.result.replay_of
        if first is not None:
            applied = self._applied[first]
        return Written(applied.row, applied.entry, self.store.read(), first is not None)

    def read_now(self, options: ReadOptions) -> Point | None:  # noqa: ARG002  # everything waits here
        return None

    async def read(self, options: ReadOptions) -> Point:
        self.reads.append(options)
        if self.failure is not None:
            raise self.failure
        head = self.store.head().index
        if options.at is None:
            if (options.min_index or 0) > head:
                raise errors.ConsistencyTimeout(f"this replica has applied index {head}, the read needs more")
            return Point(self.store.read(), head, options.level.value, TERM if options.level is Level.LEASE else None)
        if options.at > head:
            raise errors.FutureIndex(options.at, head)
        if options.at < self.oldest:
            raise errors.IndexCompacted(options.at, self.oldest)
        return Point(self.store.read(), options.at, "at")

    def still_holds(self, point: Point) -> bool:
        if point.lease_term is not None and self.lapses:
            self.lapses -= 1
            return False
        return True

    async def search(self, point: Point, query: VectorQuery) -> Sequence[Hit]:
        return search_at(point.reader, query, point.index)

    async def wait_applied(self, index: int, *, timeout_ms: int) -> bool:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while self.store.head().index < index:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def status(self) -> Status:
        head = self.store.head().index
        members = tuple(
            MemberView(name, "leader" if name == "n1" else "follower", f"http://{name}", f"tcp://{name}", *5 * (None,))
            for name in ("n1", "n2", "n3")
        )
        return Status(self.node_id, "5f2a9c01", 1, TERM, "n1", self.leader_url, head, head, head, head, members)

    def new_id(self) -> str:
        self._ids += 1
        return f"01939c0a-0000-7000-8000-{self._ids:012d}"

    def metrics(self) -> dict[str, float]:
        return {"server_has_leader": 1.0, "server_proposals_committed_total": float(self.store.head().index)}


class World:
    """A client and the replica that answers it."""

    def __init__(self, *, settings: ApiSettings | None = None, oldest: int = 1) -> None:
        self.service = MemoryService(oldest=oldest)
        self.app = create_app(self.service, settings=settings)

    async def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One request. `body`: JSON; `content`: bytes as they are, sent as JSON unless `headers` say otherwise."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://n2") as client:
            if content is not None:
                headers = {"content-type": "application/json", **(headers or {})}
                return await client.request(method, target, content=content, headers=headers)
            if body is None:
                return await client.request(method, target, headers=headers)
            return await client.request(method, target, json=body, headers=headers)

    def __call__(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """`ask`, from outside a loop."""
        return run(self.ask(method, target, body, content=content, headers=headers))
