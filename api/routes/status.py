"""The routes of status: the cluster, health, digests, metrics, and the OpenAPI document with its page."""

from typing import Final

from raftmem import limits
from raftmem.api.http import levels
from raftmem.api.http.call import Call, Headers, Reply
from raftmem.api.responses import memory_views
from raftmem.api.responses.memory_replies import Cluster, Digest, Live, Member, Ready
from raftmem.api.responses.metrics import MEDIA_TYPE
from raftmem.api.schema.docs_page import PAGE
from raftmem.errors import RaftmemError
from raftmem.model.digest import GENESIS
from raftmem.service.interface import ReadOptions

_NOTHING_FOREIGN: Final[Headers] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_LIMITS: Final = {
    "body_bytes": limits.BODY_BYTES_MAX,
    "text_bytes": limits.TEXT_BYTES_MAX,
    "value_bytes": limits.VALUE_BYTES_MAX,
    "metadata_bytes": limits.METADATA_BYTES_MAX,
    "tags": limits.TAGS_MAX,
    "name_bytes": limits.NAME_BYTES_MAX,
    "embedding_floats": limits.EMBEDDING_FLOATS_MAX,
    "operations": limits.OPERATIONS_MAX,
    "guards": limits.GUARDS_MAX,
    "list_limit": limits.LIST_LIMIT_MAX,
    "top_k": limits.TOP_K_MAX,
    "timeout_ms": limits.TIMEOUT_MS_MAX,
    "wait_ms": limits.WAIT_MS_MAX,
    "proposals_in_flight": limits.PROPOSALS_IN_FLIGHT_MAX,
    "idempotency_keys": limits.IDEMPOTENCY_KEYS_MAX,
    "lock_ttl_ms_min": limits.LOCK_TTL_MS_MIN,
    "lock_ttl_ms": limits.LOCK_TTL_MS_MAX,
    "lock_waiters": limits.WAITERS_MAX,
    "lock_metadata_bytes": limits.LOCK_METADATA_BYTES_MAX,
    "permits": limits.PERMITS_MAX,
    "renewals": limits.RENEWALS_MAX,
    "task_claim": limits.TASK_CLAIM_MAX,
    "task_queues": limits.TASK_QUEUES_MAX,
    "task_attempts": limits.TASK_ATTEMPTS_MAX,
    "task_depends": limits.TASK_DEPENDS_MAX,
    "task_delay_ms": limits.TASK_DELAY_MS_MAX,
    "task_error_bytes": limits.TASK_ERROR_BYTES_MAX,
    "task_errors_kept": limits.TASK_ERRORS_KEPT,
    "task_keep_ms": limits.TASK_KEEP_US // 1000,
    "gate_approvers": limits.APPROVERS_MAX,
    "gate_pins": limits.PINS_MAX,
    "gate_comment_bytes": limits.GATE_COMMENT_BYTES_MAX,
    "txn_operations": limits.TXN_OPERATIONS_MAX,
    "waiting": limits.WAITING_MAX,
    "watchers": limits.WATCHERS_MAX,
}


# --- routes ---------------------------------------------------------------------------------------
async def digest(call: Call) -> Reply:
    """`GET /v1/state/digest`."""
    given = call.parameters(once=levels.TRAVEL)
    point = await call.read(levels.read_options(given, call.settings.level()))
    row = point.reader.event(point.index)
    found = GENESIS if row is None else row.digest
    return Reply(200, memory_views.encode(Digest(point.index, found.hex())), point.index, point.level)


async def cluster(call: Call) -> Reply:
    """`GET /v1/cluster`."""
    call.parameters(once=())
    status = call.service.status()
    body = Cluster(
        cluster_id=status.cluster_id,
        incarnation=status.incarnation,
        leader=status.leader_id,
        term=status.term,
        commit_index=status.commit_index,
        members=[Member(*member) for member in status.members],
        limits=_LIMITS,
    )
    return Reply(200, memory_views.encode(body))


async def livez(call: Call) -> Reply:
    """`GET /livez`: this process answers."""
    call.parameters(once=())
    return Reply(200, memory_views.encode(Live(live=True)))


async def readyz(call: Call) -> Reply:
    """`GET /readyz`: a real read at the default level."""
    given = call.parameters(once=levels.WRITE)
    options = ReadOptions(call.settings.level(), timeout_ms=levels.timeout_ms(given))
    leader = call.service.leader_id
    checks = {"leader": "ok" if leader else "no leader is known", "read": "ok"}
    index = level = None
    try:
        point = await call.read(options)
        index, level = point.index, point.level
    except RaftmemError as error:
        checks["read"] = f"{error.code}: {error}"
    ready = set(checks.values()) == {"ok"}
    return Reply(200 if ready else 503, memory_views.encode(Ready(ready, checks)), index, level)


async def document(call: Call) -> Reply:
    """`GET /openapi.json`."""
    call.parameters(once=())
    return Reply(200, call.shared.document())


async def docs(call: Call) -> Reply:
    """`GET /docs`: the document, to read and to try."""
    call.parameters(once=())
    return Reply(200, PAGE.encode(), headers=_NOTHING_FOREIGN, media_type=b"text/html; charset=utf-8")


async def metrics(call: Call) -> Reply:
    """`GET /metrics`."""
    call.parameters(once=())
    return Reply(200, call.shared.metrics(), media_type=MEDIA_TYPE)
