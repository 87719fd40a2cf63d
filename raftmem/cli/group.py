"""The folder of `raftmem up`: DATA/cluster.json says which group lives here, DATA/nK.toml is a replica's settings.

The rule: an empty data folder becomes a voter only once. Each new folder gets a permit to bootstrap, which the
replica's first answer removes; a folder that was wiped has no permit, so its replica refuses to start instead of
voting again under a name that has already promised something.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from raftmem import limits
from raftmem.cli.exits import CommandFailed
from raftmem.errors import BadRequest
from raftmem.lifecycle.peer_credentials import FILE, make
from raftmem.runtime.system import SystemRandomness
from raftmem.storage.atomic_file import sync_folder, write_atomic
from raftmem.storage.folder import read_identity

PEER_PORT_OFFSET: Final = 1000
HOST: Final = "127.0.0.1"
REPLICAS_DEFAULT: Final = 3
PORT_DEFAULT: Final = 8101
PERMIT: Final = "bootstrap-permit"


class Replica(Struct, frozen=True, forbid_unknown_fields=True):
    """One replica of the group; `folder_id` is its folder's identity, given at bootstrap."""

    id: str
    folder_id: str
    rest_port: int
    peer_port: int

    @property
    def rest_url(self) -> str:
        return f"http://{HOST}:{self.rest_port}"

    @property
    def peer(self) -> str:
        return f"{HOST}:{self.peer_port}"


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of DATA/cluster.json. `is_prepared`: every folder has its permit; replicas may start."""

    cluster_id: str
    replicas: tuple[Replica, ...]
    is_prepared: bool = False
    version: int = 1


class Layout(NamedTuple):
    """Where the group's files are."""

    data: Path

    @property
    def description(self) -> Path:
        return self.data / "cluster.json"

    def folder(self, replica: Replica) -> Path:
        return self.data / replica.id

    def settings(self, replica: Replica) -> Path:
        return self.data / f"{replica.id}.toml"

    def permit(self, replica: Replica) -> Path:
        return self.folder(replica) / PERMIT

    def lock(self) -> int:
        """Take the folder for one `raftmem up`; held until the process ends. Raises: CommandFailed."""
        self.data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.data / "up.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            detail = f"{self.data} is in use by another `raftmem up` (process {owner}); stop it, or give another --data"
            raise CommandFailed(detail) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def open_group(
    layout: Layout, *, replicas: int | None, port: int | None, token: Callable[[int], str]
) -> tuple[Group, bool]:
    """The group of this folder and whether it is new. `token(n)`: n random bytes in hex.

    Raises: BadRequest when the folder holds another group than the one asked for.
    """
    if layout.description.exists():
        group = _resume(layout, replicas=replicas, port=port)
    else:
        strangers = sorted(entry.name for entry in layout.data.iterdir() if entry.name != "up.lock")
        if strangers:
            raise CommandFailed(
                f"{layout.data} holds {strangers[0]} but no cluster.json; give another --data, or restore that file"
            )
        group = describe(
            replicas=REPLICAS_DEFAULT if replicas is None else replicas,
            port=PORT_DEFAULT if port is None else port,
            token=token,
        )
        _write_description(layout, group)
    make(layout.data / FILE, SystemRandomness())
    if group.is_prepared:
        return group, False
    for replica in group.replicas:  # nothing was started before this is done, so doing it again is harmless
        layout.folder(replica).mkdir(exist_ok=True)
        write_atomic(layout.permit(replica), b"this empty folder may become a voter, once\n")
        write_atomic(layout.settings(replica), settings_text(group, replica).encode())
    group = msgspec.structs.replace(group, is_prepared=True)
    _write_description(layout, group)
    return group, True


def without_leavers(layout: Layout, group: Group) -> tuple[Group, dict[str, str]]:
    """Leave out the replicas that must not run any more, and say why: removed ones, and, where a folder was recovered,
    those of an older incarnation, which would be a majority of a group that is over."""
    found = {replica.id: read_identity(layout.folder(replica)) for replica in group.replicas}
    newest = max((one.incarnation for one in found.values() if one is not None), default=1)
    reasons: dict[str, str] = {}
    for replica_id, identity in found.items():
        if identity is None:
            continue
        if identity.removed:
            reasons[replica_id] = "the group has removed it; a new replica joins under a new id"
        elif identity.incarnation < newest:
            reasons[replica_id] = (
                f"its folder is of incarnation {identity.incarnation}, and another was recovered as {newest}; "
                "a new replica joins under a new id"
            )
    stay = tuple(replica for replica in group.replicas if replica.id not in reasons)
    return msgspec.structs.replace(group, replicas=stay), reasons


def _write_description(layout: Layout, group: Group) -> None:
    write_atomic(layout.description, msgspec.json.format(msgspec.json.encode(group)) + b"\n")


def describe(*, replicas: int, port: int, token: Callable[[int], str]) -> Group:
    """Describe a new group. Raises: BadRequest."""
    if not 1 <= replicas <= limits.MEMBERS_MAX:
        raise BadRequest(f"--replicas {replicas}: a group has 1 to {limits.MEMBERS_MAX} replicas")
    if not 1 <= port <= 65535 - PEER_PORT_OFFSET - replicas:
        raise BadRequest(f"--port {port}: REST uses port.., peers port + {PEER_PORT_OFFSET}.., all up to 65535")
    members = tuple(
        Replica(f"n{k + 1}", token(16), rest_port=port + k, peer_port=port + PEER_PORT_OFFSET + k)
        for k in range(replicas)
    )
    return Group(token(4), members)


def _resume(layout: Layout, *, replicas: int | None, port: int | None) -> Group:
    try:
        group = msgspec.json.decode(layout.description.read_bytes(), type=Group)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{layout.description}: {error}; restore the file, it names the group") from error
    if group.version != 1 or not group.replicas:
        raise CommandFailed(f"{layout.description} has version {group.version}; this program knows 1")
    if replicas is not None and replicas != len(group.replicas):
        raise BadRequest(
            f"{layout.data} holds a group of {len(group.replicas)}, not {replicas}: leave --replicas out and grow it "
            "with `raftmem member add`, or give another --data"
        )
    if port is not None and port != group.replicas[0].rest_port:
        raise BadRequest(
            f"{layout.data} holds a group on port {group.replicas[0].rest_port}, not {port}: the addresses are part "
            "of its membership; leave --port out, or give another --data"
        )
    return group


def settings_text(group: Group, replica: Replica) -> str:
    """Return the text of nK.toml. Strings are written as JSON, which TOML reads alike."""
    quote = _quote
    lines = [
        f"# {replica.id} of the group {group.cluster_id}, made by `raftmem up`; see `raftmem config show --config`",
        f"node_id = {quote(replica.id)}",
        f"data = {quote(replica.id)}  # beside this file",
        f"cluster_id = {quote(group.cluster_id)}",
        f"folder_id = {quote(replica.folder_id)}",
        f"rest = {quote(replica.rest_url.removeprefix('http://'))}",
        f"peer = {quote(replica.peer)}",
        f"peer_secret_file = {quote(FILE)}  # beside this file",
    ]
    for member in group.replicas:
        lines += [
            "",
            "[[members]]",
            f"id = {quote(member.id)}",
            f"peer = {quote(member.peer)}",
            f"rest_url = {quote(member.rest_url)}",
            f"folder_id = {quote(member.folder_id)}",
        ]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def remove_permit(layout: Layout, replica: Replica) -> None:
    """Remove the permit; it stays removed after a power loss. A second call does nothing."""
    permit = layout.permit(replica)
    if permit.exists():
        permit.unlink()
        sync_folder(permit.parent)
