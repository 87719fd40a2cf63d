"""Asking a running group: one request of a command, performed by the retry engine of `raftmem.client`.

It adds what a person in front of a terminal expects: a group that cannot be reached at all is told at once, a request
is given up after twice what one replica may take, and each failure has its exit code.
"""

import getpass
import os
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple

import httpx
import msgspec
import typer

from raftmem.cli.exits import of_client
from raftmem.client import RaftmemClient, RaftmemClientError
from raftmem.client.config import SystemRandomness, configured
from raftmem.client.endpoints import Endpoints
from raftmem.client.plan import Plan, Reading, encode, pairs
from raftmem.client.retry import Patience
from raftmem.client.thread_driver import BlockingTime, SystemTime, ThreadDriver, http_client
from raftmem.errors import BadRequest
from raftmem.limits import TIMEOUT_MS_DEFAULT

MARGIN_S: Final = 2.0  # a replica that has not answered so long after a request's own timeout is gone
ATTEMPTS_S_MAX: Final = 2  # no further attempt once this many times the patience with one replica has passed
DEFAULT_URL: Final = "http://127.0.0.1:8101"

UrlOption = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="RAFTMEM_URL",
        help="Addresses of replicas, separated by commas; the next is asked when one fails.",
    ),
]
ActorOption = Annotated[
    str | None,
    typer.Option("--actor", envvar="RAFTMEM_ACTOR", help="Name yourself as <type>/<id>; user/<login> if not given."),
]
KeyOption = Annotated[
    str | None, typer.Option("--idempotency-key", help="Repeat a write whose outcome was unknown (exit code 3).")
]
_parse: Final = msgspec.json.Decoder(dict[str, object]).decode


class Answer(NamedTuple):
    """A reply that is no problem. `headers`: names in lower case. `body`: decoded JSON."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, object]


class Remote:
    """The group that one command asks."""

    def __init__(
        self,
        url: str,
        *,
        actor: str | None = None,
        transport: httpx.BaseTransport | None = None,
        time: BlockingTime | None = None,
    ) -> None:
        """Raises: BadRequest."""
        time = time or SystemTime()
        try:
            endpoints = Endpoints(url)
            config = configured(
                endpoints,
                actor=actor or f"user/{login()}",
                consistency=None,
                timeout=TIMEOUT_MS_DEFAULT / 1000,
                connect_timeout=MARGIN_S,
                headers=None,
                randomness=_Randomness(),
                on_restored=None,
            )
        except ValueError as error:
            raise BadRequest(str(error)) from error
        self.endpoints: Final = endpoints.urls
        self._randomness = config.randomness
        self._caller = config.caller(time)
        self._driver = ThreadDriver(http_client(endpoints.urls, transport=transport), time)

    def read(
        self, method: str, path: str, *, params: Mapping[str, object], body: object = None, waits: bool = True
    ) -> Answer:
        """GET, or a search. `waits`: False for what every replica answers at once; one that does not is given up.

        Raises: CommandFailed.
        """
        content = None if body is None else encode(body)
        reading = Reading(pinned=True)  # a command says all that it wants
        plan = Plan(method, path, _parse, pairs(params), content, reading, wait_s=_ms(params.get("wait_ms")) / 1000)
        if waits:
            return self._ask(plan, _patience(params))
        return self._ask(plan, Patience(MARGIN_S * len(self.endpoints), MARGIN_S, for_group=False))

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
        """`keyed`: False for what may be asked for twice without harm. `wait_ms`: what the body lets it wait.

        Raises: CommandFailed.
        """
        plan = Plan(
            method,
            path,
            _parse,
            pairs(params or {}),
            None if body is None else encode(body),
            keyed=keyed,
            key=(key or self._randomness.text()) if keyed else None,
            headers=() if if_version is None else (("If-Match", f'"{if_version}"'),),
            wait_s=wait_ms / 1000,
        )
        return self._ask(plan, _patience(params or {}))

    def _ask(self, plan: Plan[dict[str, object]], patience: Patience) -> Answer:
        try:
            answer = self._driver.run(self._caller.call(plan, patience))
        except RaftmemClientError as error:
            raise of_client(error) from error
        return Answer(answer.status, answer.headers, answer.value)


class _Randomness(SystemRandomness):
    """The ids of a command say that they are one's."""

    def text(self) -> str:
        return f"cli-{super().text()}"


def _patience(params: Mapping[str, object]) -> Patience:
    """As long as the request itself lets its replica wait, and a margin; twice that for all attempts."""
    attempt_s = (_ms(params.get("timeout_ms")) or TIMEOUT_MS_DEFAULT) / 1000 + MARGIN_S
    return Patience(ATTEMPTS_S_MAX * attempt_s, attempt_s, for_group=False)


def _ms(value: object) -> int:
    return value if isinstance(value, int) else 0


def library(url: str, *, actor: str | None) -> RaftmemClient:
    """The client library, for what one request cannot do. Raises: BadRequest."""
    try:
        return RaftmemClient(url, actor=actor or f"user/{login()}")
    except ValueError as error:
        raise BadRequest(str(error)) from error


def login() -> str:
    """Return the name of the user who runs this command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container user without a name
        return f"uid-{os.getuid()}"
