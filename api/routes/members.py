"""The routes that change the group: a replica taken in, one removed, the lead handed over.

Bodies are checked here, everything else is decided by consensus. A change asked for again is harmless: the reply
says with 200 that it stood already.
"""

from typing import Literal

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Reply
from raftmem.api.requests import memory_drafts
from raftmem.api.requests.memory_bodies import NewLeader, NewMember, convert
from raftmem.api.responses import memory_replies, memory_views
from raftmem.errors import BadRequest
from raftmem.model.addresses import check_peer, check_rest_url, is_node_id
from raftmem.model.codec import decode
from raftmem.model.commands import Member, Members
from raftmem.service.interface import Role, Service

Standing = Role | Literal["removed"]


async def add(call: Call) -> Reply:
    """`POST /v1/cluster/members`."""
    query = call.parameters(once=levels.WRITE)
    body = convert(await call.json(), NewMember)
    member = _member(body)
    changed = await call.service.add_member(
        member,
        actor=memory_drafts.actor(call, body.actor),
        request_id=call.request_id,
        timeout_ms=levels.timeout_ms(query),
    )
    entry = decode(changed.row.data, index=changed.row.index)
    change = None if entry.members is None else entry.members.change
    made_now = change is not None and change.request_id == call.request_id
    stands = changed.members.member(member.id) or member
    text = memory_views.encode(
        memory_replies.MemberAdded(
            _shown(stands, _role(changed.members, member.id, call.service)),
            memory_views.internal_event(changed.row, entry),
            _group(changed.members, call.service),
        )
    )
    return Reply(201 if made_now else 200, text, changed.row.index)


async def remove(call: Call) -> Reply:
    """`DELETE /v1/cluster/members/{id}`."""
    query = call.parameters(once=levels.WRITE)
    target = _node_id(call.segments[0], "id")
    await call.no_body()
    stood = call.service.members.member(target)
    changed = await call.service.remove_member(
        target,
        actor=memory_drafts.actor(call, None),
        request_id=call.request_id,
        timeout_ms=levels.timeout_ms(query),
    )
    gone = (
        memory_replies.GroupMember(target, "removed", None, None, None, None)
        if stood is None
        else _shown(stood, "removed")
    )
    event = memory_views.internal_event(changed.row, decode(changed.row.data, index=changed.row.index))
    return Reply(200, memory_views.encode(memory_replies.MemberRemoved(gone, event)), changed.row.index)


async def transfer(call: Call) -> Reply:
    """`POST /v1/cluster/leader`; the body may be left out."""
    query = call.parameters(once=levels.WRITE)
    if call.header(b"content-type") is None:
        await call.no_body()
        body = NewLeader()
    else:
        body = convert(await call.json(), NewLeader)
    target = None if body.id is None else _node_id(body.id, "id")
    leads = await call.service.transfer(target, timeout_ms=levels.timeout_ms(query))
    member = call.service.members.member(leads)
    url = None if member is None else member.rest_url
    return Reply(200, memory_views.encode(memory_replies.LeaderMoved(memory_replies.Leader(leads, url))))


def _member(body: NewMember) -> Member:
    """Raises: BadRequest with the place of what cannot stand in a membership."""
    for place, check, given in (
        ("peer_url", check_peer, body.peer_url),
        ("rest_url", check_rest_url, body.rest_url),
    ):
        try:
            check(given, name=place)
        except ValueError as error:
            raise BadRequest(str(error), parameter=place) from error
    for place, optional in (("folder_id", body.folder_id), ("replaces", body.replaces)):
        if optional is not None:
            _node_id(optional, place)
    if body.replaces == body.id:
        raise BadRequest("replaces names the new member itself; a new replica needs a new id", parameter="replaces")
    return Member(_node_id(body.id, "id"), body.peer_url, body.rest_url, body.folder_id, body.replaces)


def _node_id(text: str, place: str) -> str:
    if not is_node_id(text):
        raise BadRequest(f"{place} must be 1 to 64 of the characters A-Z a-z 0-9 . _ -", parameter=place)
    return text


def _role(members: Members, member_id: str, service: Service) -> Standing:
    if any(learner.id == member_id for learner in members.learners):
        return "learner"
    if members.member(member_id) is None:
        return "removed"
    return "leader" if service.leader_id == member_id else "follower"


def _shown(member: Member, role: Standing) -> memory_replies.GroupMember:
    return memory_replies.GroupMember(
        member.id, role, member.peer_url, member.rest_url, member.folder_id, member.replaces
    )


def _group(members: Members, service: Service) -> memory_replies.Group:
    everyone = (*members.voters, *members.learners)
    return memory_replies.Group(
        cluster_id=members.cluster_id,
        incarnation=members.incarnation,
        election_timeout_ms=members.election_timeout_ms,
        clock_drift_ppm=members.clock_drift_ppm,
        members=[_shown(member, _role(members, member.id, service)) for member in everyone],
    )
