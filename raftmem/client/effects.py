"""Effects: the requests of the client's logic to the outside world. The logic is generators that do no I/O.

A `Program` yields an effect and is sent its outcome. Two drivers perform effects, one on threads and one on
asyncio; everything else is written once. The rule: nothing here or in a program reads a clock, sleeps, draws a random
number, starts a thread or opens a socket, except through these.
"""

from collections.abc import Callable, Generator, Mapping
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    def now(self) -> float:
        """Seconds, monotonic, counting the time that the machine was suspended."""
        ...


class Randomness(Protocol):
    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def text(self) -> str:
        """32 hex digits, unique in the world."""
        ...


class Flag(Protocol):
    """A flag that is raised or not. Each driver has its own way to wait for one."""

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def is_set(self) -> bool: ...


class Stream(Protocol):
    """A reply that is read while it comes. Its contents belong to its driver."""


class Request(NamedTuple):
    """`connect_s`, `read_s`: the longest wait for the connection, and for the next bytes."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    content: bytes | None
    connect_s: float
    read_s: float


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Failed(NamedTuple):
    """No reply. `sent`: the request may have reached the replica."""

    reason: str
    sent: bool


class Send(NamedTuple):
    """Ask and read the whole reply -> Reply | Failed."""

    request: Request


class Pause(NamedTuple):
    """Let time pass -> None."""

    seconds: float


class Rest(NamedTuple):
    """Wait until the flag is raised, then lower it; `seconds` None: without a limit -> None."""

    flag: Flag
    seconds: float | None


class Open(NamedTuple):
    """Ask and read the head of the reply, all of it if it is an error -> Reply | Failed."""

    stream: Stream
    request: Request


class Read(NamedTuple):
    """The next bytes of the stream, b"" at its end -> bytes | Failed."""

    stream: Stream


class Shut(NamedTuple):
    """Close the stream; closing it again does nothing -> None."""

    stream: Stream


Effect = Send | Pause | Rest | Open | Read | Shut
Outcome = Reply | Failed | bytes | None
Program = Generator[Effect, Outcome, T]


class Driver(Protocol):
    """Runs programs in the background."""

    def flag(self) -> Flag: ...

    def spawn(self, program: Program[None]) -> None:
        """Run it in the background. It does not keep the process alive."""
        ...

    def call(self, callback: Callable[[], object]) -> None:
        """Call a function of the user in the background."""
        ...


def send(request: Request) -> Program[Reply | Failed]:
    got = yield Send(request)
    assert isinstance(got, Reply | Failed)
    return got


def open_stream(stream: Stream, request: Request) -> Program[Reply | Failed]:
    got = yield Open(stream, request)
    assert isinstance(got, Reply | Failed)
    return got


def read(stream: Stream) -> Program[bytes | Failed]:
    got = yield Read(stream)
    assert isinstance(got, bytes | Failed)
    return got
