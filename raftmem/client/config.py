"""The settings of a client: what both clients take, checked once, and the parts that come from outside."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

import httpx

from raftmem import __version__
from raftmem.client.effects import Clock, Failed, Randomness
from raftmem.client.endpoints import Endpoints
from raftmem.client.plan import Level, Pairs
from raftmem.client.retry import Caller, Patience
from raftmem.client.session import Session
from raftmem.client.values import header, header_name, seconds

_BOOTTIME: Final = getattr(time, "CLOCK_BOOTTIME", None)
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
KEEP_ALIVE_S: Final = 30.0  # an idle connection; shorter than the service keeps one
_PROBE_S: Final = 5  # a connection on which nothing comes is probed, so that a dead host is noticed


@dataclass(frozen=True)
class Config:
    """`timeout`: of one call, with all its attempts, seconds."""

    endpoints: Endpoints
    session: Session
    randomness: Randomness
    headers: Pairs
    timeout: float
    connect_timeout: float
    actor: str | None

    def shown(self, kind: str, index: int) -> str:
        """The `repr` of a client: no header and no password."""
        return f"{kind}({str(self.endpoints)!r}, actor={self.actor!r}, index={index})"

    def caller(self, clock: Clock) -> Caller:
        return Caller(
            self.endpoints,
            self.session,
            clock,
            self.randomness,
            headers=self.headers,
            patience=Patience(self.timeout),
            connect_s=self.connect_timeout,
        )


def configured(
    endpoints: Endpoints,
    *,
    actor: str | None,
    consistency: Level | None,
    timeout: float,
    connect_timeout: float,
    headers: Mapping[str, str] | None,
    randomness: Randomness | None,
    on_restored: Callable[[str, str], None] | None,
) -> Config:
    """Raises: TypeError, ValueError."""
    timeout, connect_timeout = seconds(timeout, "timeout"), seconds(connect_timeout, "connect_timeout")
    if timeout <= 0 or connect_timeout <= 0:
        raise ValueError("timeout and connect_timeout are seconds above 0")
    if consistency == "bounded":
        raise ValueError("consistency='bounded' needs a max_staleness: give both with each read")
    own = [(header_name(one), header(value, f"header {one}")) for one, value in (headers or {}).items()]
    sent = [("User-Agent", f"raftmem-client/{__version__}"), *own]
    if actor is not None:
        actor = header(actor, "actor")
        if actor.partition("/")[0] not in ("agent", "user", "service", "system") or not actor.partition("/")[2]:
            raise ValueError(f"actor {actor!r} is not <type>/<id>, such as agent/planner-7")
        sent.append(("Raftmem-Actor", actor))
    session = Session(consistency, on_restored=on_restored)
    return Config(endpoints, session, randomness or SystemRandomness(), tuple(sent), timeout, connect_timeout, actor)


class SystemRandomness:
    def __init__(self) -> None:
        self._random = SystemRandom()

    def random(self) -> float:
        return self._random.random()

    def text(self) -> str:
        return secrets.token_hex(16)


def boottime() -> float:
    """CLOCK_BOOTTIME counts suspended time; where there is none, CLOCK_MONOTONIC."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def unique_owner(randomness: Randomness) -> str:
    """An owner that only one client of one process has."""
    return f"{socket.gethostname()[:100]}-{os.getpid()}#{randomness.text()[:8]}"


def socket_options() -> list[tuple[int, int, int]]:
    found = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    for name, value in (("TCP_KEEPIDLE", _PROBE_S), ("TCP_KEEPINTVL", _PROBE_S), ("TCP_KEEPCNT", 3)):
        number = getattr(socket, name, None)
        if isinstance(number, int):
            found.append((socket.IPPROTO_TCP, number, value))
    return found


def limits() -> httpx.Limits:
    """No bound on connections: each waiting call has its own, and the caller bounds those."""
    return httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEEP_ALIVE_S)


def header_bytes(headers: Pairs) -> list[tuple[bytes, bytes]]:
    """The headers as bytes; text in any language is UTF-8."""
    return [(one.encode("ascii"), value.encode()) for one, value in headers]


def timeouts(connect_s: float, read_s: float) -> httpx.Timeout:
    return httpx.Timeout(read_s, connect=connect_s)


def failed(error: httpx.RequestError) -> Failed:
    """The meaning of an error of httpx for the request."""
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        reason = f"cannot connect ({error or type(error).__name__})"
    elif isinstance(error, httpx.TimeoutException):
        reason = "no answer in time"
    else:
        reason = f"the connection broke ({error or type(error).__name__})"
    return Failed(reason, sent=not isinstance(error, _UNSENT))
