"""Errors of the client, sorted by what the caller should do next.

Each error has `detail` (the fact, with its numbers) and `hint` (the next step); its text is both. `problem` is the
document that the service sent; it is empty where this library decided. The rule: an error of a write other than
`WriteOutcomeUnknown` means that the write was not applied. Errors survive pickle and copy: they are equal afterwards.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, TypeVar

import msgspec

from raftmem.client.coordination_shapes import Holder
from raftmem.client.portable import PortableError

Problem = Mapping[str, object]
_T = TypeVar("_T")


class RaftmemClientError(PortableError):
    """Root of the errors.

    `code`: the stable name of a problem. `index`: the index of the log that the reply names, if it does.
    `after_unknown`: an earlier attempt of the same call may have been applied. `hint`: the next step, in words.
    """

    hint: str = "read the detail and the problem document; nothing was applied"
    _hint_in_text: ClassVar[bool] = False  # the service's own details say the next step already
    after_unknown: bool = False

    def __init__(self, detail: str, *, problem: Problem | None = None, index: int | None = None) -> None:
        super().__init__(f"{detail}: {self.hint}" if self._hint_in_text else detail)
        self.detail = detail
        self.problem: Problem = dict(problem or {})
        self.index = index

    @property
    def code(self) -> str:
        return _get(self.problem, "code", str) or ""

    @property
    def failed_seq(self) -> int | None:
        """The place of the refused operation in its batch or transaction."""
        return _get(self.problem, "failed_seq", int)

    @property
    def current(self) -> object:
        """The present state of the object, if the service tells it."""
        return self.problem.get("current")


# --- change the request -----------------------------------------------------------------------------
class BadRequest(RaftmemClientError):
    """The request can never succeed as it is. `parameter` names the wrong field."""

    hint = "change the request; parameter names the field"

    @property
    def parameter(self) -> str | None:
        return _get(self.problem, "parameter", str)


class Forbidden(RaftmemClientError):
    """This actor may not do that."""

    hint = "ask as an actor that may do that"


class NotFound(RaftmemClientError):
    """The object does not exist, or it is deleted or expired."""

    hint = "check the id, or create it first"


class TooLarge(RaftmemClientError):
    """The request is past a limit of the service."""

    hint = "send less: split it, or store it elsewhere and keep a reference"


class FutureIndex(BadRequest):
    """That index does not exist yet."""

    hint = "wait for that index, or use one that a reply has named"


class IndexCompacted(RaftmemClientError):
    """That index is no longer kept."""

    hint = "read the state as it is now and go on from its index"
    _hint_in_text = True

    @property
    def oldest_index(self) -> int | None:
        return _get(self.problem, "oldest_index", int)


class PreconditionFailed(RaftmemClientError):
    """A guard was false, so nothing was applied."""

    hint = "read again, decide again"

    @property
    def failed(self) -> list[dict[str, object]]:
        """Each false guard with the present state: `{guard, current}`."""
        return _get(self.problem, "failed", list[dict[str, object]]) or []


# --- look at the present state, decide again -- -----------------------------------------------------------
class Conflict(RaftmemClientError):
    """The request does not fit the present state."""

    hint = "read the present state, decide again"


class AlreadyExists(Conflict):
    """The id is taken."""

    hint = "use another id, or change the one that exists"


class LockHeld(Conflict):
    """Another owner holds the lock (or others hold all its permits)."""

    hint = "wait for it (wait=), or try again later"

    @property
    def holders(self) -> list[Holder]:
        return _get(self.problem, "holders", list[Holder]) or []

    @property
    def remaining_ms(self) -> int | None:
        """Milliseconds until the first hold expires, unless it is renewed."""
        return _get(self.problem, "remaining_ms", int)

    @property
    def queue_length(self) -> int | None:
        return _get(self.problem, "queue_length", int)


class StaleToken(Conflict):
    """That hold or claim is over. Its token never becomes valid again."""

    hint = "stop what relied on it"
    _hint_in_text = True

    @property
    def current_token(self) -> int | None:
        """The token in force now; None: nobody holds it."""
        return _get(self.problem, "current_token", int)


class LeaseLost(Conflict):
    """A hold of this process is over, or this process cannot know that it still lasts."""

    hint = "stop what relied on it; guarded writes with its token are refused from then on"
    _hint_in_text = True

    def __init__(self, name: str, token: int, reason: str) -> None:
        super().__init__(f"{name} is no longer surely held with token {token} ({reason})")
        self.name = name
        self.token = token
        self.reason = reason


class PermitsMismatch(Conflict):
    """The semaphore is in use with another number of permits."""

    hint = "use the number of permits that the others use"


class WrongState(Conflict):
    """The state of the object does not allow this."""

    hint = "read its state, decide again"


class DependencyCycle(Conflict):
    """The task would wait for itself. `path` shows the cycle."""

    hint = "leave out a dependency of the path"

    @property
    def path(self) -> object:
        return self.problem.get("path")


class MergeType(Conflict):
    """The merge does not fit what is stored at `path`."""

    hint = "read what is stored at the path, or replace the field"

    @property
    def path(self) -> object:
        return self.problem.get("path")


class TaskCancelled(RaftmemClientError):
    """`check()` raises it inside a handler whose task was cancelled."""

    hint = "let it pass: the worker gives the task back"

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} was cancelled")


# --- not applied, and tried until the deadline ----------------------------------------------------------
class TooManyRequests(RaftmemClientError):
    """The service is at one of its bounds (requests in flight, a queue)."""

    hint = "ask less often, or later"
    _hint_in_text = True


class NoSpace(RaftmemClientError):
    """The disk of the replica is nearly full. Reads and deletes go on."""

    hint = "free disk space or delete memories, then try again"


class NoLeader(RaftmemClientError):
    """No replica leads: an election is under way, or a majority is down."""

    hint = "try again later; nothing was applied"
    _hint_in_text = True


class NoQuorum(RaftmemClientError):
    """A majority did not confirm in time."""

    hint = "try again later, or read with consistency='eventual'"
    _hint_in_text = True


class ReadTimeout(RaftmemClientError):
    """No replica reached the level that the read asked for in time."""

    hint = "try again, or read at a weaker level"
    _hint_in_text = True


class WaitTimeout(RaftmemClientError):
    """The awaited event did not come within the given time."""

    hint = "wait again, or longer"


class Unreachable(RaftmemClientError):
    """No endpoint answered. `reasons`: by endpoint."""

    hint = "is the group running, and are these its addresses?"
    _hint_in_text = True

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{endpoint}: {reason}" for endpoint, reason in reasons.items()))
        self.reasons = dict(reasons)


# --- nobody knows ---------------------------------------------------------------------------------------
class WriteOutcomeUnknown(RaftmemClientError):
    """The write may have been applied, or may be applied later.

    `key`: the same call with this key is applied once at most. `reason`: why nobody knows.
    """

    def __init__(self, detail: str, *, key: str | None, problem: Problem | None = None) -> None:
        again = f"with key={key!r} it is not applied twice" if key else "as the same owner it is harmless"
        self.hint = f"ask again, {again}"
        super().__init__(f"outcome unknown: {detail}", problem=problem)
        self.args = (f"{self.detail}; {self.hint}",)
        self.reason = detail
        self.key = key


# --- the service itself ---------------------------------------------------------------------------------
class ServerError(RaftmemClientError):
    """The service failed, or something other than the service answered."""

    hint = "read the log of that replica; check the address"


class ClusterChanged(RaftmemClientError):
    """The group was restored meanwhile. Its indexes begin anew and do not continue those seen before."""

    hint = "read the state as it is now and begin again"
    _hint_in_text = True

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
    """The error of a problem document, also of one inside a reply, such as a refused item of a batch."""
    code, detail = _get(problem, "code", str) or "", _get(problem, "detail", str) or ""
    status = _get(problem, "status", int) or 500
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, BadRequest if status < 500 else ServerError)
    return kind(detail or f"the service answered {status} {code}".rstrip(), problem=problem, index=index)


def of_reply(status: int, body: bytes, *, index: int | None, endpoint: str) -> RaftmemClientError:
    """The error of a reply. A body that is no problem document does not come from the service."""
    try:
        problem = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
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
