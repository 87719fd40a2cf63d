"""Replies: every error becomes a problem document, and every reply carries the common headers.

An exception that is not one of our errors is a defect: the client gets 500 without details, and the app raises it again
for the server's log.
"""

from functools import lru_cache
from typing import Final

from raftmem.api.http.asgi import joined
from raftmem.api.http.call import Call, Endpoint, Reply
from raftmem.api.http.problems import MEDIA_TYPE, from_error, internal
from raftmem.api.responses import memory_views
from raftmem.errors import IndexCompacted, NoQuorum, RaftmemError, ShuttingDown, UnknownOutcome

_READS_MAX: Final = 3  # after so many leases that ended before their reply, the read fails


async def answer(call: Call, endpoint: Endpoint) -> Reply:
    """The reply of an endpoint, errors included.

    A reply that was read under a lease leaves only if the lease covers the moment of the reply; else it is read again.
    """
    for _ in range(_READS_MAX):
        call.point = None
        try:
            reply = await endpoint(call)
        except RaftmemError as error:
            reply = refused(call, error)
        if call.point is None or call.service.still_holds(call.point):
            return reply
    call.point = None
    return refused(call, NoQuorum("the lease ran out each time before the answer was computed; try again"))


def refused(call: Call, error: RaftmemError) -> Reply:
    """The problem document of one of our errors."""
    problem, service = from_error(error), call.service
    if isinstance(error, IndexCompacted):
        problem.index = service.status().applied_index
    if problem.kind.status == 503 and service.leader_id is not None:
        problem.extra["leader"] = {"id": service.leader_id, "url": service.leader_url}
    level = None if call.point is None else call.point.level
    body = problem.body(instance=call.instance, request_id=call.request_id)
    return Reply(problem.kind.status, memory_views.encode(body), problem.index, level, problem.headers, MEDIA_TYPE)


def defect(call: Call) -> Reply:
    """The reply to a request that failed by a defect."""
    return refused(call, internal(call.request_id, write=call.writes))


def cut_off(call: Call) -> Reply:
    """The reply to a waiting request when this replica stops."""
    if call.writes:
        return refused(call, UnknownOutcome("this replica stops; ask another one, with the same Idempotency-Key"))
    return refused(call, ShuttingDown("this replica stops; ask another one"))


def unserved(call: Call, error: RaftmemError) -> Reply:
    """The reply to input that is no request, or to a request that the server does not take on."""
    call.request_id = call.service.new_id()
    return refused(call, error)


def head(call: Call, reply: Reply) -> bytes:
    """All headers of a reply: its own and the common ones."""
    service = call.service
    standing = _standing(service.node_id, service.cluster, service.term, service.leader_id)
    own = joined(reply.headers) if reply.headers else b""
    own = own + call.cors if call.cors else own
    index = b"" if reply.index is None else b"raftmem-index: %d\r\n" % reply.index
    level = b"" if reply.level is None else b"raftmem-consistency: %b\r\n" % reply.level.encode()
    what = b""
    if reply.stream is not None:
        what = b"content-type: %b\r\n" % reply.media_type
    elif reply.status not in (204, 304):
        what = b"content-type: %b\r\ncontent-length: %d\r\n" % (reply.media_type, len(reply.body))
    return b"%bx-request-id: %b\r\n%b%b%b%b" % (standing, call.request_id.encode(), own, what, index, level)


@lru_cache(maxsize=4)
def _standing(node_id: str, cluster: str, term: int, leader: str | None) -> bytes:
    """The headers that change only with the leader."""
    common = [
        (b"raftmem-term", b"%d" % term),
        (b"raftmem-node", node_id.encode()),
        (b"raftmem-cluster", cluster.encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    return joined(common if leader is None else [*common, (b"raftmem-leader", leader.encode())])
