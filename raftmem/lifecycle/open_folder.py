"""The files of one replica, opened in the order that keeps them whole: folder, log, state, snapshots.

It refuses a log that is damaged anywhere, a state that does not belong to it, and a recovery that was cut short. A
state that is behind the log's first entry (discarded after a stop of the machine or because its file was cut short, or
a snapshot's install that was cut short) is made again from a snapshot. The rule that must hold: after `open_stores`,
first index <= applied <= last index.
"""

import logging
from contextlib import ExitStack
from typing import NamedTuple

from raftmem.errors import BadRequest, Corrupt, FolderRefused
from raftmem.limits import CLOCK_DRIFT_PPM, ELECTION_TIMEOUT_MS
from raftmem.model import codec
from raftmem.model.commands import Member, Members
from raftmem.raft.log.journal import members_of
from raftmem.runtime.interfaces import Clock, Randomness
from raftmem.settings import Settings, check_timing
from raftmem.storage.folder import Folder, genesis_of, open_folder
from raftmem.storage.log.contract import Append, LogEntry, LogStore
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.reconcile import check_open, restore
from raftmem.storage.snapshots.store import FileSnapshotStore
from raftmem.storage.space import Space
from raftmem.storage.state.store import LmdbStateStore

log = logging.getLogger("raftmem.disks")


class Stores(NamedTuple):
    """`members`: the membership in force at the end of the log. `first`: the log's first entry. `incarnation`: the
    group's; the log of a replica that is still catching up may hold a membership of an older one."""

    folder: Folder
    log: SegmentLogStore
    state: LmdbStateStore
    snapshots: FileSnapshotStore
    space: Space
    members: Members
    first: LogEntry
    incarnation: int

    def close(self, *, clean: bool) -> None:
        self.state.close(clean=clean)
        self.log.close()
        self.folder.close()


def open_stores(settings: Settings, randomness: Randomness, clock: Clock | None = None) -> Stores:
    """Open everything in the folder. Raises: Corrupt, FolderRefused, BadRequest; then nothing stays open."""
    with ExitStack() as opened:
        folder = open_folder(
            settings.data,
            node_id=settings.node_id,
            cluster_id=settings.cluster_id,
            folder_id=settings.folder_id or randomness.bytes(8).hex(),
            birth=randomness.bytes(8).hex(),
            bootstrap=settings.bootstrap,
        )
        opened.callback(folder.close)
        store = SegmentLogStore(folder.log_path)
        opened.callback(store.close)
        _bootstrap(folder, store, settings)
        _verify(store)
        first = store.read(store.first_index(), store.first_index() + 1)[0]
        if not folder.identity.genesis and first.index == 1:
            folder.remember_genesis(genesis_of(first.data))
        members = members_of(store.memberships()[-1])
        _check_recovered(folder, members)
        check_timing(settings, election_timeout_ms=members.election_timeout_ms, clock_drift_ppm=members.clock_drift_ppm)
        state = LmdbStateStore(
            folder.state_path,
            mark=folder.state_mark(),
            map_bytes=settings.map_bytes,
            snapshots=folder.snapshots_path,
        )
        opened.callback(state.close, clean=False)
        space = Space(folder.path, low_bytes=settings.disk_low_bytes, clock=clock)
        snapshots = FileSnapshotStore(folder.snapshots_path, state, spare_bytes=space.spare_bytes)
        _catch_up(store, state, snapshots, folder)
        opened.pop_all()
    incarnation = max(folder.identity.incarnation, members.incarnation)
    return Stores(folder, store, state, snapshots, space, members, first, incarnation)


def _check_recovered(folder: Folder, members: Members) -> None:
    """A recovery says in the folder what the group will be, then in the log: between the two there is no group.

    Who joined a later incarnation has such a log too while it catches up, but no older membership ever named it.
    Raises: FolderRefused.
    """
    identity = folder.identity
    if identity.incarnation > members.incarnation and members.member(identity.node_id) is not None:
        raise FolderRefused(
            f"{folder.path}: a recovery to incarnation {identity.incarnation} was cut short, the log still says "
            f"{members.incarnation}; run `raftmem recover` on it again, nothing was lost"
        )


def _catch_up(store: SegmentLogStore, state: LmdbStateStore, snapshots: FileSnapshotStore, folder: Folder) -> None:
    """The state stands at the first index of the log or above when this returns. Raises: Corrupt."""
    for damage in snapshots.damaged:
        log.warning("snapshot %s cannot be used: %s", damage.name, damage.what)
    if check_open(store, state, path=str(folder.path)):
        meta = restore(store, state, snapshots.all(), path=str(folder.path))
        log.warning("the state was made again from the snapshot of index %d", meta.index)


def _bootstrap(folder: Folder, store: LogStore, settings: Settings) -> None:
    """The first entry of a new folder's log: the whole membership, the same bytes on every replica."""
    if not folder.is_fresh:
        return
    identity = folder.identity
    voters = tuple(
        Member(voter.id, voter.peer_url, voter.rest_url, voter.folder_id)
        for voter in sorted(settings.voters(), key=lambda voter: voter.id)
    )
    own = next(voter for voter in voters if voter.id == identity.node_id)
    if own.folder_id not in (None, identity.folder_id):
        raise BadRequest(f"members gives {own.id} the folder {own.folder_id}, folder_id is {identity.folder_id}")
    timeout = ELECTION_TIMEOUT_MS if settings.election_timeout_ms is None else settings.election_timeout_ms
    drift = CLOCK_DRIFT_PPM if settings.clock_drift_ppm is None else settings.clock_drift_ppm
    data = codec.membership(Members(identity.cluster_id, 1, voters, timeout, drift), time=0, wall_ms=0)
    if store.is_empty():
        store.commit([Append((LogEntry(1, 0, data),))])
    folder.finish_bootstrap(genesis=genesis_of(data))


def _verify(store: SegmentLogStore) -> None:
    """Read the whole log once before anything is promised on its word. Raises: Corrupt naming file and index."""
    if store.is_empty():
        raise Corrupt(store.path, "log holds no entry, not even the one that it began with")
    for index, what in store.verify():
        raise Corrupt(store.path_of(index), what, index=index)
