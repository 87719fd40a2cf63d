"""The life of a simulated replica, alike in a schedule and on a stage: its membership, its greeting, its start.

`raftmem/node.py` does the same with files and sockets.
"""

from collections.abc import Sequence
from typing import Final

from raftmem.model import codec
from raftmem.model.commands import Member, Members
from raftmem.raft.interfaces import Timing
from raftmem.raft.transport.frames import MAGIC, PROTOCOL_VERSION, Hello
from raftmem.storage.log.contract import LogEntry, LogStore
from raftmem.storage.reconcile import check_open, restore
from raftmem.storage.snapshots.contract import SnapshotMeta, SnapshotStore
from raftmem.storage.state.contract import StateStore

CLUSTER: Final = "5f2a9c01"


def drift_ppm(timing: Timing) -> int:
    return int(timing.drift * 1e6)


def member(name: str, *, replaces: str | None = None) -> Member:
    return Member(name, f"peer-{name}", f"http://{name}", f"folder-{name}", replaces)


def members(names: Sequence[str], timing: Timing) -> Members:
    return Members(CLUSTER, 1, tuple(map(member, names)), int(timing.election_timeout * 1000), drift_ppm(timing))


def first_entry(voters: Sequence[str], timing: Timing) -> LogEntry:
    """Index 1 of a group that is bootstrapped; index 0 of a replica that joins, which names no voter."""
    body = codec.membership(members(voters, timing), time=0, wall_ms=0)
    return LogEntry(1 if voters else 0, 0, body)


def greeting(name: str, to: str, *, folder_id: str, birth: str, timing: Timing) -> Hello:
    return Hello(
        magic=MAGIC,
        protocol=PROTOCOL_VERSION,
        cluster_id=CLUSTER,
        incarnation=1,
        node_id=name,
        to_node_id=to,
        folder_id=folder_id,
        birth=birth,
        genesis=b"",
        election_timeout_ms=int(timing.election_timeout * 1000),
        clock_drift_ppm=drift_ppm(timing),
        rest_url="",
        version="",
    )


def restored(name: str, log: LogStore, state: StateStore, snapshots: SnapshotStore) -> SnapshotMeta | None:
    """Rebuild a state that is behind where its log begins, from the snapshot that is returned; None: it is not behind.

    Raises: Corrupt when the disk cannot be gone on from.
    """
    return restore(log, state, snapshots.all(), path=name) if check_open(log, state, path=name) else None
