"""The routes over the snapshots on this replica's own disk: take one, list them."""

from raftmem.api import levels, replies, times, views
from raftmem.api.call import Call, Reply
from raftmem.storage.contracts import SnapshotMeta


async def take(call: Call) -> Reply:
    """`POST /v1/admin/snapshot`."""
    query = call.parameters(once=levels.WRITE)
    await call.no_body()
    taken = await call.service.snapshot(timeout_ms=levels.timeout_ms(query))
    return Reply(201, views.encode(replies.SnapshotTaken(shown(taken))), taken.index)


async def many(call: Call) -> Reply:
    """`GET /v1/admin/snapshots`."""
    call.parameters(once=())
    found = [shown(meta) for meta in call.service.snapshots()]
    return Reply(200, views.encode(replies.SnapshotList(found, None)))


def shown(meta: SnapshotMeta) -> replies.Snapshot:
    return replies.Snapshot(
        index=meta.index,
        term=meta.term,
        bytes=meta.size,
        checksum=meta.checksum.hex(),
        digest=meta.digest.hex(),
        time=times.shown(meta.wall_ms),
    )
