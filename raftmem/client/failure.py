"""The end of one attempt of a task: how a handler's result or exception becomes what the service is told.

The rules: each exception becomes a failure that can be told, whatever its class, its text or its attributes are, and
nothing here raises. An exception group counts as what is in it. Text that is no UTF-8 is escaped; long text is cut.
"""

import contextlib
import logging
import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from raftmem.client.errors import LeaseLost, RaftmemClientError, TaskCancelled
from raftmem.client.portable import PortableError

_log = logging.getLogger("raftmem.client")
_MESSAGE_MAX: Final = 600  # characters: fits the service's bound of 4,096 bytes however JSON spells them
_TYPE_MAX: Final = 100
_LEAVES_MAX: Final = 100  # exceptions of one group that are looked at
_LEAVES_SHOWN: Final = 5
_NO_TEXT: Final = "(the text of this exception cannot be made)"


class Retry(PortableError):
    """A handler raises it: this attempt failed, and the next one begins after `delay` seconds.

    `delay` None: the task's backoff decides. Raises: TypeError unless `delay` is a number, ValueError unless it is
    finite and not negative.
    """

    def __init__(self, delay: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "the handler asked for another attempt")
        self.delay = checked_delay(delay)


class NonRetryable(PortableError):
    """A handler raises it: another attempt would not help, so the task is dead."""


class Done(NamedTuple):
    result: object


class Failure(NamedTuple):
    error: object
    retryable: bool = True
    delay: float | None = None


class GivenBack(NamedTuple):
    """The attempt does not count."""


End = Done | Failure | GivenBack


def checked_delay(delay: object) -> float | None:
    """Raises: TypeError, ValueError."""
    if delay is None:
        return None
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        raise TypeError(
            f"Retry(delay) takes seconds as a number, not {type(delay).__name__}; "
            "of a timedelta give total_seconds(), and a reason as reason="
        )
    if not math.isfinite(delay) or delay < 0:
        raise ValueError(f"Retry(delay) takes finite seconds, 0 or more, not {delay}")
    return delay


def end_of(error: BaseException, *, is_over: bool) -> End:
    """The end of an attempt whose handler raised `error`. `is_over`: the task was cancelled, or its claim is lost."""
    try:
        return _end_of(error, is_over=is_over)
    except BaseException:  # noqa: BLE001  code of the exception itself ran, and failed
        return Failure({"type": "Exception", "message": _NO_TEXT})


def _end_of(error: BaseException, *, is_over: bool) -> End:
    leaves = list(_leaves(error))
    if is_over and all(isinstance(leaf, TaskCancelled | LeaseLost) for leaf in leaves):
        return GivenBack()
    told = described(error)
    if any(isinstance(leaf, NonRetryable) for leaf in leaves):
        return Failure(told, retryable=False)
    if all(isinstance(leaf, Retry) for leaf in leaves):
        try:
            delays = [checked_delay(getattr(leaf, "delay", None)) for leaf in leaves]
        except (TypeError, ValueError) as refused:  # it was changed after it was made
            return Failure({**told, "message": f"{told['message']} ({text_of(refused)})"})
        known = [delay for delay in delays if delay is not None]
        return Failure(told, delay=max(known, default=None))
    return Failure(told)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, depth first; of another exception, that one."""
    waiting, left = [error], _LEAVES_MAX
    while waiting and left:
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(reversed(one.exceptions))
        else:
            left -= 1
            yield one


def described(error: BaseException) -> dict[str, str]:
    """`type` and `message`, both UTF-8 and short."""
    message = text_of(error)
    if isinstance(error, BaseExceptionGroup):
        shown = [f"{type(leaf).__name__}: {text_of(leaf)}" for leaf in list(_leaves(error))[:_LEAVES_SHOWN]]
        message = f"{message}: {'; '.join(shown)}"
    return {"type": plain(type(error).__name__, _TYPE_MAX), "message": plain(message, _MESSAGE_MAX)}


def text_of(error: BaseException) -> str:
    """`str(error)`, or what can be had instead of it."""
    try:
        return plain(str(error), _MESSAGE_MAX)
    except BaseException:  # noqa: BLE001  `__str__` is the user's code
        return _NO_TEXT


def plain(text: str, most: int) -> str:
    """UTF-8 of at most `most` characters; what is no UTF-8 stands there as an escape."""
    start = str.__getitem__(text, slice(0, most))  # a subclass of str may do anything
    return str.encode(start, "utf-8", "backslashreplace").decode()[:most]


def has_failed(task_id: str, error: BaseException) -> None:
    """Log an exception that the handler did not raise on purpose. A log that fails stops nothing."""
    if isinstance(error, Retry | NonRetryable | RaftmemClientError):
        return
    with contextlib.suppress(Exception):  # a handler or a filter of the log is the user's code
        _log.error("the handler of task %s has failed", task_id, exc_info=error)
