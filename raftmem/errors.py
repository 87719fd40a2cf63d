"""The whole error tree, sorted by what the caller should do next.

Refusals of the domain (a false guard, a duplicate id) are not here: they are outcomes, written in the log.
Every error says the fact, the numbers and the next step, in that order.

Want of disk or of descriptors stays an `OSError` (`shortage`): nothing was changed, the same call may succeed later.
"""

import errno
from typing import Final

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})


class RaftmemError(Exception):
    """Root. `code` is the stable name used in problem documents and by the command line."""

    code = "internal"


# --- the caller must change the request ------------------------------------------------------
class BadRequest(RaftmemError):
    """The request can never succeed as it is. `parameter` names the place."""

    code = "invalid-request"

    def __init__(self, detail: str, *, parameter: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.parameter = parameter


class FutureIndex(BadRequest):
    """`at` lies above the commit index."""

    code = "future-index"

    def __init__(self, at: int, commit_index: int) -> None:
        super().__init__(
            f"index {at} is above the commit index {commit_index}; ask for an index that exists",
            parameter="at",
        )
        self.commit_index = commit_index


class IndexCompacted(RaftmemError):
    """`at` lies below what is kept."""

    code = "index-compacted"

    def __init__(self, index: int, oldest_index: int) -> None:
        super().__init__(f"index {index} is below the oldest kept index {oldest_index}")
        self.index = index
        self.oldest_index = oldest_index


class TooLarge(RaftmemError):
    """Something is past its limit in `limits.py`."""

    code = "too-large"


# --- not done; the same request may succeed later or elsewhere ---------------------------------
class NotApplied(RaftmemError):
    """Certainly not applied, and never will be."""

    retry_after_ms = 200


class NoLeader(NotApplied):
    """No leader is known, or the one that was asked has stepped down before it took the entry."""

    code = "no-leader"


class NoQuorum(NotApplied):
    """A leader is known but a majority did not confirm in time (reads only)."""

    code = "no-quorum"


class TooManyRequests(NotApplied):
    """A stated bound on work in flight is reached."""

    code = "too-many-requests"
    retry_after_ms = 100


class Overloaded(NotApplied):
    """This replica has no room for more connections or bytes; another one may."""

    code = "overloaded"
    retry_after_ms = 1000


class NoSpace(NotApplied):
    """Free disk is below the low-water mark: said before the entry enters the log."""

    code = "no-space"
    retry_after_ms = 1000


class ShuttingDown(NotApplied):
    """This replica is leaving; another will answer."""

    code = "shutting-down"


class PlaceKept(RaftmemError):
    """This replica is leaving, but the place that a request has in the queue of a lock stays and may yet be served."""

    code = "shutting-down"
    retry_after_ms = 200


class WrongState(NotApplied):
    """The request does not fit the present state: the member is gone, or its removal would lose the majority."""

    code = "wrong-state"


class ChangeUnderWay(NotApplied):
    """A change of the membership waits for an earlier one; the same request will do when that is committed.

    Callers wait for it; a caller that has waited too long gets wrong-state.
    """

    code = "change-under-way"


class NotFound(NotApplied):
    """The named member does not exist (a missing memory is an outcome, not an error)."""

    code = "not-found"


class TooStale(NotApplied):
    """A bounded read could not be confirmed to be fresh enough."""

    code = "too-stale"


class ConsistencyTimeout(RaftmemError):
    """A read could not reach the level that was asked for within its timeout."""

    code = "consistency-timeout"


# --- nobody knows ------------------------------------------------------------------------------
class UnknownOutcome(RaftmemError):
    """The entry may or may not be applied later: retry with the same Idempotency-Key."""

    code = "unknown-outcome"


# --- this replica must stop ----------------------------------------------------------------------
class Stop(RaftmemError):
    """The replica cannot go on: it says why and ends. Another one serves; nothing is skipped."""

    code = "corrupt"


class Corrupt(Stop):
    """The bytes on disk are not those that were written. `index`: the log index, if there is one."""

    def __init__(self, path: str, what: str, *, index: int | None = None) -> None:
        where = f" at index {index}" if index is not None else ""
        super().__init__(f"{path}: {what}{where}; this replica stops, replace it from the others")
        self.path = path
        self.what = what
        self.index = index


class CutShort(Corrupt):
    """The end of a database is gone, and with it pages that are in use. A state can be made again, a log cannot."""


class FolderRefused(Stop):
    """The data folder belongs to another node, cluster or process, or needs an explicit bootstrap."""

    code = "folder-refused"


class Removed(Stop):
    """The group has removed this replica: it serves nobody any more, and never comes back under its id."""

    code = "removed"


class StorageFailed(Stop):
    """A write or an fsync failed. A failed fsync is never retried (fsyncgate): the page may be gone."""

    code = "storage-failed"


class RestartNeeded(StorageFailed):
    """A write failed so that this process cannot go on; what is on disk is whole, so that the next one can."""


# --- want of disk or of descriptors ----------------------------------------------------------------
def is_no_room(error: BaseException) -> bool:
    """True for a full disk or quota."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def is_no_descriptor(error: BaseException) -> bool:
    """True if this process, or the machine, has as many open files as it may."""
    return isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR


def is_shortage(error: BaseException) -> bool:
    """True for want of disk or of descriptors: try again later."""
    return is_no_room(error) or is_no_descriptor(error)


def shortage(path: str, code: int, cause: object) -> OSError | None:
    """The error to raise for an error number of the system that means a shortage; None for any other number."""
    if code in _NO_ROOM:
        return OSError(errno.ENOSPC, f"no room left ({cause}); free some disk space", path)
    if code in _NO_DESCRIPTOR:
        return OSError(code, f"no open files left ({cause}); close some connections, or raise the limit", path)
    return None
