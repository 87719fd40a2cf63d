"""The bounds of task operations: `limits.py`, checked once more when an entry is applied.

A proposer has checked them before. What a faulty proposer lets through is refused as `invalid-request`, so no value out
of range enters a row or an index key on any replica.
"""

from typing import Final

from msgspec import UNSET, UnsetType

from raftmem import limits
from raftmem.machine.json_text import parse
from raftmem.machine.overlay import Refusal
from raftmem.model.commands import Backoff, Content, TaskAdd, TaskClaim, TaskFail

INVALID: Final = Refusal("invalid-request")


def may_add(operation: TaskAdd) -> bool:
    return (
        _are_names(operation.id, operation.queue, *operation.depends_on)
        and (operation.unique_key is None or _are_names(operation.unique_key))
        and -limits.TASK_PRIORITY_MAX <= operation.priority <= limits.TASK_PRIORITY_MAX
        and is_delay(operation.delay_ms)
        and 1 <= operation.max_attempts <= limits.TASK_ATTEMPTS_MAX
        and len(operation.depends_on) <= limits.TASK_DEPENDS_MAX
        and _is_backoff(operation.backoff)
    )


def may_claim(operation: TaskClaim) -> bool:
    return (
        1 <= len(operation.queues) <= limits.TASK_QUEUES_MAX
        and _are_names(operation.worker, *operation.queues)
        and is_ttl(operation.ttl_ms)
        and 1 <= operation.max <= limits.TASK_CLAIM_MAX
    )


def may_fail(operation: TaskFail) -> bool:
    return operation.delay_ms is None or is_delay(operation.delay_ms)


def is_ttl(ttl_ms: int) -> bool:
    return limits.LOCK_TTL_MS_MIN <= ttl_ms <= limits.LOCK_TTL_MS_MAX


def is_delay(delay_ms: int) -> bool:
    return 0 <= delay_ms <= limits.TASK_DELAY_MS_MAX


def said(content: Content | None, *, bytes_max: int) -> bytes | None | Refusal:
    """The payload of the operation, JSON text; None if it has none."""
    payload: bytes | UnsetType = UNSET if content is None else content.payload
    if payload is UNSET:
        return None
    return payload if len(payload) <= bytes_max and parse(payload) is not None else INVALID


def _is_backoff(backoff: Backoff) -> bool:
    return (
        is_delay(backoff.initial_ms)
        and 1 <= backoff.factor_milli <= limits.TASK_BACKOFF_FACTOR_MILLI_MAX
        and is_delay(backoff.max_ms)
    )


def _are_names(*names: str) -> bool:
    return all(0 < len(name.encode()) <= limits.NAME_BYTES_MAX for name in names)
