"""One replica in memory behind the API: the real machine over the in-memory state, and no consensus.

A group of three whose members come and go at once, each by an entry; n1 leads until the lead is handed over.
Index 1 to 100 are Raft's own entries, so the first write stands at index 101 of term 3; the wall clock moves one
second an entry and stands at 2026-11-20T09:00:00.120Z for index 101.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Literal, TypeVar

import httpx
import msgspec

from raftmem import errors
from raftmem.api.app import create_app
from raftmem.api.http.settings import ApiSettings
from raftmem.limits import MEMBERS_MAX
from raftmem.machine.run import Applied, step_entry
from raftmem.model import codec
from raftmem.model.commands import (
    Actor,
    Draft,
    Expire,
    Header,
    LockAcquire,
    LockExpire,
    LockLeave,
    Member,
    MemberChange,
    Members,
    Operation,
    OwnerRelease,
    TaskClaim,
)
from raftmem.model.coordination_rows import Gate, Hold, gate_key, hold_key, owned_by, ready_in, waiter_key
from raftmem.service.interface import (
    Changed,
    Gone,
    Granted,
    Level,
    MemberView,
    Point,
    ReadOptions,
    Status,
    Topic,
    Written,
)
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.contract import EventRow
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.vectors.contract import Hit, VectorQuery
from raftmem.storage.vectors.cosine import search_at

TERM: Final = 3
FIRST_WALL_MS: Final = 1_795_165_200_120  # 2026-11-20T09:00:00.120Z
FIRST: Final = 101
VOTERS: Final = tuple(
    Member(f"n{k}", f"127.0.0.1:910{k}", f"http://127.0.0.1:810{k}", f"folder-{k}") for k in (1, 2, 3)
)
_T = TypeVar("_T")


def run(work: Coroutine[object, object, _T]) -> _T:
    return asyncio.run(work)


class Following:
    """A subscription that is told of everything."""

    def __init__(self, service: "MemoryService") -> None:
        self._service = service
        self._seen = service.store.head().index
        self.closed = False

    def take(self) -> list[int] | None:
        seen, self._seen = self._seen, self._service.store.head().index
        return list(range(seen + 1, self._seen + 1))

    async def wait(self, seconds: float) -> None:
        await self._service.until(lambda: self.closing or self._service.store.head().index > self._seen, seconds)

    async def turn(self) -> None:
        await asyncio.sleep(0)

    @property
    def closing(self) -> bool:
        return self._service.closing

    def close(self) -> None:
        self.closed = True


class MemoryService:
    """`failure`: raised by the next writes and reads. `oldest`: lowest index that may be read.

    `times`: log time of the entry at an index, microseconds, where it is not one second after the entry before it.
    `later_us`: how long ago, in log time, the last entry was.
    """

    def __init__(self, *, node_id: str = "n2", oldest: int = 1) -> None:
        self.node_id = node_id
        self.cluster = "5f2a9c01/1"
        self.term = TERM
        self.leader_id: str | None = "n1"
        self.leader_url: str | None = "http://127.0.0.1:8101"
        self.store = InMemoryStateStore()
        self.oldest = oldest
        self.failure: Exception | None = None
        self.lapses = 0  # how many answers the lease does not cover
        self.reads: list[ReadOptions] = []
        self.drafts: list[Draft] = []
        self.times: dict[int, int] = {}
        self.later_us = 0
        self.closing = False
        self.left = 0  # waits that ended because their client was gone
        self._ids = 0
        self._applied: dict[int, Applied] = {}
        self._moved = asyncio.Event()
        self.members = Members("5f2a9c01", 1, VOTERS, 1000, 500)
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
        self._moved = asyncio.Event()  # of the next entry; an event belongs to one loop
        return applied

    def expire(self, memory_id: str, version: int) -> None:
        self._by_raft(Expire(memory_id, version), time=10**15)

    def expire_hold(self, lock: str, owner: str) -> None:
        """The leader sees that a hold has run out, at the log time of the next entry."""
        hold = self.store.read().coordination_row(hold_key(lock, owner))
        assert isinstance(hold, Hold)
        self._by_raft(LockExpire(lock, owner, hold.token, hold.renewals, TERM), time=self._next_time)

    def _by_raft(self, operation: Operation, *, time: int) -> Applied:
        header = Header(Actor("system", "raft"), "expiry", (operation,))
        body = codec.encode_draft(Draft(header, (None,)), bytes)
        return self.entry(codec.seal(body, time=time, wall_ms=self.wall_ms))

    @property
    def _next_time(self) -> int:
        head = self.store.head()
        return self.times.get(head.index + 1, max(head.index * 1_000_000, head.time))

    @property
    def wall_ms(self) -> int:
        return FIRST_WALL_MS + (self.store.head().index + 1 - FIRST) * 1000

    async def write(self, draft: Draft, *, timeout_ms: int) -> Written:
        assert timeout_ms > 0
        if self.failure is not None:
            raise self.failure
        self.drafts.append(draft)
        body = codec.encode_draft(draft, bytes)
        applied = self.entry(codec.seal(body, time=self._next_time, wall_ms=self.wall_ms))
        first = applied.row.result.replay_of
        if first is not None:
            applied = self._applied[first]
        more: list[EventRow] = []
        operation = draft.header.operations[0]
        while isinstance(operation, OwnerRelease) and self.store.read().scan(owned_by(operation.owner), limit=1):
            more.append(self.entry(codec.seal(body, time=self._next_time, wall_ms=self.wall_ms)).row)
        return Written(applied.row, applied.entry, self.store.read(), first is not None, more=tuple(more))

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
        return await self.until(lambda: self.store.head().index >= index, timeout_ms / 1000)

    async def until(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Whether it came to be so in that time; looks again after every entry."""
        try:
            async with asyncio.timeout(seconds):
                while not is_so():
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    # --- coordination -----------------------------------------------------------------------------
    async def acquire(self, draft: Draft, *, keep_ms: int = 0, timeout_ms: int, gone: Gone) -> Granted | Written:
        written = await self.write(draft, timeout_ms=timeout_ms)
        first = written.row.result.outcomes[0]
        asked = draft.header.operations[0]
        assert isinstance(asked, LockAcquire)
        if not first.applied:
            return written
        if first.op != "LOCK_WAIT":
            return self._granted(written, asked)
        key, index = hold_key(asked.lock, asked.owner), written.row.index

        def over() -> bool:
            return self._is_held(key, index) or self._thing(waiter_key(asked.lock, asked.owner)) is None

        await self._or_gone(self.until(over, asked.wait_ms / 1000), gone)
        if self._is_held(key, index):
            return self._grant(key)
        if keep_ms and self._thing(waiter_key(asked.lock, asked.owner)) is not None:
            return written
        leave = Header(Actor("system", "raft"), draft.header.request_id, (LockLeave(asked.lock, asked.owner, index),))
        return await self.write(Draft(leave, (None,)), timeout_ms=timeout_ms)

    async def _or_gone(self, waiting: Coroutine[object, object, bool], gone: Gone) -> None:
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(gone())]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.left += tasks[1] in done
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _thing(self, key: bytes) -> object:
        return self.store.read().coordination_row(key)

    def _is_held(self, key: bytes, asked: int) -> bool:
        hold = self._thing(key)
        return isinstance(hold, Hold) and hold.asked.index == asked

    def _granted(self, written: Written, asked: LockAcquire) -> Granted:
        about = written.row.result.outcomes[0].about
        assert about is not None
        assert about.token is not None
        remaining = asked.ttl_ms
        if written.replayed:
            hold = self._thing(hold_key(asked.lock, asked.owner))
            held = isinstance(hold, Hold) and hold.token == about.token
            remaining = max(0, hold.expires - self.log_time()) // 1000 if isinstance(hold, Hold) and held else 0
        return Granted(written.row, written.entry, 0, about.token, remaining, written.replayed)

    def _grant(self, key: bytes) -> Granted:
        hold = self._thing(key)
        assert isinstance(hold, Hold)
        gave = self._applied[hold.token]
        seq = next(
            seq
            for seq, outcome in enumerate(gave.row.result.outcomes)
            if outcome.op == "LOCK_GRANT" and outcome.about is not None and outcome.about.owner == hold.owner
        )
        return Granted(gave.row, gave.entry, seq, hold.token, hold.ttl_ms, replayed=False)

    async def claim(self, draft: Draft, *, wait_ms: int, timeout_ms: int, gone: Gone) -> Written | Point:
        asked = draft.header.operations[0]
        assert isinstance(asked, TaskClaim)

        def ready() -> bool:
            return any(self.store.read().scan(ready_in(queue), limit=1) for queue in asked.queues)

        if draft.header.idempotency is None and not ready():
            await self._or_gone(self.until(ready, wait_ms / 1000), gone)
            if not ready():
                return await self.read(ReadOptions(timeout_ms=timeout_ms))
        return await self.write(draft, timeout_ms=timeout_ms)

    async def await_gate(self, gate: str, options: ReadOptions, *, wait_ms: int, gone: Gone) -> Point:
        def is_open() -> bool:
            found = self._thing(gate_key(gate))
            return isinstance(found, Gate) and found.open

        await self._or_gone(self.until(is_open, wait_ms / 1000), gone)
        return await self.read(options)

    def log_time(self) -> int:
        return self.store.head().time + self.later_us

    def subscribe(self, topics: Sequence[Topic]) -> Following:  # noqa: ARG002  # it is told of everything
        return Following(self)

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

    def __init__(
        self, *, settings: ApiSettings | None = None, oldest: int = 1, service: MemoryService | None = None
    ) -> None:
        self.service = service or MemoryService(oldest=oldest)
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
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
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
