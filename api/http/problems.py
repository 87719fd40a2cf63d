"""Errors on the wire: `application/problem+json` (RFC 9457), one table from code to status and meaning.

The rule: every reply that is not 2xx or 304 is one of these (only `/readyz` answers 503 with its checks), and its
`detail` says the fact, the numbers and the next step. A traceback never leaves the process.
"""

from typing import Final, Literal, NamedTuple

from raftmem.errors import (
    BadRequest,
    FutureIndex,
    IndexCompacted,
    NotApplied,
    PlaceKept,
    RaftmemError,
    Stop,
    UnknownOutcome,
)

OutcomeName = Literal["not_applied", "applied", "unknown"]
MEDIA_TYPE: Final = b"application/problem+json"


class Kind(NamedTuple):
    """`retryable`: the same request with the same key may succeed later."""

    status: int
    title: str
    retryable: bool = False
    outcome: OutcomeName = "not_applied"


KINDS: Final = {
    "invalid-request": Kind(400, "The request is not valid"),
    "unknown-consistency": Kind(400, "No such read level"),
    "future-index": Kind(400, "That index does not exist yet", retryable=True),
    "forbidden": Kind(403, "The actor may not do this"),
    "not-found": Kind(404, "There is nothing here"),
    "method-not-allowed": Kind(405, "This route does not know that method"),
    "already-exists": Kind(409, "The id is taken"),
    "lock-held": Kind(409, "The lock is held", retryable=True),
    "stale-token": Kind(409, "The token is not in force"),
    "permits-mismatch": Kind(409, "The lock has another number of permits"),
    "dependency-cycle": Kind(409, "The dependencies would form a cycle"),
    "merge-type": Kind(409, "The merge does not fit what is stored"),
    "wrong-state": Kind(409, "The thing is not in a state that allows this"),
    "batch-refused": Kind(409, "Another operation of the batch was refused"),
    "index-compacted": Kind(410, "That index is no longer kept"),
    "precondition-failed": Kind(412, "A precondition was false"),
    "too-large": Kind(413, "Something is past its limit"),
    "unsupported-media-type": Kind(415, "The body must be JSON"),
    "idempotency-key-reused": Kind(422, "The Idempotency-Key belongs to another request"),
    "too-many-requests": Kind(429, "Too much work is in flight", retryable=True),
    "internal": Kind(500, "A defect of this service", outcome="unknown"),
    "no-leader": Kind(503, "No leader is known", retryable=True),
    "no-quorum": Kind(503, "A majority did not confirm in time", retryable=True),
    "too-stale": Kind(503, "This replica cannot prove to be fresh enough", retryable=True),
    "overloaded": Kind(503, "This replica has no room for more", retryable=True),
    "shutting-down": Kind(503, "This replica is shutting down", retryable=True),
    "corrupt": Kind(503, "This replica has stopped"),
    "unknown-outcome": Kind(504, "Nobody knows yet whether this was applied", retryable=True, outcome="unknown"),
    "consistency-timeout": Kind(504, "The read did not reach its level in time", retryable=True),
    "no-space": Kind(507, "The disk is nearly full", retryable=True),
}

_RETRY_AFTER_MS: Final = {"too-many-requests": 1000, "unknown-outcome": 1000, "consistency-timeout": 200}


class Problem(RaftmemError):
    """A reply that is an error. `index`: the log index it reflects, when something was evaluated.

    `extra`: members beside the standard ones, in order. `headers`: beside the common ones.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        index: int | None = None,
        extra: dict[str, object] | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.kind = KINDS[code]
        self.detail = detail
        self.index = index
        self.extra = extra or {}
        self.headers = headers
        retry_after_ms = self.extra.get("retry_after_ms", _RETRY_AFTER_MS.get(code))
        if isinstance(retry_after_ms, int):
            self.extra["retry_after_ms"] = retry_after_ms
            self.headers += ((b"retry-after", str(-(-retry_after_ms // 1000)).encode()),)

    def body(self, *, instance: str, request_id: str) -> dict[str, object]:
        """The members of the problem document, in the order of the contract."""
        return {
            "type": f"urn:raftmem:error:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "retryable": self.kind.retryable,
            "outcome": self.kind.outcome,
            "request_id": request_id,
            **self.extra,
        }


def from_error(error: RaftmemError) -> Problem:
    """One of our errors as a problem. Every `Stop` shows as `corrupt`."""
    if isinstance(error, Problem):
        return error
    extra: dict[str, object] = {}
    code = error.code
    if isinstance(error, BadRequest):
        if error.parameter is not None:
            extra["parameter"] = error.parameter
        if isinstance(error, FutureIndex):
            extra["commit_index"] = error.commit_index
    elif isinstance(error, IndexCompacted):
        extra["oldest_index"] = error.oldest_index
    elif isinstance(error, NotApplied) and KINDS[code].retryable:
        extra["retry_after_ms"] = error.retry_after_ms
    elif isinstance(error, PlaceKept):
        problem = Problem(code, str(error), extra={"retry_after_ms": error.retry_after_ms})
        problem.kind = problem.kind._replace(outcome="unknown")
        return problem
    elif isinstance(error, Stop):
        code = "corrupt"
    elif isinstance(error, UnknownOutcome):
        return Problem(code, str(error) or "the entry may or may not be applied; retry with the same Idempotency-Key")
    return Problem(code, str(error) or KINDS[code].title, extra=extra)


def not_found(detail: str, *, index: int | None = None, **extra: object) -> Problem:
    return Problem("not-found", detail, index=index, extra=extra)


def unknown_consistency(given: str, allowed: list[str]) -> Problem:
    detail = f"consistency={given} is not one of {', '.join(allowed)}"
    return Problem("unknown-consistency", detail, extra={"parameter": "consistency", "allowed": allowed})


def method_not_allowed(method: str, allowed: list[str]) -> Problem:
    shown = ", ".join(allowed)
    detail = f"{method} is not one of the methods of this route: {shown}"
    return Problem("method-not-allowed", detail, headers=((b"allow", shown.encode()),))


def internal(request_id: str, *, write: bool) -> Problem:
    """`write`: the request might have changed something before it failed."""
    problem = Problem("internal", f"this replica failed at the request; its log says why under {request_id}")
    problem.kind = problem.kind._replace(outcome="unknown" if write else "not_applied")
    return problem
