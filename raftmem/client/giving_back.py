"""Gives back what a request took whose caller was cut off before it heard the reply.

The rules: only a grant or claim that is newer than the index that this client had seen before its request is given
back; an older one is relied on by somebody. All of it takes `GIVE_BACK_S` seconds at most; what cannot be given back by
then expires by itself.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from raftmem.client import locks, tasks
from raftmem.client.effects import Pause, Program
from raftmem.client.errors import LockHeld, RaftmemClientError, StaleToken, WriteOutcomeUnknown
from raftmem.client.retry import Caller, Patience

_log = logging.getLogger("raftmem.client")
GIVE_BACK_S: Final = 5.0
_PATIENCE: Final = Patience(GIVE_BACK_S, attempt_s=1.0, pause_s=0.2)
_UNDER_WAY_S: Final = 0.25  # for a request that a replica has read to be applied
_TTL_S: Final = 1.0  # of a grant that comes although its place is being left
_WAIT_S: Final = 0.001  # a wait that ends at once leaves the queue
_STALE: Final = (LockHeld, StaleToken)


def is_doubtful(error: BaseException) -> bool:
    """True if the service may have granted although `error` came instead of its reply."""
    if isinstance(error, RaftmemClientError):
        return error.after_unknown or isinstance(error, WriteOutcomeUnknown)
    return not isinstance(error, ValueError | TypeError | RuntimeError)


def unacquire(caller: Caller, name: str, *, owner: str, seen: int) -> Program[None]:
    """Release a grant of this owner that is newer than `seen`, or leave its place in the queue."""
    try:
        lock = (yield from caller.call(locks.show(name, consistency="linearizable"), _PATIENCE)).value
        token = next((one.token for one in lock.holders if one.owner == owner and one.token > seen), None)
        if token is None and any(place.owner == owner for place in lock.queue):
            again = locks.acquire(name, owner=owner, ttl=_TTL_S, wait=_WAIT_S, permits=lock.permits)
            token = (yield from caller.call(again, _PATIENCE)).value.token
        if token is not None:
            yield from caller.call(locks.release(name, owner=owner, token=token), _PATIENCE)
    except _STALE:
        return
    except RaftmemClientError as error:
        _log.warning("%s may be held by %s until it expires, its request was cut off: %s", name, owner, error)


def unclaim(caller: Caller, worker: str, *, seen: int) -> Program[int]:
    """Release the claims of this worker that are newer than `seen` -> how many.

    The request that was cut off may still be on its way to the leader, so a look that finds nothing is repeated.
    """
    released = 0
    try:
        for again in (True, False):
            found = yield from _claimed(caller, worker, seen)
            for task_id, token in found:
                try:
                    yield from caller.call(tasks.release(task_id, token=token), _PATIENCE)
                    released += 1
                except StaleToken:
                    continue
            if found or not again:
                break
            yield Pause(_UNDER_WAY_S)
    except RaftmemClientError as error:
        _log.warning("tasks may be claimed by %s until they expire, its request was cut off: %s", worker, error)
    return released


def _claimed(caller: Caller, worker: str, seen: int) -> Program[list[tuple[str, int]]]:
    """The id and token of each."""
    plan = tasks.many(state="claimed", worker=worker, consistency="linearizable", page_size=1000).first
    page = (yield from caller.call(plan, _PATIENCE)).value
    return [(task.id, task.token) for task in page.items if task.token is not None and task.token > seen]


# --- of the bare requests: `given` are the arguments of the method ------------------------------------
Undo = Callable[[Caller, Mapping[str, object], int], Program[None]]


def acquire_undone(caller: Caller, given: Mapping[str, object], seen: int) -> Program[None]:
    yield from unacquire(caller, str(given["name"]), owner=str(given["owner"]), seen=seen)


def claim_undone(caller: Caller, given: Mapping[str, object], seen: int) -> Program[None]:
    yield from unclaim(caller, str(given["worker"]), seen=seen)
