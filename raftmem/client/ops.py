"""Operations for `client.batch` and `client.txn`, made by the names and parameters of the client's methods.

    client.batch([ops.add(text="a"), ops.update("m1", tags=["b"]), ops.delete("m2")])
    client.txn(guards=[lock.guard], then=[ops.gates.consume("release"), ops.tasks.add("deploy")])

A batch takes the operations of memories; a transaction takes all of them. The rule: nothing is checked or sent here.
Guards, `if_version` and waits belong to the whole batch or transaction, so no operation takes them.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Unpack

from raftmem.client.coordination_shapes import Pin
from raftmem.client.gates import pinned
from raftmem.client.memories import fields_of
from raftmem.client.plan import given, ms
from raftmem.client.shapes import Fields, Memory, ScopedFields
from raftmem.client.values import names

Operation = dict[str, object]


# --- memories ---------------------------------------------------------------------------------------
def add(
    *, id: str | None = None, on_duplicate: Literal["add", "noop"] | None = None, **fields: Unpack[ScopedFields]
) -> Operation:
    """A new memory."""
    return {"op": "ADD", **given(id=id, on_duplicate=on_duplicate), **fields_of(fields)}


def put(id: str, **fields: Unpack[ScopedFields]) -> Operation:
    """A new memory under this id. Unlike the method it replaces nothing: a taken id is refused, and `update` changes
    what is there."""
    return {"op": "ADD", "id": id, **fields_of(fields)}


def update(id: str, *, merge: Mapping[str, Mapping[str, object]] | None = None, **fields: Unpack[Fields]) -> Operation:
    """As `client.memories.patch`: the given fields are replaced (None clears), then the merges are done."""
    return {"op": "UPDATE", "memory_id": id, **given(merge=merge), **fields_of(fields)}


patch: Final = update


def delete(id: str) -> Operation:
    """The memory goes; its tombstone stays."""
    return {"op": "DELETE", "memory_id": id}


def noop(decision: Mapping[str, object], *, memory_id: str | None = None) -> Operation:
    """A recorded decision to change nothing: `{"by": …, "reason": …}`."""
    return {"op": "NOOP", "decision": decision, **given(memory_id=memory_id)}


# --- coordination: of transactions only ---------------------------------------------------------------
class _Locks:
    """Locks and semaphores."""

    @staticmethod
    def acquire(
        name: str, *, owner: str, ttl: float, permits: int = 1, metadata: Mapping[str, object] | None = None
    ) -> Operation:
        body = given(owner=owner, ttl_ms=ms(ttl, "ttl"), permits=permits if permits != 1 else None, metadata=metadata)
        return {"op": "LOCK_ACQUIRE", "name": name, **body}

    @staticmethod
    def renew(name: str, *, owner: str, token: int, ttl: float | None = None) -> Operation:
        return {"op": "LOCK_RENEW", "name": name, **given(owner=owner, token=token, ttl_ms=ms(ttl, "ttl"))}

    @staticmethod
    def release(name: str, *, owner: str, token: int) -> Operation:
        return {"op": "LOCK_RELEASE", "name": name, "owner": owner, "token": token}

    @staticmethod
    def force_release(name: str) -> Operation:
        return {"op": "LOCK_FORCE_RELEASE", "name": name}


class _Tasks:
    """Tasks in queues."""

    @staticmethod
    def add(
        queue: str,
        payload: object = None,
        *,
        id: str | None = None,
        priority: int = 0,
        delay: float = 0.0,
        max_attempts: int | None = None,
        backoff: Mapping[str, object] | None = None,
        depends_on: Sequence[str] = (),
        unique_key: str | None = None,
    ) -> Operation:
        body = given(
            id=id,
            priority=priority or None,
            delay_ms=ms(delay, "delay") or None,
            max_attempts=max_attempts,
            backoff=backoff,
            depends_on=names(depends_on, "depends_on") or None,
            unique_key=unique_key,
        )
        return {"op": "TASK_ADD", "queue": queue, "payload": payload, **body}

    @staticmethod
    def claim(queues: Sequence[str], *, worker: str, ttl: float, max: int = 1) -> Operation:
        body = given(worker=worker, ttl_ms=ms(ttl, "ttl"), max=max)
        return {"op": "TASK_CLAIM", "queues": names(queues, "queues"), **body}

    @staticmethod
    def heartbeat(id: str, *, token: int, ttl: float | None = None) -> Operation:
        return {"op": "TASK_HEARTBEAT", "id": id, **given(token=token, ttl_ms=ms(ttl, "ttl"))}

    @staticmethod
    def complete(id: str, *, token: int, result: object = None) -> Operation:
        return {"op": "TASK_COMPLETE", "id": id, "token": token, "result": result}

    @staticmethod
    def fail(
        id: str, *, token: int, error: object = None, retryable: bool = True, delay: float | None = None
    ) -> Operation:
        body = {"token": token, "error": error, "retryable": retryable, **given(delay_ms=ms(delay, "delay"))}
        return {"op": "TASK_FAIL", "id": id, **body}

    @staticmethod
    def release(id: str, *, token: int) -> Operation:
        return {"op": "TASK_RELEASE", "id": id, "token": token}

    @staticmethod
    def cancel(id: str) -> Operation:
        return {"op": "TASK_CANCEL", "id": id}

    @staticmethod
    def retry(id: str) -> Operation:
        return {"op": "TASK_RETRY", "id": id}


class _Gates:
    """Gates that open by approvals."""

    @staticmethod
    def put(
        name: str, *, required: int = 1, approvers: Sequence[str] = (), pins: Sequence[Memory | Pin] = ()
    ) -> Operation:
        body = given(approvers=names(approvers, "approvers") or None, pins=pinned(pins) or None)
        return {"op": "GATE_PUT", "name": name, "required": required, **body}

    @staticmethod
    def approve(name: str, *, comment: str | None = None) -> Operation:
        return {"op": "GATE_APPROVE", "name": name, **given(comment=comment)}

    @staticmethod
    def revoke(name: str) -> Operation:
        return {"op": "GATE_REVOKE", "name": name}

    @staticmethod
    def consume(name: str) -> Operation:
        return {"op": "GATE_CONSUME", "name": name}


locks: Final = _Locks()
tasks: Final = _Tasks()
gates: Final = _Gates()
