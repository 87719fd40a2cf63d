"""Whole reply bodies of locks, tasks, gates and transactions; see `replies.py`."""

from msgspec import UNSET, Struct, UnsetType

from raftmem.api.responses.coordination_views import GateView, LockView, TaskView
from raftmem.api.responses.memory_refusals import FalseGuard
from raftmem.api.responses.memory_views import EventView, MemoryView


class Granted(Struct, frozen=True):
    """`token`: of this hold, for guards and for its release. `remaining_ms`: count it from when you asked."""

    name: str
    owner: str
    token: int
    remaining_ms: int
    event: EventView


class LockChanged(Struct, frozen=True):
    """`lock`: as it stands now."""

    lock: LockView
    event: EventView


class Renewed(Struct, frozen=True):
    """`remaining_ms`: null when refused. `error`: a problem document then."""

    name: str
    owner: str
    token: int
    remaining_ms: int | None
    event: EventView
    error: dict[str, object] | None


class RenewedMany(Struct, frozen=True):
    """`locks[i]` answers `locks[i]` of the request."""

    locks: list[Renewed]


class LockList(Struct, frozen=True):
    """`next_cursor`: null on the last page; a page may be short, or empty, and still have one."""

    locks: list[LockView]
    next_cursor: str | None


class ReleasedHold(Struct, frozen=True):
    name: str
    token: int | None


class Released(Struct, frozen=True):
    """`waits`: locks whose queue it left. `tasks`: claims that it lost."""

    locks: list[ReleasedHold]
    waits: list[str]
    tasks: list[str]


class OwnerReleased(Struct, frozen=True):
    """`event`: of the first entry; one that had very much takes several."""

    owner: str
    released: Released
    event: EventView


class TaskChanged(Struct, frozen=True):
    """`task`: as it was right after this write."""

    task: TaskView
    event: EventView


class TasksClaimed(Struct, frozen=True):
    """`event`: null where there was nothing to claim."""

    tasks: list[TaskView]
    event: EventView | None


class Heartbeat(Struct, frozen=True):
    """`cancel_requested`: stop, and release or fail the task."""

    cancel_requested: bool
    remaining_ms: int
    event: EventView


class TaskList(Struct, frozen=True):
    """`next_cursor`: null on the last page; a page may be short, or empty, and still have one."""

    tasks: list[TaskView]
    next_cursor: str | None


class GateChanged(Struct, frozen=True):
    """`gate`: as it was right after this write."""

    gate: GateView
    event: EventView


class GateList(Struct, frozen=True):
    """`next_cursor`: null on the last page; a page may be short, or empty, and still have one."""

    gates: list[GateView]
    next_cursor: str | None


class TxnResult(Struct, frozen=True):
    """The result of one operation: its event, and its subject as it was right after it (a lock: as it is now)."""

    event: EventView
    memory: MemoryView | None | UnsetType = UNSET
    lock: LockView | UnsetType = UNSET
    task: TaskView | None | UnsetType = UNSET
    tasks: list[TaskView] | UnsetType = UNSET
    cancel_requested: bool | UnsetType = UNSET
    gate: GateView | None | UnsetType = UNSET


class TxnWritten(Struct, frozen=True):
    """`results[i]` answers operation i of the arm that ran (`succeeded`: `then`). `failed`: the false guards."""

    succeeded: bool
    index: int
    results: list[TxnResult]
    failed: list[FalseGuard]
    event: EventView
