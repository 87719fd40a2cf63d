"""One replica in memory behind the API: the real machine over the in-memory state, and no consensus.

A group of three whose members come and go at once, each by an entry; n1 leads until the lead is handed over.
Index 1 to 100 are Raft's own entries, so the first write stands at index 101 of term 3; the wall clock moves one
second an entry and stands at 2026-11-20T09:00:00.120Z for index 101.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Final, Literal, TypeVar

import httpx
import msgspec

from raftmem import codec, errors
from raftmem.api.app import create_app
from raftmem.api.settings import ApiSettings
from raftmem.commands import Actor, Draft, Expire, Header, Member, MemberChange, Members
from raftmem.limits import MEMBERS_MAX
from raftmem.machine.run import Applied, step_entry
from raftmem.service import Changed, Level, MemberView, Point, ReadOptions, Status, Written
from raftmem.storage.contracts import Hit, LogEntry, SnapshotMeta, VectorQuery
from raftmem.storage.cosine import search_at
from raftmem.storage.memory_state import MemoryStateStore

TERM: Final = 3
FIRST_WALL_MS: Final = 1_795_165_200_120  # 2026-11-20T09:00:00.120Z
FIRST: Final = 101
GENESIS: Final = "9e" * 32
VOTERS: Final = tuple(
    Member(f"n{k}", f"127.0.0.1:910{k}", f"http://127.0.0.1:810{k}", f"folder-{k}") for k in (1, 2, 3)
)
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
        self.members = Members("5f2a9c01", 1, VOTERS, 1000, 500)
        self.genesis = GENESIS
        self._entry_of: dict[str, Applied] = {}  # of the entry that made a member what it is
        self._snapshots: list[SnapshotMeta] = []
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
        learners = {member.id for member in self.members.learners}
        members = tuple(
            MemberView(
                one.id,
                "learner" if one.id in learners else "leader" if one.id == self.leader_id else "follower",
                one.rest_url,
                one.peer_url,
                *5 * (None,),
            )
            for one in (*self.members.voters, *self.members.learners)
        )
        return Status(
            self.node_id, "5f2a9c01", 1, TERM, self.leader_id, self.leader_url, head, head, head, head, members
        )

    # --- the group --------------------------------------------------------------------------------
    async def add_member(self, member: Member, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        self._may_change(timeout_ms)
        stands = self.members.member(member.id)
        if stands is not None:
            kept = {name: getattr(member, name) or getattr(stands, name) for name in ("folder_id", "replaces")}
            member = msgspec.structs.replace(member, **kept)
        if stands == member:
            return Changed(self._made(member.id).row, self.members)
        if member.id in self.members.removed:
            raise errors.WrongState(f"{member.id} was removed for good; give the new replica another id")
        if stands in self.members.voters or len(self.status().members) >= MEMBERS_MAX:
            raise errors.WrongState(f"{member.id} votes, or the group is full")
        if member.replaces is not None and member.replaces not in {one.id for one in self.members.voters}:
            raise errors.NotFound(f"{member.replaces} is no voter of this group")
        learners = (*(one for one in self.members.learners if one.id != member.id), member)
        return self._change("update" if stands else "add", member.id, actor, request_id, learners=learners)

    async def remove_member(self, member_id: str, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        self._may_change(timeout_ms)
        if self.members.member(member_id) is None:
            raise errors.NotFound(f"{member_id} is no member of this group")
        voters = tuple(one for one in self.members.voters if one.id != member_id)
        if not voters:
            raise errors.WrongState(f"{member_id} is the last voter")
        learners = tuple(one for one in self.members.learners if one.id != member_id)
        removed = (*self.members.removed, member_id)[-MEMBERS_MAX:]
        return self._change("remove", member_id, actor, request_id, voters=voters, learners=learners, removed=removed)

    async def transfer(self, member_id: str | None, *, timeout_ms: int) -> str:
        self._may_change(timeout_ms)
        target = self.members.voters[-1].id if member_id is None else member_id
        voter = next((one for one in self.members.voters if one.id == target), None)
        if voter is None:
            raise errors.NotFound(f"{target} is no voter of this group")
        self.leader_id, self.leader_url = target, voter.rest_url
        return target

    def _may_change(self, timeout_ms: int) -> None:
        assert timeout_ms > 0
        if self.failure is not None:
            raise self.failure

    def _change(
        self, op: Literal["add", "update", "remove"], member_id: str, actor: Actor, request_id: str, **lists: object
    ) -> Changed:
        change = MemberChange(op, member_id, actor, request_id)
        self.members = msgspec.structs.replace(self.members, change=change, **lists)
        applied = self.entry(codec.membership(self.members, time=0, wall_ms=self.wall_ms))
        self._entry_of[member_id] = applied
        return Changed(applied.row, self.members)

    def _made(self, member_id: str) -> Applied:
        return self._entry_of.get(member_id) or self._applied[1]

    async def snapshot(self, *, timeout_ms: int) -> SnapshotMeta:
        self._may_change(timeout_ms)
        head = self.store.head()
        first = LogEntry(1, 0, codec.membership(self.members, time=0, wall_ms=0))
        taken = SnapshotMeta(head.index, head.term, 4096, b"\x07" * 32, head.digest, b"", first, self.wall_ms)
        self._snapshots = [taken, *self._snapshots][:2]
        return taken

    def snapshots(self) -> list[SnapshotMeta]:
        return self._snapshots

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
