"""Wait for a task to claim or for a gate to open, and finish the release of an owner that has much.

The rule: while there is nothing to claim, nothing enters the log. A claim is proposed only when this replica sees a
task. It waits only when there is no task at the level of a lease. A claim that loses the race looks again. A task
claimed for a client that is gone is given back, unless the client can ask for it again under its key.
"""

import logging
from typing import Final

from msgspec.structs import replace

from raftmem.errors import RaftmemError
from raftmem.limits import OWNER_RELEASE_MAX
from raftmem.model.commands import Draft, OwnerRelease, TaskClaim, TaskRelease
from raftmem.model.coordination_rows import Gate, gate_key, owned_by, ready_in
from raftmem.replica.apply_loop import Replica
from raftmem.runtime.promise import Deadline, until_gone
from raftmem.service.interface import Gone, Point, Read, ReadOptions, Write, Written
from raftmem.service.wait_registry import WaitRegistry
from raftmem.storage.state.contract import EventRow, StateReader

log = logging.getLogger("raftmem.service")
_PASSES_MAX: Final = 10_000  # entries of one owner release; far more than anybody holds


def is_available(reader: StateReader, queue: str) -> bool:
    """True if a task can be claimed."""
    return bool(reader.scan(ready_in(queue), limit=1))


class TaskWaits:
    """Loop thread only. `write`, `read`: of the service."""

    def __init__(self, *, write: Write, read: Read, replica: Replica, wait_registry: WaitRegistry) -> None:
        self._write = write
        self._read = read
        self._replica = replica
        self._wait_registry = wait_registry

    # --- claims ---------------------------------------------------------------------------------------
    async def claim(self, draft: Draft, *, wait_ms: int, timeout_ms: int, gone: Gone) -> Written | Point:
        """As `Service.claim`; a key that is used up already has its first reply and does not come here."""
        asked = draft.header.operations[0]
        assert isinstance(asked, TaskClaim)
        deadline = Deadline(wait_ms)
        found = await self._look(draft, asked, timeout_ms)
        if isinstance(found, Written) or deadline.remaining == 0:
            return found
        with self._wait_registry.claim_wait(asked.queues) as claim:
            async with until_gone(gone, claim.wake) as is_gone:
                while isinstance(found, Point) and deadline.remaining > 0:
                    await claim.sleep(deadline)
                    if is_gone():
                        break
                    found = await self._look(draft, asked, timeout_ms)
                if isinstance(found, Written) and is_gone() and draft.header.idempotency is None:
                    await self._give_back(found, draft, timeout_ms)  # nobody else can come to know its token
        return found

    async def _give_back(self, claimed: Written, draft: Draft, timeout_ms: int) -> None:
        """As if it had not been claimed; what cannot be given back runs out."""
        about = claimed.row.result.outcomes[claimed.first_seq].about
        if about is None or about.token is None:
            return
        releases = tuple(TaskRelease(task_id, about.token) for task_id in about.task_ids)
        header = replace(draft.header, operations=releases, guards=(), atomic=False)
        try:
            await self._write(Draft(header, (None,) * len(releases)), timeout_ms=timeout_ms)
        except RaftmemError as error:
            log.info("%s, whose claim ended, may keep its tasks until it expires: %s", draft.header.request_id, error)

    async def _look(self, draft: Draft, asked: TaskClaim, timeout_ms: int) -> Written | Point:
        """The claim that was made, or a moment with nothing to claim, in the same turn of the loop."""
        while True:
            if not self._sees_a_task(self._replica.reader(), asked):  # this replica may be behind: ask
                point = await self._read(ReadOptions(timeout_ms=timeout_ms))
                if not self._sees_a_task(point.reader, asked):
                    return point
            written = await self._write(draft, timeout_ms=timeout_ms)
            is_lost = written.row.result.outcomes[0].op == "NOOP"
            if not is_lost or draft.header.idempotency is not None:  # a NOOP uses up the key: it is the answer then
                return written

    @staticmethod
    def _sees_a_task(reader: StateReader, asked: TaskClaim) -> bool:
        return any(is_available(reader, queue) for queue in asked.queues)

    # --- gates ----------------------------------------------------------------------------------------
    async def await_gate(self, gate: str, options: ReadOptions, *, wait_ms: int, gone: Gone) -> Point:
        """As `Service.await_gate`. A gate that is not there yet may still be made."""
        deadline = Deadline(wait_ms)
        point = await self._read(options)
        if options.at is not None or _is_open(point, gate) or deadline.remaining == 0:
            return point
        with self._wait_registry.on(gate_key(gate)) as wait:
            async with until_gone(gone, wait.wake) as is_gone:
                while not _is_open(point, gate) and deadline.remaining > 0:
                    await wait.sleep(deadline)
                    if is_gone():
                        break
                    point = await self._read(options)
        return point

    # --- owners ---------------------------------------------------------------------------------------
    async def go_on(self, written: Written, draft: Draft, *, timeout_ms: int) -> Written:
        """An OWNER_RELEASE may have left something for the next entry: again, until nothing is left."""
        operation = draft.header.operations[0]
        assert isinstance(operation, OwnerRelease)
        again = replace(draft, header=replace(draft.header, idempotency=None))
        rows: list[EventRow] = []
        last = written.row
        while len(rows) < _PASSES_MAX and self._leaves_some(last, operation.owner):
            last = (await self._write(again, timeout_ms=timeout_ms)).row
            rows.append(last)
        return written._replace(more=tuple(rows), reader=self._replica.reader())

    def _leaves_some(self, row: EventRow, owner: str) -> bool:
        outcomes = row.result.outcomes
        return (
            outcomes[0].applied
            and len(outcomes) > OWNER_RELEASE_MAX
            and bool(self._replica.reader().scan(owned_by(owner), limit=1))
        )


def _is_open(point: Point, gate: str) -> bool:
    found = point.reader.coordination_row(gate_key(gate))
    return isinstance(found, Gate) and found.open
