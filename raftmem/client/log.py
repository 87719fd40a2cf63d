"""The requests about the log (events, batches, transactions) and about the group."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Unpack

from raftmem.client.batch import Batch
from raftmem.client.coordination_shapes import Txn
from raftmem.client.plan import (
    Guard,
    Level,
    ListPlan,
    Plan,
    Reading,
    Shape,
    dated,
    get,
    given,
    guards_of,
    listing,
    ms,
    parser,
    write,
)
from raftmem.client.shapes import Cluster, Event, ScopeIds
from raftmem.client.values import names

_BATCH: Final = parser(Batch)
_TXN: Final = parser(Txn)
_CLUSTER: Final = parser(Cluster)
Item = Mapping[str, object]


def events(
    from_index: int | None = None,
    to_index: int | None = None,
    *,
    op: str | None = None,
    memory_id: str | None = None,
    lock: str | None = None,
    queue: str | None = None,
    gate: str | None = None,
    actor_id: str | None = None,
    request_id: str | None = None,
    outcome: Literal["applied", "refused"] | None = None,
    tags: Sequence[str] = (),
    internal: bool = False,
    descending: bool = False,
    wait: float = 0.0,
    consistency: Level | None = None,
    page_size: int = 100,
    **scope: Unpack[ScopeIds],
) -> ListPlan[Event]:
    """The log, both ends inclusive, oldest first. `wait`: for a first event, in seconds. `internal`: Raft's own too.

    Raises: IndexCompacted.
    """
    asked: dict[str, object] = {
        "from": from_index,
        "to": to_index,
        "op": op,
        "memory_id": memory_id,
        "lock": lock,
        "queue": queue,
        "gate": gate,
        "actor_id": actor_id,
        "request_id": request_id,
        "outcome": outcome,
        "tag": names(tags, "tags"),
        "include": "internal" if internal else None,
        "wait_ms": ms(wait, "wait") or None,
        **scope,
    }
    return listing("/v1/events", "events", list[Event], asked, Shape(page_size, descending, consistency, wait_s=wait))


def batch(
    operations: Sequence[Item],
    *,
    atomic: bool = True,
    guards: Sequence[Guard] = (),
    read_index: int | None = None,
    key: str | None = None,
) -> Plan[Batch]:
    """Operations of memories in one entry, made by `raftmem.client.ops` or written out: `{"op": "ADD", "text": …}`.
    Atomic: all or none. Otherwise each refused operation carries its `error`: see `Batch.raise_for_errors`."""
    body = given(guards=guards_of(guards), read_index=read_index)
    return write("POST", "/v1/events", _BATCH, {"events": _dated(operations), "atomic": atomic, **body}, key=key)


def txn(
    *,
    guards: Sequence[Guard] = (),
    then: Sequence[Item] = (),
    else_: Sequence[Item] = (),
    read_index: int | None = None,
    key: str | None = None,
) -> Plan[Txn]:
    """`then` if every guard is true, else `else_`; all of it or nothing, in one entry. `raftmem.client.ops` makes the
    operations; written out they are `{"op": "LOCK_ACQUIRE", "name": …, "owner": …, "ttl_ms": …}`.

    Raises: what the refused operation would; `failed_seq` is its place in the arm.
    """
    body = given(guards=guards_of(guards), read_index=read_index)
    return write("POST", "/v1/txn", _TXN, {**body, "then": _dated(then), "else": _dated(else_)}, key=key)


def _dated(operations: Sequence[Item]) -> list[dict[str, object]]:
    """Raises: TypeError, ValueError."""
    if isinstance(operations, Mapping | str):
        raise TypeError("the operations are one operation; give a list of them")
    return [dated(operation) for operation in operations]


def cluster() -> Plan[Cluster]:
    """The group as the replica that answers sees it."""
    return get("/v1/cluster", _CLUSTER, reading=Reading(pinned=True))
