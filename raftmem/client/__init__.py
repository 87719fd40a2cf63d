"""The client library: `RaftmemClient` on threads, `AsyncRaftmemClient` on asyncio, with the same names.

    with RaftmemClient("http://127.0.0.1:8101", actor="agent/planner-7") as client:
        with client.locks.hold("deploy/prod", ttl=10) as lock:
            client.memories.patch("release", value={"by": "planner-7"}, guards=[lock.guard])

The rules: a retry never applies a write twice; reads never fall behind what this client has seen; a hold is reported
lost before the service can give the lock to another; a call that is cut off gives back what it took. The client
imports nothing of the service.
"""

from raftmem.client import ops
from raftmem.client.async_client import AsyncListing, AsyncRaftmemClient, AsyncWatch
from raftmem.client.async_driver import AsyncFlag
from raftmem.client.async_hold import AsyncHold
from raftmem.client.async_worker import AsyncWorker
from raftmem.client.batch import Batch, BatchItem
from raftmem.client.coordination_shapes import (
    Approval,
    Claim,
    Gate,
    GateWritten,
    Grant,
    Heartbeat,
    Holder,
    Lock,
    LockWritten,
    OwnerReleased,
    Pin,
    Renewed,
    Task,
    TaskError,
    TaskWritten,
    Txn,
    TxnItem,
)
from raftmem.client.errors import (
    AlreadyExists,
    BadRequest,
    ClusterChanged,
    Conflict,
    DependencyCycle,
    Forbidden,
    FutureIndex,
    IndexCompacted,
    LeaseLost,
    LockHeld,
    MergeType,
    NoLeader,
    NoQuorum,
    NoSpace,
    NotFound,
    PermitsMismatch,
    PreconditionFailed,
    RaftmemClientError,
    ReadTimeout,
    ServerError,
    StaleToken,
    TaskCancelled,
    TooLarge,
    TooManyRequests,
    Unreachable,
    WaitTimeout,
    WriteOutcomeUnknown,
    WrongState,
    of_problem,
)
from raftmem.client.failure import NonRetryable, Retry
from raftmem.client.shapes import Actor, Cluster, Entry, Event, Hit, Member, Memory, Scope, Written
from raftmem.client.thread_client import Listing, RaftmemClient, Watch
from raftmem.client.thread_driver import BlockingFlag
from raftmem.client.thread_hold import Hold
from raftmem.client.thread_worker import Worker
from raftmem.client.worker import Counts, Job

__all__ = [
    "Actor",
    "AlreadyExists",
    "Approval",
    "AsyncFlag",
    "AsyncHold",
    "AsyncListing",
    "AsyncRaftmemClient",
    "AsyncWatch",
    "AsyncWorker",
    "BadRequest",
    "Batch",
    "BatchItem",
    "BlockingFlag",
    "Claim",
    "Cluster",
    "ClusterChanged",
    "Conflict",
    "Counts",
    "DependencyCycle",
    "Entry",
    "Event",
    "Forbidden",
    "FutureIndex",
    "Gate",
    "GateWritten",
    "Grant",
    "Heartbeat",
    "Hit",
    "Hold",
    "Holder",
    "IndexCompacted",
    "Job",
    "LeaseLost",
    "Listing",
    "Lock",
    "LockHeld",
    "LockWritten",
    "Member",
    "Memory",
    "MergeType",
    "NoLeader",
    "NoQuorum",
    "NoSpace",
    "NonRetryable",
    "NotFound",
    "OwnerReleased",
    "PermitsMismatch",
    "Pin",
    "PreconditionFailed",
    "RaftmemClient",
    "RaftmemClientError",
    "ReadTimeout",
    "Renewed",
    "Retry",
    "Scope",
    "ServerError",
    "StaleToken",
    "Task",
    "TaskCancelled",
    "TaskError",
    "TaskWritten",
    "TooLarge",
    "TooManyRequests",
    "Txn",
    "TxnItem",
    "Unreachable",
    "WaitTimeout",
    "Watch",
    "Worker",
    "WriteOutcomeUnknown",
    "Written",
    "WrongState",
    "of_problem",
    "ops",
]
