"""Changes of the membership, as pure functions over the membership in force (obligation membership).

They refuse what would lose the group its majority, an id that was used before, and a data folder that is not the one
that is bound. One change makes at most one voter come or go, so that majorities before and after have one in common.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet

import msgspec

from raftmem.errors import NotFound, WrongState
from raftmem.limits import MEMBERS_MAX, REMOVED_MAX
from raftmem.model.commands import Member, MemberChange, Members
from raftmem.raft.rules import quorum


def ids(members: tuple[Member, ...]) -> tuple[str, ...]:
    return tuple(member.id for member in members)


def add(members: Members, wanted: Member, change: MemberChange) -> Members | None:
    """A learner that comes, or a member whose addresses or folder become known; None when it stands already.

    Raises: WrongState, NotFound.
    """
    _check_wanted(members, wanted)
    known = members.member(wanted.id)
    if known is None:
        return msgspec.structs.replace(members, learners=(*members.learners, wanted), change=change)
    if wanted.folder_id is None:
        wanted = msgspec.structs.replace(wanted, folder_id=known.folder_id)
    elif known.folder_id not in (None, wanted.folder_id):
        raise WrongState(
            f"{wanted.id} is bound to data folder {known.folder_id}, not {wanted.folder_id}: a folder that was emptied "
            f"or restored comes back under a new id; remove or replace {wanted.id}"
        )
    wanted = msgspec.structs.replace(wanted, birth=known.birth)
    if wanted.replaces is None:
        wanted = msgspec.structs.replace(wanted, replaces=known.replaces)
    if wanted == known:
        return None
    return _put(members, wanted, msgspec.structs.replace(change, op="update"))


def _check_wanted(members: Members, wanted: Member) -> None:
    if wanted.id in members.removed:
        raise WrongState(f"{wanted.id} was removed, and an id is used once; choose another one")
    if wanted.replaces is not None and wanted.replaces not in ids(members.voters):
        raise NotFound(f"{wanted.replaces} is no voter, so nothing can replace it; see `raftmem member list`")
    if wanted.replaces == wanted.id:
        raise WrongState(f"{wanted.id} cannot replace itself: give the new replica an id of its own")
    others = [one for one in (*members.voters, *members.learners) if one.id != wanted.id]
    if len(others) >= MEMBERS_MAX:
        raise WrongState(f"the group has {len(others)} members, the most there may be; remove one first")
    for other in others:
        if other.peer_url == wanted.peer_url and other.id != wanted.replaces:
            raise WrongState(f"{other.id} has the peer address {other.peer_url} already; give {wanted.id} its own")
        if other.replaces is not None and other.replaces == wanted.replaces:
            raise WrongState(f"{other.id} is about to replace {other.replaces} already")


def with_births(members: Members, birth_of: Callable[[str], str | None]) -> Members:
    """The membership with the births of its folders, as far as they are known (obligation no-amnesia).

    A replica that comes later has never met the folder that was first known by an id; here it reads its birth.
    """

    def born(member: Member) -> Member:
        return member if member.birth is not None else msgspec.structs.replace(member, birth=birth_of(member.id))

    return msgspec.structs.replace(
        members, voters=tuple(map(born, members.voters)), learners=tuple(map(born, members.learners))
    )


def _put(members: Members, member: Member, change: MemberChange) -> Members:
    """The member's new row, where its old one stands."""
    voters = tuple(member if one.id == member.id else one for one in members.voters)
    learners = tuple(member if one.id == member.id else one for one in members.learners)
    return msgspec.structs.replace(members, voters=voters, learners=learners, change=change)


def promote(members: Members, learner_id: str, change: MemberChange) -> Members:
    """The learner becomes a voter; the voter that it replaces, if that is one still, leaves next."""
    learner = next(one for one in members.learners if one.id == learner_id)
    if learner.replaces not in ids(members.voters):
        learner = msgspec.structs.replace(learner, replaces=None)
    voters = tuple(sorted((*members.voters, learner), key=lambda one: one.id))
    learners = tuple(one for one in members.learners if one.id != learner_id)
    return msgspec.structs.replace(members, voters=voters, learners=learners, change=change)


def remove(members: Members, member_id: str, change: MemberChange, *, live: AbstractSet[str]) -> Members | None:
    """The member leaves for ever; None when it did already. `live`: the voters that answer now.

    Raises: WrongState, NotFound.
    """
    if member_id in members.removed:
        return None
    if members.member(member_id) is None:
        raise NotFound(f"{member_id} is no member; see `raftmem member list`")
    voters = tuple(_released(one, member_id) for one in members.voters if one.id != member_id)
    if len(voters) < len(members.voters):
        check_majority(ids(voters), live, f"without {member_id}")
    learners = tuple(_released(one, member_id) for one in members.learners if one.id != member_id)
    removed = (*members.removed, member_id)[-REMOVED_MAX:]
    return msgspec.structs.replace(members, voters=voters, learners=learners, removed=removed, change=change)


def _released(member: Member, gone: str) -> Member:
    """Clear `replaces` of a member whose predecessor has left."""
    return msgspec.structs.replace(member, replaces=None) if member.replaces == gone else member


def check_majority(voters: tuple[str, ...], live: AbstractSet[str], situation: str) -> None:
    """Raises: WrongState unless a majority of these voters answers now."""
    if not voters:
        raise WrongState(f"{situation} the group would have no voter; a group keeps at least one")
    answering = [voter for voter in voters if voter in live]
    if len(answering) < quorum(voters):
        raise WrongState(
            f"{situation} the voters would be {', '.join(voters)}, of which only {', '.join(answering) or 'nobody'} "
            f"answers: {quorum(voters)} of {len(voters)} are needed; start those that are down, or remove them first"
        )
