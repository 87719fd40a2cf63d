"""A state on disk with a folder of snapshots beside it."""

from pathlib import Path

from storage_world import World, put, store

from raftmem.model import codec
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.store import FileSnapshotStore
from raftmem.storage.state.store import LmdbStateStore

MEMBERS = LogEntry(1, 0, bytes([codec.MEMBERSHIP]) + b"the members")


def disk(folder: Path, *, entries: int = 20) -> tuple[LmdbStateStore, FileSnapshotStore]:
    folder.mkdir(exist_ok=True)
    state, world = LmdbStateStore(folder / "state", snapshots=folder / "snapshots"), World()
    store(state, *(world.entry(put(f"m{number}"), put("counter")) for number in range(entries)))
    return state, FileSnapshotStore(folder / "snapshots", state)
