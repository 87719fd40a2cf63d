"""The last resort, offline: a majority of the voters is lost for good, and one folder must go on without them.

The folder's replica becomes the only voter of a new incarnation of its group; the others of the new group are
learners, which start with an empty folder, join, and are promoted as they catch up. What the lost majority had
acknowledged and this folder lacks is gone, and what stands here beyond the commit index becomes committed: so the
plan is printed first, and the folder with the greatest (last term, last index) of all survivors is the one to take.

It refuses a folder in use, one that never finished to join, and for the others every id that was a member before: an
empty folder under such an id would find itself a voter while it is sent the old log, and could elect a second leader.
The rule that must hold: the folder belongs to the new incarnation before the log does, and the new membership and its
term enter the log in one commit; cut short in between, the replica does not serve, and `recover` does the same again.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from raftmem.api.http import strict_json
from raftmem.errors import BadRequest, Corrupt, CutShort, FolderRefused
from raftmem.limits import MEMBERS_MAX, REMOVED_MAX
from raftmem.model import codec
from raftmem.model.addresses import NODE_ID, check_peer, check_rest_url, is_node_id
from raftmem.model.commands import Actor, Member, MemberChange, Members
from raftmem.storage.folder import Identity, ReadLock, genesis_of, open_folder, read_identity, state_mark
from raftmem.storage.log.contract import Append, HardState, LogEntry, LogStore
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.state.store import LmdbStateStore


class NewMember(Struct, frozen=True, forbid_unknown_fields=True):
    """One replica of the new group, as the file names it."""

    id: Annotated[str, Meta(pattern=NODE_ID)]
    peer: str
    rest_url: str


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    members: tuple[NewMember, ...]


class Plan(NamedTuple):
    """The contents of the folder, and the membership that would follow it.

    `applied`: known here to be committed up to there; `last_index`: entries after `applied` up to it become committed.
    `term`: of the hard state. `before`: the membership in force here; `after`: the new one.
    """

    node_id: str
    applied: int
    last_index: int
    last_term: int
    term: int
    before: Members
    after: Members

    @property
    def undecided(self) -> int:
        """Entries that may never have been committed, and will be."""
        return self.last_index - self.applied

    @property
    def others(self) -> tuple[Member, ...]:
        """The other members: their folders may hold more than this one."""
        return tuple(one for one in (*self.before.voters, *self.before.learners) if one.id != self.node_id)

    @property
    def had_a_vote(self) -> bool:
        return any(one.id == self.node_id for one in self.before.voters)


def read_members(file: Path) -> tuple[NewMember, ...]:
    """`[[members]]` of TOML, or JSON: a list, or an object with `members`. Raises: BadRequest."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise BadRequest(f"cannot read {file}: {error.strerror}", parameter="--members") from error
    try:
        values: object = (
            tomllib.loads(raw.decode()) if file.suffix == ".toml" else strict_json.decode(raw, place=str(file))
        )
        members = msgspec.convert({"members": values} if isinstance(values, list) else values, _File).members
        for one in members:
            if not is_node_id(one.id):
                raise ValueError(f"{one.id!r} cannot be the id of a replica")
            check_peer(one.peer, name=f"peer of {one.id}")
            check_rest_url(one.rest_url, name=f"rest_url of {one.id}")
    except (ValueError, msgspec.MsgspecError, BadRequest) as error:
        raise BadRequest(f"{file}: {error}; give [{{id, peer, rest_url}}]", parameter="--members") from error
    ids = [one.id for one in members]
    if len(set(ids)) != len(ids) or not 1 <= len(ids) <= MEMBERS_MAX:
        raise BadRequest(f"{file}: name 1 to {MEMBERS_MAX} members, each once", parameter="--members")
    return members


def plan(path: Path, members: Sequence[NewMember], *, actor: Actor, request_id: str) -> Plan:
    """Return what `recover` would do; change nothing. Raises: BadRequest, FolderRefused, Corrupt."""
    identity = _identity(path)
    lock = ReadLock(path)
    try:
        log = SegmentLogStore(path / "log", readonly=True)
        try:
            return _plan(path, identity, log, members, actor, request_id)
        finally:
            log.close()
    finally:
        lock.close()


def recover(path: Path, members: Sequence[NewMember], *, actor: Actor, request_id: str, wall_ms: int) -> Plan:
    """Recover the folder and return the plan that was carried out. On disk when this returns. Raises: as `plan`."""
    identity = _identity(path)
    folder = open_folder(path, node_id=identity.node_id)
    try:
        log = SegmentLogStore(folder.log_path)
        try:
            found = _plan(path, identity, log, members, actor, request_id)
            newest = log.read(found.last_index, found.last_index + 1)[0]
            time, _ = codec.times(newest.data)  # log time never goes back; the next leader is anchored to this entry
            entry = LogEntry(
                found.last_index + 1, found.term + 1, codec.membership(found.after, time=time, wall_ms=wall_ms)
            )
            folder.enter_incarnation(found.after.incarnation, genesis=genesis_of(entry.data))
            log.commit([HardState(found.term + 1, None), Append((entry,))])
        finally:
            log.close()
    finally:
        folder.close()
    return found


def _identity(path: Path) -> Identity:
    identity = read_identity(path) if path.is_dir() else None
    if identity is None:
        raise BadRequest(f"{path} is not a replica's data folder; give one such as .raftmem/n1", parameter="--data")
    if not identity.ready:
        raise FolderRefused(f"{path}: never became a member's, so it holds nothing to recover; take another folder")
    if identity.removed:
        raise FolderRefused(f"{path}: its replica was removed from the group; take another folder")
    return identity


def _plan(
    path: Path, identity: Identity, log: SegmentLogStore, members: Sequence[NewMember], actor: Actor, request_id: str
) -> Plan:
    for index, what in log.verify():
        raise Corrupt(log.path_of(index), what, index=index)
    last = log.last_index()
    if last == 0:
        raise FolderRefused(f"{path}: has joined a group but was sent nothing yet; take another folder")
    history = _memberships(log)
    before = history[-1]
    node_id = identity.node_id
    if before.member(node_id) is None:
        raise FolderRefused(f"{path}: its group does not name {node_id} any more; take another folder")
    found = Plan(
        node_id=node_id,
        applied=_applied(path, log),
        last_index=last,
        last_term=log.read(last, last + 1)[0].term,
        term=log.hard_state().term,
        before=before,
        after=_next(identity, history, members, actor, request_id),
    )
    if found.applied > last:
        raise Corrupt(str(path), f"log ends at index {last} but the state stands", index=found.applied)
    return found


def _memberships(log: LogStore) -> list[Members]:
    """Return every membership in the log, oldest first; the last is in force. Raises: Corrupt."""
    found: list[Members] = []
    for entry in log.memberships():
        members = codec.decode(entry.data, index=entry.index).members
        if members is None:
            raise Corrupt("log", "holds another entry where a membership should be", index=entry.index)
        found.append(members)
    return found


def _ever(history: Sequence[Members], node_id: str) -> tuple[str, ...]:
    """Return every other id that ever was a member, those that were removed first."""
    ids = [*history[-1].removed]
    for members in history:
        ids += [*members.removed, *(one.id for one in (*members.voters, *members.learners))]
    return tuple(one for one in dict.fromkeys(ids) if one != node_id)


def _applied(path: Path, log: LogStore) -> int:
    """Return the highest index that is known here to be committed."""
    compacted = log.first_index() if log.first_index() > 1 else 0
    if not (path / "state" / "data.mdb").exists() or not state_mark(path).trusted():
        return compacted
    try:
        state = LmdbStateStore(path / "state", readonly=True)
    except CutShort:  # not trusted either: it is made again
        return compacted
    try:
        return max(compacted, state.head().index)
    finally:
        state.close(clean=False)


def _next(
    identity: Identity, history: Sequence[Members], members: Sequence[NewMember], actor: Actor, request_id: str
) -> Members:
    """Return the new group: this replica alone votes, the others are to catch up. Raises: BadRequest."""
    node_id = identity.node_id
    own = next((one for one in members if one.id == node_id), None)
    if own is None:
        raise BadRequest(f"--members does not name {node_id}, whose folder this is; add it", parameter="--members")
    before = history[-1]
    gone = _ever(history, node_id)
    back = sorted({one.id for one in members}.intersection(gone))
    if back:
        raise BadRequest(
            f"--members names {', '.join(back)}, a member of this group before: an empty folder of that id would "
            "find itself in the old log, which it is sent, and could vote there; give each new replica a new id",
            parameter="--members",
        )
    return msgspec.structs.replace(
        before,
        incarnation=before.incarnation + 1,
        voters=(Member(own.id, own.peer, own.rest_url, identity.folder_id),),
        learners=tuple(Member(one.id, one.peer, one.rest_url) for one in members if one.id != node_id),
        removed=gone[-REMOVED_MAX:],
        change=MemberChange("recover", node_id, actor, request_id),
    )
