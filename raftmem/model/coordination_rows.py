"""The rows of coordination in the state: locks, holds, waiters, tasks, gates; their keys and their indexes.

The state knows of a row only `key_of(row)` and `index_keys(row)`, under which it is found in order. So a new kind
of row or index is added here and in the machine, not in the storage. The rules that must hold: key and index keys are a
function of the row alone, each part of them has a fixed width (a user's string enters as a BLAKE2b-128 hash, the string
itself stands in the row), and no two rows share a key or an index key.

What users say (payloads, results, errors, metadata, comments) is not in these rows but beside them, under the position
of the operation that brought it: rows stay small, and a redaction need not touch them.
"""

import struct
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Literal, assert_never

from msgspec import Struct

from raftmem.model.commands import Actor, Backoff, Pin
from raftmem.model.primitives import Position

HASH_BYTES: Final = 16
TaskState = Literal["available", "scheduled", "blocked", "claimed", "completed", "cancelled", "dead"]
UNFINISHED: Final[frozenset[TaskState]] = frozenset({"available", "scheduled", "blocked", "claimed"})


# --- rows -----------------------------------------------------------------------------------------
class Lock(Struct, frozen=True, array_like=True, tag="lock"):
    """A lock that somebody holds or waits for; a free one has no row. `created`: since when it has one.

    0 <= held <= permits; waiting > 0 only while held == permits.
    """

    name: str
    permits: int
    held: int
    waiting: int
    created: Position


class Hold(Struct, frozen=True, array_like=True, tag="hold"):
    """One permit of a lock that an owner holds. `token`: index of the entry that granted it.

    `asked`: the acquire that it answers (its newest, once asked again). `expires`: log time, microseconds. `renewals`:
    how often it was renewed: an expiry that saw fewer is none. `metadata_at`: where its metadata stands.
    """

    lock: str
    owner: str
    token: int
    asked: Position
    ttl_ms: int
    expires: int
    renewals: int = 0
    metadata_at: Position | None = None


class Waiter(Struct, frozen=True, array_like=True, tag="waiter"):
    """One place in the queue of a lock; `since` orders the queue. `ttl_ms`: of the hold that it wants.

    `asked`: its newest acquire. `expires`: log time at which it waits no more.
    """

    lock: str
    owner: str
    since: Position
    asked: Position
    ttl_ms: int
    expires: int
    renewals: int = 0
    metadata_at: Position | None = None


class TaskError(Struct, frozen=True, array_like=True):
    """Why an attempt did not succeed. `at`: its event. `code`: `failed` (what the worker said stands at `at`),
    `expired` (the claim ran out) or `owner-released`."""

    attempt: int
    worker: str
    at: Position
    wall_ms: int
    code: Literal["failed", "expired", "owner-released"]


class Task(Struct, frozen=True, array_like=True, tag="task"):
    """`attempt`: claims so far that count. `worker`, `token`, `ttl_ms`: of the claim, None without one.

    `due`: log time at which the leader has something to do with it: the delay is over (scheduled), the claim runs out
    (claimed), dependents are to be told (finished, not `told`) or it is forgotten (finished, told). None: nothing.
    `done`: those of `depends_on` that have completed; `pending`: how many have not. `not_before`: log time at which its
    delay is over, whatever it waits for beside that. `payload_at`, `result_at`: where they stand.
    `created`: also its place among equals in its queue.
    """

    id: str
    queue: str
    state: TaskState
    priority: int
    attempt: int
    max_attempts: int
    backoff: Backoff
    depends_on: tuple[str, ...]
    pending: int
    unique_key: str | None
    actor: Actor
    created: Position
    updated: Position
    payload_at: Position | None = None
    result_at: Position | None = None
    errors: tuple[TaskError, ...] = ()
    worker: str | None = None
    token: int | None = None
    ttl_ms: int | None = None
    due: int | None = None
    cancel_requested: bool = False
    told: bool = True
    done: tuple[str, ...] = ()
    not_before: int | None = None


class Approval(Struct, frozen=True, array_like=True):
    """`at`: its event, where its comment stands too if it `has_comment`."""

    actor: Actor
    at: Position
    has_comment: bool


class Gate(Struct, frozen=True, array_like=True, tag="gate"):
    """`open`: enough approvals, every pinned memory active at its version, and not consumed.

    `approvers`: who may approve, an actor's id or `<type>/<id>`; empty: anybody.
    """

    name: str
    required: int
    approvers: tuple[str, ...]
    pins: tuple[Pin, ...]
    approvals: tuple[Approval, ...]
    open: bool
    created: Position
    updated: Position
    consumed: Position | None = None


CoordinationRow = Lock | Hold | Waiter | Task | Gate
VERSIONED: Final = (Task, Gate)  # every version is kept, so that a first reply can be given again


# --- keys -----------------------------------------------------------------------------------------
_position = struct.Struct(">QH")
_time = struct.Struct(">Q")
_priority = struct.Struct(">I")
_version = struct.Struct(">Q")
_TIME_ZERO: Final = 1 << 63  # times before 0 sort first too
_PRIORITY_ZERO: Final = 1 << 31


@lru_cache(8192)
def hashed(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=HASH_BYTES).digest()


def lock_key(name: str) -> bytes:
    return b"L" + hashed(name)


def hold_key(lock: str, owner: str) -> bytes:
    return b"H" + hashed(lock) + hashed(owner)


def waiter_key(lock: str, owner: str) -> bytes:
    return b"W" + hashed(lock) + hashed(owner)


def task_key(task_id: str) -> bytes:
    return b"T" + hashed(task_id)


def gate_key(name: str) -> bytes:
    return b"G" + hashed(name)


def key_of(row: CoordinationRow) -> bytes:
    match row:
        case Lock():
            return lock_key(row.name)
        case Hold():
            return hold_key(row.lock, row.owner)
        case Waiter():
            return waiter_key(row.lock, row.owner)
        case Task():
            return task_key(row.id)
        case Gate():
            return gate_key(row.name)
        case _:
            assert_never(row)


# --- indexes: what a scan may ask for ---------------------------------------------------------------
LOCKS: Final = b"l"  # every lock, by `created`
TASKS: Final = b"t"  # every task, by `created`
GATES: Final = b"g"  # every gate, by `created`
DUE: Final = b"d"  # whatever has a time, by it
PINS: Final = b"p"  # every gate with pins, by the memory


def due_until(time: int) -> bytes:
    """Marks under `DUE` below this are due at log time `time`."""
    return DUE + _time.pack(time + 1 + _TIME_ZERO)


def holders(lock: str) -> bytes:
    """The holds of a lock, by token."""
    return b"h" + hashed(lock)


def queue_of(lock: str) -> bytes:
    """The waiters of a lock, first come first."""
    return b"w" + hashed(lock)


def owned_by(owner: str) -> bytes:
    """Holds, waiters and claimed tasks of an owner or worker."""
    return b"o" + hashed(owner)


def pinned_by(memory_id: str, version: int | None = None) -> bytes:
    """The gates that pin a memory, by the version that they pin; or those that pin this version (0 <= version < 2^64).

    By version, so that a change looks at the gates of two versions, and never at all that a memory has left behind.
    """
    prefix = PINS + hashed(memory_id)
    return prefix if version is None else prefix + _version.pack(version)


def tasks_in(queue: str) -> bytes:
    """The tasks of a queue, by `created`."""
    return b"q" + hashed(queue)


def ready_in(queue: str) -> bytes:
    """The available tasks of a queue, in the order in which they are claimed."""
    return b"r" + hashed(queue)


def unique_in(queue: str, unique_key: str) -> bytes:
    """The unfinished task of a queue with this key (one at most)."""
    return b"u" + hashed(queue) + hashed(unique_key)


def dependents_of(task_id: str) -> bytes:
    """The blocked tasks that still wait for this one, by `created`."""
    return b"e" + hashed(task_id)


def place_key(position: Position) -> bytes:
    return _position.pack(position.index, position.seq)


def after(prefix: bytes, position: Position) -> bytes:
    """Under a prefix ordered by `created`: the first possible mark past this position."""
    return prefix + _position.pack(position.index, position.seq) + b"\xff" * (HASH_BYTES + 1)


def index_keys(row: CoordinationRow) -> frozenset[bytes]:
    """Every index key of a row."""
    key = key_of(row)
    match row:
        case Lock():
            return frozenset({LOCKS + place_key(row.created) + key})
        case Hold():
            token = _time.pack(row.token)
            return frozenset({holders(row.lock) + token + key, owned_by(row.owner) + key, _due(row.expires) + key})
        case Waiter():
            place = place_key(row.since)
            return frozenset({queue_of(row.lock) + place + key, owned_by(row.owner) + key, _due(row.expires) + key})
        case Task():
            return frozenset(_task_index_keys(row, key))
        case Gate():
            pins = {pinned_by(pin.memory, pin.version) + key for pin in row.pins if row.consumed is None}
            return frozenset({GATES + place_key(row.created) + key, *pins})
        case _:
            assert_never(row)


def _due(time: int) -> bytes:
    return DUE + _time.pack(time + _TIME_ZERO)


def _task_index_keys(task: Task, key: bytes) -> set[bytes]:
    place = place_key(task.created)
    found = {TASKS + place + key, tasks_in(task.queue) + place + key}
    if task.due is not None:
        found.add(_due(task.due) + key)
    if task.state == "available":
        found.add(ready_in(task.queue) + _priority.pack(_PRIORITY_ZERO - task.priority) + place + key)
    if task.worker is not None:
        found.add(owned_by(task.worker) + key)
    if task.unique_key is not None and task.state in UNFINISHED:
        found.add(unique_in(task.queue, task.unique_key))
    if task.state == "blocked":
        found.update(dependents_of(needed) + place + key for needed in task.depends_on if needed not in task.done)
    return found
