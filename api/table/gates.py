"""The routes of gates, and the transaction over all kinds."""

from typing import Final

from raftmem.api.requests import coordination_bodies as bodies
from raftmem.api.requests.transaction_bodies import TxnBody
from raftmem.api.responses import coordination_replies as replies
from raftmem.api.responses import coordination_views as views
from raftmem.api.routes import gates, transactions
from raftmem.api.schema.parts import (
    AS_OF_NOW,
    BODY_WRITE_ERRORS,
    MEMORY_ERRORS,
    PAGE,
    READ,
    READ_ERRORS,
    WRITE,
    WRITE_HEADERS,
    Operation,
)
from raftmem.api.table.route import Route

GATES: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/v1/gates",
        gates.many,
        verb="gate.read",
        spec=Operation(
            f"List gates, oldest first. {AS_OF_NOW}",
            {200: ("A page.", replies.GateList)},
            (*PAGE, "prefix"),
            errors=READ_ERRORS,
        ),
    ),
    Route(
        "PUT",
        "/v1/gates/{name}",
        gates.put,
        verb="gate.put",
        spec=Operation(
            "Define a gate. Another definition, or one of a gate that was consumed, drops its approvals; the same "
            "one is a "
            "NOOP.",
            {201: ("Made.", replies.GateChanged), 200: ("Defined anew, or as it was.", replies.GateChanged)},
            WRITE,
            bodies.GateBody,
            BODY_WRITE_ERRORS,
            WRITE_HEADERS,
        ),
    ),
    Route(
        "GET",
        "/v1/gates/{name}",
        gates.one,
        verb="gate.read",
        spec=Operation(
            "Read one gate; with `wait_ms` as soon as it is open, or when the time is over.",
            {200: ("The gate.", views.GateView)},
            (*READ, "wait_ms"),
            errors=(*READ_ERRORS, "not-found", "too-many-requests"),
        ),
    ),
    Route(
        "POST",
        "/v1/gates/{name}/approve",
        gates.approve,
        verb="gate.approve",
        spec=Operation(
            "Approve, as the actor of this request; one approver counts once.",
            {200: ("The gate with the approval.", replies.GateChanged)},
            WRITE,
            bodies.ApproveBody,
            (*BODY_WRITE_ERRORS, "forbidden"),
            WRITE_HEADERS,
            body_required=False,
        ),
    ),
    Route(
        "POST",
        "/v1/gates/{name}/revoke",
        gates.revoke,
        verb="gate.approve",
        spec=Operation(
            "Take one's own approval back.",
            {200: ("The gate without it.", replies.GateChanged)},
            WRITE,
            bodies.BareBody,
            BODY_WRITE_ERRORS,
            WRITE_HEADERS,
            body_required=False,
        ),
    ),
    Route(
        "POST",
        "/v1/gates/{name}/consume",
        gates.consume,
        verb="gate.consume",
        spec=Operation(
            "Go through an open gate, once: it is closed then until it is defined anew.",
            {200: ("Consumed by this request.", replies.GateChanged)},
            WRITE,
            bodies.BareBody,
            BODY_WRITE_ERRORS,
            WRITE_HEADERS,
            body_required=False,
        ),
    ),
)

TRANSACTIONS: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/v1/txn",
        transactions.txn,
        verb="per-operation",
        spec=Operation(
            "If every guard is true the operations of `then`, else those of `else`: whole or not at all, as one entry. "
            "Later operations see earlier ones; one operation on each lock in an arm. A lock is shown as it stands "
            "now.",
            {200: ("What came of the arm that ran.", replies.TxnWritten)},
            WRITE,
            TxnBody,
            (
                *BODY_WRITE_ERRORS,
                *MEMORY_ERRORS,
                "lock-held",
                "stale-token",
                "permits-mismatch",
                "dependency-cycle",
                "forbidden",
            ),
            WRITE_HEADERS,
        ),
    ),
)
