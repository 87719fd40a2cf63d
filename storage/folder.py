"""The data folder of one replica, DATA/n1: its layout, its lock, and whose it is.

    folder.json   identity: cluster, node, the folder's own random id and birth, and whether it was removed
    lock          held by the process that writes, with its pid
    log/          the log; the truth
    state/        the state, with its mark `state.json` beside it; a cache of the log
    vectors/      saved vector indexes; a cache of the state
    snapshots/    copies of the state, from which it is restored when the log no longer begins at its first entry

Beside them stands `acquaintances.json`: the births of other members' folders, as first met.

It refuses a second writer, another node's or cluster's folder, that of a replica which its group has removed, and an
empty folder without an explicit bootstrap or join: a voter that forgot its votes could elect a second leader. The rule
that must hold: `folder.json` says ready only after the first log entry is on disk, and nothing is promised before that.
"""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from raftmem.errors import Corrupt, FolderRefused
from raftmem.storage.atomic_file import sync_folder, write_atomic
from raftmem.storage.log.load import has_log
from raftmem.storage.state.clean_mark import StateMark

FORMAT: Final = 1
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_IDENTITY: Final = "folder.json"
_LOCK: Final = "lock"
_ACQUAINTANCES: Final = "acquaintances.json"
_MAKE_ONE: Final = "bootstrap a new cluster there, or join one"
_CONTENTS: Final = ("log", "state", "vectors", "snapshots")


class Identity(Struct, frozen=True, forbid_unknown_fields=True):
    """`folder_id`: consensus binds the voter to it. `birth`: random at every bootstrap, so that a folder that was
    emptied and bootstrapped again is another one even under the same `folder_id`. `ready`: the first entry is in the
    log. `genesis`: of the group that it belongs to (`genesis_of`), "" where an older version made the folder.
    `joining`: begun to join a group, not to make one. `removed`: the group has removed this replica, for good.
    `incarnation`: of the group when this replica entered it, or of the recovery of this folder. A log that is still
    being caught up says less, and one that an older version wrote more: the greater of the two is the group's."""

    format: int
    cluster_id: str
    node_id: str
    folder_id: str
    ready: bool
    birth: str = ""
    genesis: str = ""
    joining: bool = False
    removed: bool = False
    incarnation: int = 1


def genesis_of(data: bytes) -> str:
    """The second name of a group: BLAKE2b-256 of the entry that made it (bootstrap, or recovery), hex."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


class Folder:
    """A locked data folder. The lock goes with `close`, or with the process."""

    def __init__(self, path: Path, identity: Identity, lock: int) -> None:
        self.path = path
        self.identity = identity
        self._lock = lock

    @property
    def is_fresh(self) -> bool:
        """The first log entry must still be written, then `finish_bootstrap` called."""
        return not self.identity.ready

    @property
    def log_path(self) -> Path:
        return self.path / "log"

    @property
    def state_path(self) -> Path:
        return self.path / "state"

    @property
    def vectors_path(self) -> Path:
        return self.path / "vectors"

    @property
    def snapshots_path(self) -> Path:
        """Made by the first replica that opens the folder to write, if an older program made the folder."""
        return self.path / "snapshots"

    def state_mark(self, *, boot_id: str | None = None) -> StateMark:
        """`boot_id`: of this start of the machine (default: the kernel's)."""
        return state_mark(self.path, boot_id=boot_id)

    def finish_bootstrap(self, *, genesis: str = "", incarnation: int = 1) -> None:
        """The log holds its first entry: from now on this folder is a member's. On disk when this returns."""
        sync_folder(self.log_path)
        self._identify(
            msgspec.structs.replace(self.identity, ready=True, joining=False, genesis=genesis, incarnation=incarnation)
        )

    def enter_incarnation(self, incarnation: int, *, genesis: str) -> None:
        """Said before the log says so: until it does, the replica does not serve. On disk when this returns."""
        self._identify(msgspec.structs.replace(self.identity, genesis=genesis, incarnation=incarnation))
        (self.path / _ACQUAINTANCES).unlink(missing_ok=True)  # of voters that are none any more
        sync_folder(self.path)

    def remember_genesis(self, genesis: str) -> None:
        """For a folder that an older version made. On disk when this returns."""
        self._identify(msgspec.structs.replace(self.identity, genesis=genesis))

    def mark_removed(self) -> None:
        """The group has removed this replica: the folder is never opened to write again. On disk when this returns."""
        self._identify(msgspec.structs.replace(self.identity, removed=True))

    def abandon(self) -> None:
        """The group did not take this replica in: the folder is nobody's again."""
        if self.identity.ready:
            raise ValueError(f"{self.path} is a member's")
        for name in _CONTENTS:
            shutil.rmtree(self.path / name)
        (self.path / _IDENTITY).unlink()

    def _identify(self, identity: Identity) -> None:
        _write(self.path, identity)
        self.identity = identity

    def close(self) -> None:
        os.close(self._lock)


def open_folder(
    path: Path,
    *,
    node_id: str,
    cluster_id: str | None = None,
    folder_id: str = "",
    birth: str = "",
    bootstrap: bool = False,
    joining: bool = False,
) -> Folder:
    """The folder to write to, locked.

    `cluster_id`: None accepts the one that is there. `bootstrap`: make an empty folder a new replica's, under
    `cluster_id`, `folder_id` and the random `birth`; a folder that is there already is opened as it is. `joining`:
    likewise for a replica that a group is to take in; one that was cut short goes on under the ids that it began with.
    Raises: FolderRefused.
    """
    if bootstrap or joining:
        path.mkdir(parents=True, exist_ok=True)
    if not path.is_dir():
        raise FolderRefused(f"{path}: is no folder; {_MAKE_ONE}, or give the folder that was used")
    lock = _lock(path, exclusive=True)
    try:
        identity = read_identity(path)
        if identity is None or not identity.ready:
            if not (bootstrap or joining):
                raise FolderRefused(f"{path}: {_unready(identity)}; {_MAKE_ONE}, explicitly")
            if cluster_id is None or not folder_id:
                raise FolderRefused(f"{path}: a new folder needs a cluster id and a folder id")
            begun = Identity(FORMAT, cluster_id, node_id, folder_id, ready=False, birth=birth, joining=joining)
            if joining and identity is not None and identity.joining:
                begun = identity
            identity = _begin(path, identity, begun)
        _check(path, identity, node_id, cluster_id)
        return Folder(path, identity, lock)
    except BaseException:
        os.close(lock)
        raise


def state_mark(path: Path, *, boot_id: str | None = None) -> StateMark:
    """The clean mark of the state in a data folder, locked or not."""
    found = _BOOT_ID.read_text().strip() if boot_id is None else boot_id
    return StateMark(path / "state.json", path / "state", boot_id=found)


def read_identity(path: Path) -> Identity | None:
    """The identity in a folder; None if there is none. Raises: Corrupt, FolderRefused for another format."""
    try:
        raw = (path / _IDENTITY).read_bytes()
    except FileNotFoundError:
        return None
    try:
        identity = msgspec.json.decode(raw, type=Identity)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(str(path / _IDENTITY), f"does not decode ({error})") from error
    if identity.format != FORMAT:
        raise FolderRefused(f"{path}: has format {identity.format}, this program knows {FORMAT}")
    return identity


class ReadLock:
    """Keeps writers away from a data folder while something reads it offline. Raises: FolderRefused if one is there."""

    def __init__(self, path: Path) -> None:
        self._lock = _lock(path, exclusive=False)

    def close(self) -> None:
        os.close(self._lock)


def _unready(identity: Identity | None) -> str:
    if identity is None:
        return "belongs to no replica yet"
    return f"was left by a {'join' if identity.joining else 'bootstrap'} that did not finish"


def _begin(path: Path, left: Identity | None, identity: Identity) -> Identity:
    """Start a bootstrap or a join, over again if one was cut short (it has promised nothing)."""
    there = [name for name in _CONTENTS if (path / name).exists()]
    if there and left is None:
        raise FolderRefused(f"{path}: holds {', '.join(there)} but no {_IDENTITY}; put it back, or use another folder")
    _write(path, identity)
    for name in there:
        shutil.rmtree(path / name)
    for name in _CONTENTS:
        (path / name).mkdir()
    sync_folder(path)
    sync_folder(path.parent)
    return identity


def _check(path: Path, identity: Identity, node_id: str, cluster_id: str | None) -> None:
    if identity.node_id != node_id:
        raise FolderRefused(f"{path}: belongs to node {identity.node_id}, not {node_id}; give each node its own folder")
    if cluster_id is not None and identity.cluster_id != cluster_id:
        raise FolderRefused(f"{path}: belongs to cluster {identity.cluster_id}, not {cluster_id}; use another folder")
    if identity.removed:
        raise FolderRefused(
            f"{path}: its replica {node_id} was removed from the group and never comes back under that id; "
            "delete the folder, or give an empty one and a new node id to join again"
        )
    if identity.ready and not has_log(path / "log"):
        raise Corrupt(str(path / "log"), "log is missing, and with it the votes of this node")


def _write(path: Path, identity: Identity) -> None:
    write_atomic(path / _IDENTITY, msgspec.json.format(msgspec.json.encode(identity)) + b"\n")


def _lock(path: Path, *, exclusive: bool) -> int:
    """A locked descriptor. The pid in the file is for the message only; the lock itself dies with its process."""
    try:
        access = os.O_RDWR if exclusive else os.O_RDONLY  # a folder on a read-only disk can be read too
        lock = os.open(path / _LOCK, access | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FolderRefused(f"{path}: cannot be locked ({error}); check the path and its permissions") from error
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        if exclusive:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BlockingIOError as error:
        pid = os.pread(lock, 20, 0).decode(errors="replace") or "unknown"
        os.close(lock)
        raise FolderRefused(f"{path}: is in use by process {pid}; stop it first") from error
    return lock
