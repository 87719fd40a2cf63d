"""All workloads by name."""

from jepsen_like.workloads.appending import Lists
from jepsen_like.workloads.bank import Bank
from jepsen_like.workloads.contract import Choices, Workload
from jepsen_like.workloads.counters import Counters
from jepsen_like.workloads.gates import Gates
from jepsen_like.workloads.guarded import FencedLocks, UnfencedLocks
from jepsen_like.workloads.locks import Locks
from jepsen_like.workloads.mixed import Mixed
from jepsen_like.workloads.pinned_gates import PinnedGates
from jepsen_like.workloads.records import Records
from jepsen_like.workloads.registers import ComparedRegisters, Registers
from jepsen_like.workloads.retries import Retries
from jepsen_like.workloads.semaphores import Semaphores
from jepsen_like.workloads.sessions import Sessions
from jepsen_like.workloads.sets import Sets
from jepsen_like.workloads.task_work import Tasks
from jepsen_like.workloads.txn_locks import TxnLocks
from jepsen_like.workloads.watching import Watching

_ALL: tuple[type[Workload], ...] = (
    Registers,
    ComparedRegisters,
    Records,
    Counters,
    Lists,
    Sets,
    Bank,
    Watching,
    Sessions,
    Retries,
    Mixed,
    Locks,
    Semaphores,
    FencedLocks,
    UnfencedLocks,
    TxnLocks,
    Tasks,
    Gates,
    PinnedGates,
)

WORKLOADS: dict[str, type[Workload]] = {workload.name: workload for workload in _ALL}


def make(name: str, choices: Choices) -> Workload:
    """Raises: ValueError naming those that there are."""
    if name not in WORKLOADS:
        raise ValueError(f"no such workload: {name}; there are {', '.join(WORKLOADS)}")
    return WORKLOADS[name](choices)
