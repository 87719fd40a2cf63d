"""What a call can come to that is not its answer, sorted by what the caller should do next.

Every error says the fact, the numbers and the next step; `problem` is the document that the service sent (empty where
this library decided). The rule: an error other than `WriteOutcomeUnknown` of a write means that it was not applied.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, TypeVar

import msgspec

from raftmem.client.coordination_shapes import Holder

Problem = Mapping[str, object]
_T = TypeVar("_T")


class RaftmemClientError(Exception):
    """Root. `code`: the stable name of a problem. `index`: where the log says so, if it does. `after_unknown`: an
    earlier attempt of the same call may have been applied."""

    advice: ClassVar[str] = ""
    after_unknown: bool = False

    def __init__(self, detail: str, *, problem: Problem | None = None, index: int | None = None) -> None:
        super().__init__(f"{detail}: {self.advice}" if self.advice else detail)
        self.detail = detail
        self.problem: Problem = problem or {}
        self.index = index

    @property
    def code(self) -> str:
        return _get(self.problem, "code", str) or ""

    @property
    def failed_seq(self) -> int | None:
        """Of a batch or a transaction: the place of the operation that was refused."""
        return _get(self.problem, "failed_seq", int)

    @property
    def current(self) -> object:
        """How the thing stands, where the service says so."""
        return self.problem.get("current")


# --- change the request -----------------------------------------------------------------------------
class BadRequest(RaftmemClientError):
    """It can never succeed as it is. `parameter` names the place."""

    @property
    def parameter(self) -> str | None:
        return _get(self.problem, "parameter", str)


class Forbidden(RaftmemClientError):
    """This actor may not do that."""


class NotFound(RaftmemClientError):
    """There is no such thing, or it is deleted or expired."""


class TooLarge(RaftmemClientError):
    """Past a limit of the service."""


class FutureIndex(BadRequest):
    """That index does not exist yet."""


class IndexCompacted(RaftmemClientError):
    """That index is no longer kept."""

    advice = "read the state as it is now and go on from its index"

    @property
    def oldest_index(self) -> int | None:
        return _get(self.problem, "oldest_index", int)


class PreconditionFailed(RaftmemClientError):
    """A guard was false; nothing was applied. Read again, decide again."""

    @property
    def failed(self) -> list[dict[str, object]]:
        """Every false guard with the truth: `{guard, current}`."""
        return _get(self.problem, "failed", list[dict[str, object]]) or []


# --- it stands in the way of how things are -----------------------------------------------------------
class Conflict(RaftmemClientError):
    """What was asked does not fit how things stand."""


class AlreadyExists(Conflict):
    """The id is taken."""


class LockHeld(Conflict):
    """Somebody else has it (or all its permits)."""

    @property
    def holders(self) -> list[Holder]:
        return _get(self.problem, "holders", list[Holder]) or []

    @property
    def remaining_ms(self) -> int | None:
        """Until the first holder runs out, if it does not renew."""
        return _get(self.problem, "remaining_ms", int)

    @property
    def queue_length(self) -> int | None:
        return _get(self.problem, "queue_length", int)


class StaleToken(Conflict):
    """That hold or claim is over; the token will never be good again."""

    advice = "stop what relied on it"

    @property
    def current_token(self) -> int | None:
        """The token that holds it now; None: free, or nobody's."""
        return _get(self.problem, "current_token", int)


class LeaseLost(Conflict):
    """A hold of this process is over, or its holder can no longer know that it is not."""

    advice = "stop what relied on it; guarded writes with its token are refused from then on"

    def __init__(self, name: str, token: int, reason: str) -> None:
        super().__init__(f"{name} is no longer surely held with token {token} ({reason})")
        self.name = name
        self.token = token
        self.reason = reason


class PermitsMismatch(Conflict):
    """The semaphore is in use with another number of permits."""


class WrongState(Conflict):
    """The thing is not in a state that allows this."""


class DependencyCycle(Conflict):
    """The task would wait for itself. `path` shows how."""

    @property
    def path(self) -> object:
        return self.problem.get("path")


class MergeType(Conflict):
    """The merge does not fit what is stored at `path`."""

    @property
    def path(self) -> object:
        return self.problem.get("path")


class TaskCancelled(RaftmemClientError):
    """Raised by `check()` inside a handler whose task somebody has cancelled. Let it pass."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} was cancelled")


# --- not applied, and tried until the deadline ----------------------------------------------------------
class TooManyRequests(RaftmemClientError):
    """A bound of the service is reached (requests in flight, a queue)."""

    advice = "ask less often, or later"


class NoSpace(RaftmemClientError):
    """The disk of the replica is nearly full; reads and deletes go on."""


class NoLeader(RaftmemClientError):
    """No replica leads: an election is under way, or a majority is down."""

    advice = "try again later; nothing was applied"


class NoQuorum(RaftmemClientError):
    """A majority did not confirm in time."""

    advice = "try again later, or read with consistency='eventual'"


class ReadTimeout(RaftmemClientError):
    """No replica reached the level that the read asked for in time."""

    advice = "try again, or read at a weaker level"


class WaitTimeout(RaftmemClientError):
    """What was waited for did not come in the time given."""


class Unreachable(RaftmemClientError):
    """No endpoint answered. `reasons`: by endpoint."""

    advice = "is the group running, and are these its addresses?"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{endpoint}: {reason}" for endpoint, reason in reasons.items()))
        self.reasons = dict(reasons)


# --- nobody knows ---------------------------------------------------------------------------------------
class WriteOutcomeUnknown(RaftmemClientError):
    """The write may have been applied, or may yet be. `key`: ask again with it, and it is done once at most. `reason`:
    the fact alone."""

    def __init__(self, detail: str, *, key: str | None, problem: Problem | None = None) -> None:
        again = f"with key={key!r} it is not applied twice" if key else "as the same owner it is harmless"
        super().__init__(f"outcome unknown: {detail}; ask again, {again}", problem=problem)
        self.reason = detail
        self.key = key


# --- the service itself ---------------------------------------------------------------------------------
class ServerError(RaftmemClientError):
    """The service failed, or something that is not the service answered."""


class ClusterChanged(RaftmemClientError):
    """The group was restored since: its indexes begin anew and do not continue the ones seen."""

    advice = "read the state as it is now and begin again"

    def __init__(self, was: str, now: str) -> None:
        super().__init__(f"the cluster was {was} and is {now}")
        self.was = was
        self.now = now


_BY_CODE: Final[dict[str, type[RaftmemClientError]]] = {
    "future-index": FutureIndex,
    "forbidden": Forbidden,
    "unauthenticated": Forbidden,
    "not-found": NotFound,
    "already-exists": AlreadyExists,
    "lock-held": LockHeld,
    "stale-token": StaleToken,
    "permits-mismatch": PermitsMismatch,
    "merge-type": MergeType,
    "dependency-cycle": DependencyCycle,
    "wrong-state": WrongState,
    "index-compacted": IndexCompacted,
    "precondition-failed": PreconditionFailed,
    "too-large": TooLarge,
    "too-many-requests": TooManyRequests,
    "no-leader": NoLeader,
    "shutting-down": NoLeader,
    "no-quorum": NoQuorum,
    "too-stale": NoQuorum,
    "consistency-timeout": ReadTimeout,
    "no-space": NoSpace,
}
_BY_STATUS: Final[dict[int, type[RaftmemClientError]]] = {
    400: BadRequest,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    422: BadRequest,
    429: TooManyRequests,
    503: NoLeader,
    507: NoSpace,
}


def of_problem(problem: Problem, *, index: int | None = None) -> RaftmemClientError:
    """The error that a problem document tells (also one inside a reply, such as a refused item of a batch)."""
    code, detail = _get(problem, "code", str) or "", _get(problem, "detail", str) or ""
    status = _get(problem, "status", int) or 500
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, BadRequest if status < 500 else ServerError)
    return kind(detail or f"the service answered {status} {code}".rstrip(), problem=problem, index=index)


def of_reply(status: int, body: bytes, *, index: int | None, endpoint: str) -> RaftmemClientError:
    """The error that a reply tells. A body that is no problem document is not of the service."""
    try:
        problem = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.DecodeError:
        problem = {}
    if "code" not in problem:
        start = body[:200].decode("utf-8", "replace")
        return ServerError(f"{endpoint} answered {status} and not as a raftmem replica does: {start!r}")
    return of_problem(problem, index=index)


def _get(problem: Problem, name: str, kind: type[_T]) -> _T | None:
    try:
        return msgspec.convert(problem.get(name), kind)
    except msgspec.ValidationError:
        return None
