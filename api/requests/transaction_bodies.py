"""The body of `POST /v1/txn`: guards, and two arms of operations, each named by its event op.

An item takes the fields of its route and names its memory, lock, task or gate beside them. It cannot wait: a
transaction is decided when it is applied, whole.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from raftmem.api.requests.coordination_bodies import (
    AcquireFields,
    BareBody,
    ClaimedFields,
    ClaimFields,
    Comment,
    CompleteFields,
    FailFields,
    GateFields,
    HeartbeatFields,
    HolderFields,
    RenewFields,
    TaskFields,
)
from raftmem.api.requests.memory_bodies import AddItem, DeleteItem, Id, Name, NoopItem, UpdateItem
from raftmem.limits import TXN_OPERATIONS_MAX


class LockAcquireItem(AcquireFields, frozen=True, kw_only=True, tag_field="op", tag="LOCK_ACQUIRE"):
    name: Name


class LockRenewItem(RenewFields, frozen=True, kw_only=True, tag_field="op", tag="LOCK_RENEW"):
    name: Name


class LockReleaseItem(HolderFields, frozen=True, kw_only=True, tag_field="op", tag="LOCK_RELEASE"):
    name: Name


class _Item(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    pass


class LockForceReleaseItem(_Item, frozen=True, kw_only=True, tag="LOCK_FORCE_RELEASE"):
    name: Name


class TaskAddItem(TaskFields, frozen=True, kw_only=True, tag_field="op", tag="TASK_ADD"):
    pass


class TaskClaimItem(ClaimFields, frozen=True, kw_only=True, tag_field="op", tag="TASK_CLAIM"):
    pass


class TaskHeartbeatItem(HeartbeatFields, frozen=True, kw_only=True, tag_field="op", tag="TASK_HEARTBEAT"):
    id: Id


class TaskCompleteItem(CompleteFields, frozen=True, kw_only=True, tag_field="op", tag="TASK_COMPLETE"):
    id: Id


class TaskFailItem(FailFields, frozen=True, kw_only=True, tag_field="op", tag="TASK_FAIL"):
    id: Id


class TaskReleaseItem(ClaimedFields, frozen=True, kw_only=True, tag_field="op", tag="TASK_RELEASE"):
    id: Id


class TaskCancelItem(_Item, frozen=True, kw_only=True, tag="TASK_CANCEL"):
    id: Id


class TaskRetryItem(_Item, frozen=True, kw_only=True, tag="TASK_RETRY"):
    id: Id


class GatePutItem(GateFields, frozen=True, kw_only=True, tag_field="op", tag="GATE_PUT"):
    name: Name


class GateApproveItem(_Item, frozen=True, kw_only=True, tag="GATE_APPROVE"):
    name: Name
    comment: Comment | None = None


class GateRevokeItem(_Item, frozen=True, kw_only=True, tag="GATE_REVOKE"):
    name: Name


class GateConsumeItem(_Item, frozen=True, kw_only=True, tag="GATE_CONSUME"):
    name: Name


MemoryItem = AddItem | UpdateItem | DeleteItem | NoopItem
LockItem = LockAcquireItem | LockRenewItem | LockReleaseItem | LockForceReleaseItem
TaskItem = (
    TaskAddItem
    | TaskClaimItem
    | TaskHeartbeatItem
    | TaskCompleteItem
    | TaskFailItem
    | TaskReleaseItem
    | TaskCancelItem
    | TaskRetryItem
)
GateItem = GatePutItem | GateApproveItem | GateRevokeItem | GateConsumeItem
TxnItem = MemoryItem | LockItem | TaskItem | GateItem
TXN_OPS: Final = (
    *("ADD", "UPDATE", "DELETE", "NOOP", "LOCK_ACQUIRE", "LOCK_RENEW", "LOCK_RELEASE", "LOCK_FORCE_RELEASE"),
    *("TASK_ADD", "TASK_CLAIM", "TASK_HEARTBEAT", "TASK_COMPLETE", "TASK_FAIL", "TASK_RELEASE", "TASK_CANCEL"),
    *("TASK_RETRY", "GATE_PUT", "GATE_APPROVE", "GATE_REVOKE", "GATE_CONSUME"),
)
_Arm = Annotated[list[TxnItem], Meta(extra_json_schema={"maxItems": TXN_OPERATIONS_MAX})]


class TxnBody(BareBody, frozen=True, kw_only=True, rename={"otherwise": "else"}):
    """`POST /v1/txn`: `then` runs if every guard is true, else `else`; whole or not at all, as one entry of the log."""

    then: _Arm = msgspec.field(default_factory=list)
    otherwise: _Arm = msgspec.field(default_factory=list)
