"""The routes over the snapshots on this replica's own disk: take one, list them."""

from raftmem.api.http import levels, times
from raftmem.api.http.call import Call, Reply
from raftmem.api.responses import memory_replies, memory_views
from raftmem.storage.snapshots.contract import SnapshotMeta


async def take(call: Call) -> Reply:
    """`POST /v1/admin/snapshot`."""
    query = call.parameters(once=levels.WRITE)
    await call.no_body()
    taken = await call.service.snapshot(timeout_ms=levels.timeout_ms(query))
    return Reply(201, memory_views.encode(memory_replies.SnapshotTaken(shown(taken))), taken.index)


async def many(call: Call) -> Reply:
    """`GET /v1/admin/snapshots`."""
    call.parameters(once=())
    found = [shown(meta) for meta in call.service.snapshots()]
    return Reply(200, memory_views.encode(memory_replies.SnapshotList(found, None)))


def shown(meta: SnapshotMeta) -> memory_replies.Snapshot:
    return memory_replies.Snapshot(
        index=meta.index,
        term=meta.term,
        bytes=meta.size,
        checksum=meta.checksum.hex(),
        digest=meta.digest.hex(),
        time=times.shown(meta.wall_ms),
    )
