"""What the logic of the client asks of the world, and what it is given: the logic is generators that do no I/O.

A `Program` yields an effect and is sent what it came to. Two drivers perform effects, one on threads and one on
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
        """32 hex digits that nobody else has."""
        ...


class Flag(Protocol):
    """Raised or not; something may wait for it. Drivers know how."""

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def is_set(self) -> bool: ...


class Stream(Protocol):
    """A reply that is read as it comes. Only its driver knows what is in it."""


class Request(NamedTuple):
    """`connect_s`, `read_s`: how long to wait for the connection, and for anything to come."""

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
    """Until the flag is raised (it is lowered then) or the time is over; None: however long -> None."""

    flag: Flag
    seconds: float | None


class Open(NamedTuple):
    """Ask and read the head of the reply, all of it if it is an error -> Reply | Failed."""

    stream: Stream
    request: Request


class Read(NamedTuple):
    """What has come, b"" at the end -> bytes | Failed."""

    stream: Stream


class Shut(NamedTuple):
    """Again is nothing -> None."""

    stream: Stream


Effect = Send | Pause | Rest | Open | Read | Shut
Outcome = Reply | Failed | bytes | None
Program = Generator[Effect, Outcome, T]


class Driver(Protocol):
    """What runs programs beside the caller's own."""

    def flag(self) -> Flag: ...

    def spawn(self, program: Program[None]) -> None:
        """Run it in the background. It does not keep the process alive."""
        ...

    def call(self, callback: Callable[[], object]) -> None:
        """Call something of the user's in the background."""
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
