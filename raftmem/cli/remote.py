"""Asking a running group: which replica, how often, and what an answer means for the exit code.

A request that certainly did nothing is sent to the next endpoint. A write whose fate is unknown is sent again
under the same Idempotency-Key, so that it is applied at most once; when the attempts run out it ends as unknown.
"""

import getpass
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlencode

import httpx
import msgspec
import typer

from raftmem.cli.exits import CommandFailed, Exit
from raftmem.client import RaftmemClient
from raftmem.errors import BadRequest
from raftmem.limits import TIMEOUT_MS_DEFAULT

ROUNDS_MAX: Final = 6  # over all endpoints, pauses between them: some seconds, an election or two
PAUSE_S_FIRST: Final = 0.1
PAUSE_S_MAX: Final = 2.0
ATTEMPTS_S_MAX: Final = 2  # no further round once this many times the patience with one replica has passed
MARGIN_S: Final = 2.0  # a replica that has not answered so long after a request's own timeout is gone
DEFAULT_URL: Final = "http://127.0.0.1:8101"

UrlOption = Annotated[
    str,
    typer.Option("--url", envvar="RAFTMEM_URL", help="Replicas to ask, separated by commas; the next if one fails."),
]
ActorOption = Annotated[
    str | None, typer.Option("--actor", envvar="RAFTMEM_ACTOR", help="<type>/<id>; user/<login> if not given.")
]
KeyOption = Annotated[
    str | None, typer.Option("--idempotency-key", help="Repeat a write whose outcome was unknown (exit code 3).")
]


class Answer(NamedTuple):
    """A reply that is no problem. `body`: decoded JSON."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, object]


class _Given(NamedTuple):
    """What one attempt came to, when it is not an answer. `unknown`: it may have been applied.

    `next`: what may help: another endpoint, asking again, or nothing. `pause_s`: at least this long before that.
    """

    error: CommandFailed
    unknown: bool
    next: Literal["endpoint", "again", "nothing"]
    pause_s: float = 0.0


_STATUS_EXITS: Final = {400: Exit.USAGE, 413: Exit.USAGE, 422: Exit.USAGE, 412: Exit.PRECONDITION}
_CODE_EXITS: Final = {
    "no-leader": Exit.NO_LEADER,
    "no-quorum": Exit.NO_LEADER,
    "unknown-outcome": Exit.UNKNOWN,
    "lock-held": Exit.PRECONDITION,
    "stale-token": Exit.PRECONDITION,
}
_NOT_REPEATED: Final = frozenset({"lock-held"})  # may succeed later; who wants to wait for it says so


class Remote:
    """One command's connection to the group."""

    def __init__(
        self,
        url: str,
        *,
        actor: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoints = [part.strip().rstrip("/") for part in url.split(",") if part.strip()]
        if not self.endpoints or not all(part.startswith(("http://", "https://")) for part in self.endpoints):
            raise BadRequest(f"--url {url!r} is not a list of http:// addresses, such as {DEFAULT_URL}")
        self._actor = actor or f"user/{login()}"
        self._sleep = sleep
        self._clock = clock
        self._client = httpx.Client(transport=transport, timeout=httpx.Timeout(MARGIN_S, connect=2.0))

    def read(
        self, method: str, path: str, *, params: Mapping[str, object], body: object = None, waits: bool = True
    ) -> Answer:
        """GET, or a search. `waits`: False for what every replica answers at once; one that does not is given up."""
        return self._ask(method, path, params=params, body=body, headers={}, is_write=False, waits=waits)

    def write(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        key: str | None = None,
        if_version: int | None = None,
        params: Mapping[str, object] | None = None,
        keyed: bool = True,
        wait_ms: int = 0,
    ) -> Answer:
        """`keyed`: False for what may be asked for twice without harm. `wait_ms`: what the body lets it wait."""
        headers = {"Raftmem-Actor": self._actor}
        if keyed:
            headers["Idempotency-Key"] = key or f"cli-{uuid.uuid4().hex}"
        if if_version is not None:
            headers["If-Match"] = f'"{if_version}"'
        return self._ask(
            method, path, params=params or {}, body=body, headers=headers, is_write=True, wait_s=wait_ms / 1000
        )

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object],
        body: object,
        headers: dict[str, str],
        is_write: bool,
        waits: bool = True,
        wait_s: float = 0.0,
    ) -> Answer:
        headers["X-Request-Id"] = f"cli-{uuid.uuid4().hex}"
        content = None if body is None else msgspec.json.encode(body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        query = urlencode([(name, str(item)) for name, value in params.items() for item in _items(value)])
        target = f"{path}?{query}" if query else path

        patience_s = (_wait_s(params) + wait_s if waits else 0.0) + MARGIN_S
        patience = httpx.Timeout(patience_s, connect=MARGIN_S)
        ends = self._clock() + ATTEMPTS_S_MAX * patience_s

        def requests() -> Iterator[httpx.Request]:
            for endpoint in self.endpoints:
                yield self._client.build_request(
                    method, endpoint + target, content=content, headers=headers, timeout=patience
                )

        last: _Given | None = None
        unknown = False
        for round_number in range(ROUNDS_MAX if waits else 1):
            if last is not None:
                if self._clock() >= ends:  # they do not refuse, they hang
                    break
                pause_s = max(last.pause_s, PAUSE_S_FIRST * 2 ** (round_number - 1))
                self._sleep(min(pause_s, PAUSE_S_MAX))
            refused = True
            for request in requests():
                given = self._attempt(request, is_write=is_write)
                if isinstance(given, Answer):
                    return given
                last, unknown, refused = given, unknown or given.unknown, refused and given.next == "endpoint"
                if given.next == "nothing":
                    raise given.error
            if refused and not unknown:
                where = ", ".join(self.endpoints)
                raise CommandFailed(f"cannot reach {where}; is the group running (`raftmem up`), and is --url right?")
        assert last is not None  # there is at least one endpoint
        if unknown and last.error.exit_code != Exit.UNKNOWN:
            raise _unknown(headers.get("Idempotency-Key", ""), str(last.error))
        raise last.error

    def _attempt(self, request: httpx.Request, *, is_write: bool) -> Answer | _Given:
        key = request.headers.get("Idempotency-Key", "")
        try:
            response = self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            where = f"{request.url.scheme}://{request.url.netloc.decode()}"
            return _Given(CommandFailed(f"cannot reach {where}"), unknown=False, next="endpoint")
        except httpx.TransportError as error:
            detail = f"the connection to {request.url.host}:{request.url.port} broke: {error or type(error).__name__}"
            failed = _unknown(key, detail) if is_write else CommandFailed(detail)
            return _Given(failed, unknown=is_write, next="again")
        if response.status_code < 400:
            return Answer(response.status_code, response.headers, _decode(response))
        return _problem(response, key=key, is_write=is_write)


def _decode(response: httpx.Response) -> dict[str, object]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, object])
    except msgspec.DecodeError as error:
        detail = f"{response.url} answered {response.status_code} without JSON: is this a raftmem replica?"
        raise CommandFailed(detail) from error


def _problem(response: httpx.Response, *, key: str, is_write: bool) -> _Given:
    problem = _decode(response)
    code, detail = str(problem.get("code", response.status_code)), str(problem.get("detail", ""))
    unknown = is_write and problem.get("outcome") == "unknown"
    exit_code = _CODE_EXITS.get(code) or _STATUS_EXITS.get(response.status_code, Exit.FAILED)
    error = CommandFailed(f"{code}: {detail}", exit_code=exit_code, problem=problem)
    if unknown:
        error = _unknown(key, detail, problem=problem)
    if not unknown and (problem.get("retryable") is not True or code in _NOT_REPEATED):
        return _Given(error, unknown=False, next="nothing")
    wait_ms = problem.get("retry_after_ms")
    return _Given(error, unknown=unknown, next="again", pause_s=wait_ms / 1000 if isinstance(wait_ms, int) else 0.0)


def _unknown(key: str, detail: str, *, problem: object = None) -> CommandFailed:
    again = (
        f"with --idempotency-key {key}, it will not be applied twice" if key else "in the same words, it is harmless"
    )
    line = f"outcome unknown: {detail}; ask again {again}"
    return CommandFailed(line, exit_code=Exit.UNKNOWN, problem=problem)


def _wait_s(params: Mapping[str, object]) -> float:
    """How long the request itself allows its replica to wait, seconds."""
    asked = params.get("timeout_ms")
    waits = params.get("wait_ms")
    allowed_ms = asked if isinstance(asked, int) else TIMEOUT_MS_DEFAULT
    return (allowed_ms + (waits if isinstance(waits, int) else 0)) / 1000


def _items(value: object) -> Sequence[object]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def library(url: str, *, actor: str | None) -> RaftmemClient:
    """The client library, for what one request cannot do. Raises: BadRequest."""
    try:
        return RaftmemClient(url, actor=actor or f"user/{login()}")
    except ValueError as error:
        raise BadRequest(str(error)) from error


def login() -> str:
    """Who runs this command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container user without a name
        return f"uid-{os.getuid()}"
