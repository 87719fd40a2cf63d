"""Acquire a lock: at once, or after a wait in its queue. The queue stands in the log, not here.

The rules: a client that stops waiting here is not left in the queue, and a grant that its client did not wait to hear
of is given back. A wait ends with the grant, or with a LOCK_LEAVE
whose outcome says whether the place was left or had just been granted. A grant that another request of the same owner
or key could still give back (its client being gone) is acquired again in the log before it is told. A client that
says that it will ask again (`keep_ms`) keeps its place for so long. If this replica dies, the place expires in the
log: after the requested wait and the time in which it would have been left (`timeout_ms`). A replica that shuts down
leaves no queue: the owner can go on waiting at another replica, with its place.
"""

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace

from raftmem import errors
from raftmem.limits import TIMEOUT_MS_DEFAULT
from raftmem.machine.run import Applied
from raftmem.model.commands import Draft, LockAcquire, LockLeave
from raftmem.model.coordination_rows import Hold, Waiter, hold_key, waiter_key
from raftmem.replica.apply_loop import Replica
from raftmem.runtime.promise import Deadline, has_ended, until_gone
from raftmem.service.interface import Gone, Granted, Write, Written
from raftmem.service.wait_registry import Wait, WaitRegistry

log = logging.getLogger("raftmem.service")


class LockWaits:
    """Loop thread only. `write`: of the service. `log_time`: as of now."""

    def __init__(
        self, *, write: Write, replica: Replica, wait_registry: WaitRegistry, log_time: Callable[[], int]
    ) -> None:
        self._write = write
        self._replica = replica
        self._wait_registry = wait_registry
        self._log_time = log_time
        self._leaving: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive

    async def acquire(self, draft: Draft, *, keep_ms: int = 0, timeout_ms: int, gone: Gone) -> Granted | Written:
        """As `Service.acquire`."""
        asked = draft.header.operations[0]
        assert isinstance(asked, LockAcquire)
        if asked.wait_ms == 0:
            written = await self._write(draft, timeout_ms=timeout_ms)
            return self._told_at_once(written, draft, gone=gone, timeout_ms=timeout_ms)
        stays = replace(asked, leave_ms=max(timeout_ms, keep_ms))
        draft = replace(draft, header=replace(draft.header, operations=(stays,)))
        with self._wait_registry.on(waiter_key(asked.lock, asked.owner)) as wait:
            written = await self._write(draft, timeout_ms=timeout_ms)
            if written.row.result.outcomes[0].op != "LOCK_WAIT":
                return self._told_at_once(written, draft, gone=gone, timeout_ms=timeout_ms)
            place = _QueuePlace(asked, written, draft, keep_ms=keep_ms, timeout_ms=timeout_ms)
            async with until_gone(gone, wait.wake) as is_gone:
                try:
                    return await self._served(place, wait, is_gone)
                except errors.ShuttingDown as leaving:
                    raise errors.PlaceKept(
                        f"this replica is leaving; {asked.owner} keeps its place in the queue of {asked.lock} for now "
                        "and may be granted it: ask another replica again as that owner, or release it"
                    ) from leaving
                except asyncio.CancelledError:
                    self._leave_behind(place)
                    raise

    def _told_at_once(self, written: Written, draft: Draft, *, gone: Gone, timeout_ms: int) -> Granted | Written:
        """The answer of an acquire that did not wait. A new grant whose client is gone is given back. Under a key it
        stays: the same request at another replica may have been told of it."""
        asked = draft.header.operations[0]
        assert isinstance(asked, LockAcquire)
        granted = self._granted_at_once(written, asked)
        is_new = written.row.result.outcomes[0].op == "LOCK_ACQUIRE"
        if granted is not None and is_new and draft.header.idempotency is None and has_ended(gone):
            self._leave_behind(_QueuePlace(asked, written, draft, keep_ms=0, timeout_ms=timeout_ms))
        return granted or written

    def _granted_at_once(self, written: Written, asked: LockAcquire) -> Granted | None:
        outcome = written.row.result.outcomes[0]
        if not outcome.applied or outcome.about is None or outcome.about.token is None:
            return None
        token, remaining_ms = outcome.about.token, asked.ttl_ms
        if written.replayed:
            remaining_ms = self._remaining_ms(self._hold(asked), token)
        return Granted(written.row, written.entry, 0, token, remaining_ms, written.replayed)

    # --- in the queue -----------------------------------------------------------------------------------
    async def _served(self, place: "_QueuePlace", wait: Wait, is_gone: Callable[[], bool]) -> Granted | Written:
        deadline = Deadline(place.asked.wait_ms)
        left: Written | None = None
        while True:
            hold = self._hold(place.asked)
            if left is not None and hold is None:
                return left
            if is_gone():
                return await self._leave(place, gone=True)
            if hold is not None:
                if not place.is_anothers(hold):
                    return self._granted(place, hold)
                again = await self._ask_again(place, deadline)
                outcome = again.row.result.outcomes[0]
                if not outcome.applied:
                    return again
                if outcome.op != "LOCK_RENEW":
                    place.written, left = again, None
                continue
            waits = self._waits(place)
            if waits and deadline.remaining:
                await wait.sleep(deadline)
            elif waits and place.keep_ms:
                return place.written
            else:  # the log decides whether the grant came first
                left = await self._leave(place, gone=False)

    def _waits(self, place: "_QueuePlace") -> bool:
        """True while the owner has a place. If the owner asked again meanwhile, both requests share it."""
        return isinstance(
            self._replica.reader().coordination_row(waiter_key(place.asked.lock, place.asked.owner)), Waiter
        )

    def _hold(self, asked: LockAcquire) -> Hold | None:
        found = self._replica.reader().coordination_row(hold_key(asked.lock, asked.owner))
        return found if isinstance(found, Hold) else None

    def _granted(self, place: "_QueuePlace", hold: Hold) -> Granted:
        """The owner had no permit when it was queued, so a permit that it has now answers its wait, even if it asked
        again since."""
        grant = self._replica.applied_entry(hold.token)
        replayed = place.written.replayed
        remaining_ms = self._remaining_ms(hold, hold.token) if replayed or hold.renewals else hold.ttl_ms
        return Granted(grant.row, grant.entry, _seq_of(grant, hold), hold.token, remaining_ms, replayed)

    async def _ask_again(self, place: "_QueuePlace", deadline: Deadline) -> Written:
        """Re-acquire in the log so that the grant belongs to this request. If it was released first, this makes a new
        place, or a new grant.

        Raises: UnknownOutcome when nobody knows.
        """
        return await self._write_last(place, place.again(int(deadline.remaining * 1000)), place.timeout_ms)

    def _remaining_ms(self, hold: Hold | None, token: int) -> int:
        """0: lost since."""
        return 0 if hold is None or hold.token != token else max(0, (hold.expires - self._log_time()) // 1000)

    # --- leaving it -------------------------------------------------------------------------------------
    async def _leave(self, place: "_QueuePlace", *, gone: bool) -> Written:
        """Raises: UnknownOutcome when nobody knows whether the place was left."""
        timeout_ms = TIMEOUT_MS_DEFAULT if gone else place.timeout_ms
        return await self._write_last(place, place.leave(gone=gone), timeout_ms)

    async def _write_last(self, place: "_QueuePlace", draft: Draft, timeout_ms: int) -> Written:
        try:
            return await self._write(draft, timeout_ms=timeout_ms)
        except errors.ShuttingDown:
            raise
        except errors.NotApplied as error:
            raise errors.UnknownOutcome(
                f"the wait for {place.asked.lock} is over but its place in the queue could not be left ({error}): it "
                f"may be granted within {place.timeout_ms} ms more; ask again as {place.asked.owner}, or release it"
            ) from error

    def _leave_behind(self, place: "_QueuePlace") -> None:
        """Leave the place of a request that ended, in a task of its own, within the usual timeout."""

        async def leave() -> None:
            try:
                await self._leave(place, gone=True)
            except errors.RaftmemError as error:
                log.info("%s, whose request ended, may keep its place until it expires: %s", place.asked.owner, error)

        task = asyncio.get_running_loop().create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


class _QueuePlace:
    """One acquire's place in the queue of a lock; `written` is its LOCK_WAIT."""

    def __init__(self, asked: LockAcquire, written: Written, draft: Draft, *, keep_ms: int, timeout_ms: int) -> None:
        self.asked = asked
        self.written = written
        self.keep_ms = keep_ms
        self.timeout_ms = timeout_ms
        self._draft = draft

    def is_anothers(self, hold: Hold) -> bool:
        """True if another request may still give this hold back: the hold answers it too, and nobody has renewed it."""
        return not hold.renewals and (self.written.replayed or hold.asked.index != self.written.row.index)

    def leave(self, *, gone: bool) -> Draft:
        """A replayed place is not given back: another client with that key may have been told of its grant."""
        index, is_its_own = self.written.row.index, not self.written.replayed
        return self._alone(LockLeave(self.asked.lock, self.asked.owner, index, gone and is_its_own))

    def again(self, wait_ms: int) -> Draft:
        return self._alone(replace(self.asked, wait_ms=wait_ms, leave_ms=max(self.timeout_ms, self.keep_ms)))

    def _alone(self, operation: LockAcquire | LockLeave) -> Draft:
        header = replace(self._draft.header, operations=(operation,), guards=(), idempotency=None)
        return Draft(header, (None,))


def _seq_of(grant: Applied, hold: Hold) -> int:
    """The seq of the event that granted it: the only one in that entry about this token and owner."""
    for seq, outcome in enumerate(grant.row.result.outcomes):
        about = outcome.about
        if about is not None and (about.lock, about.owner, about.token) == (hold.lock, hold.owner, hold.token):
            return seq
    raise AssertionError(f"entry {hold.token} gave {hold.lock} to {hold.owner} and says so")
