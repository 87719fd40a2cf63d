"""A small HTTP client for a group under test: one connection, no retries of its own, and a writer that retries.

Rule: a `Client` belongs to one thread. A request that was sent and not answered is `Lost`: it may have been applied.
"""

import http.client
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

PATIENCE_S = 60.0  # how long anything may take on a loaded machine before it is given up
PAUSE_S = 0.02  # between two looks at a condition

Result = TypeVar("Result")


class Lost(Exception):
    """No answer came."""


class Unreached(Lost):
    """Nobody took the connection: nothing was sent."""


class Trouble(AssertionError):
    """The group, or what drives it, did not do what it must: a test fails, a run stops and says so."""


@dataclass(frozen=True)
class Answer:
    """A reply. `body`: decoded JSON, or None. `raw`: as it came."""

    status: int
    headers: Mapping[str, str]
    body: object
    raw: bytes = b""

    def at(self, *path: str | int) -> object:
        """The value at a path of the body."""
        here = self.body
        for step in path:
            if isinstance(step, int):
                if not isinstance(here, list) or step >= len(here):
                    raise Trouble(f"no item {step} in {here!r}")
                here = here[step]
            else:
                if not isinstance(here, dict) or step not in here:
                    raise Trouble(f"no field {step} in {here!r}")
                here = here[step]
        return here

    def integer(self, *path: str | int) -> int:
        found = self.at(*path)
        if not isinstance(found, int):
            raise Trouble(f"{path} is no integer: {found!r}")
        return found

    def text(self, *path: str | int) -> str:
        found = self.at(*path)
        if not isinstance(found, str):
            raise Trouble(f"{path} is no text: {found!r}")
        return found

    def rows(self, *path: str | int) -> list[dict[str, object]]:
        found = self.at(*path)
        if not isinstance(found, list):
            raise Trouble(f"{path} is no list: {found!r}")
        return found

    @property
    def index(self) -> int:
        return int(self.headers["raftmem-index"])


class Client:
    """One keep-alive connection to one replica, made again after it was lost."""

    def __init__(self, url: str, *, actor: str = "agent/tester", timeout_s: float = PATIENCE_S) -> None:
        self.url = url
        self._actor = actor
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout_s)

    def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """`timeout_s`: between two bytes, of this request and those after it. Raises: Lost."""
        sent = {"Raftmem-Actor": self._actor, **(headers or {})}
        if key is not None:
            sent["Idempotency-Key"] = key
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if timeout_s is not None:
            self._connection.timeout = timeout_s
            if self._connection.sock is not None:
                self._connection.sock.settimeout(timeout_s)
        self._connect()
        try:
            self._connection.request(method, target, body=raw, headers=sent)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Lost(f"{method} {self.url}{target}: {error!r}") from error
        found = {name.lower(): value for name, value in response.getheaders()}
        is_json = "json" in found.get("content-type", "")
        return Answer(response.status, found, json.loads(content) if is_json and content else None, content)

    def _connect(self) -> None:
        if self._connection.sock is not None:
            return
        try:
            self._connection.connect()
        except OSError as error:
            self._connection.close()
            raise Unreached(f"{self.url}: {error!r}") from error

    def close(self) -> None:
        self._connection.close()


def once(url: str, method: str, target: str, body: object = None, **given: Mapping[str, str]) -> Answer:
    """One request on a connection of its own."""
    client = Client(url)
    try:
        return client.ask(method, target, body, headers=given.get("headers"))
    finally:
        client.close()


class Writer:
    """A client that wants its write done once: unknown outcomes are asked again under the same key, elsewhere."""

    def __init__(self, urls: Sequence[str], *, name: str, first: int = 0, timeout_ms: int = 3000) -> None:
        self._clients = [Client(url, actor=f"agent/{name}") for url in urls]
        self._turn = itertools.cycle([*self._clients[first:], *self._clients[:first]])
        self._client = next(self._turn)
        self._name = name
        self._timeout_ms = timeout_ms
        self._count = 0
        self.retried = 0
        self.longest_s = 0.0  # that one write took, with all its attempts

    def write(self, method: str, target: str, body: object, *, give_up: Callable[[], bool] = bool) -> Answer | None:
        """The first answer that decides. None: `give_up` became true before there was one."""
        self._count += 1
        key = f"{self._name}-{self._count}"
        began = time.monotonic()
        deadline = began + PATIENCE_S
        while not give_up():
            if time.monotonic() >= deadline:
                raise Trouble(f"{key} was not decided within {PATIENCE_S} s")
            try:
                answer = self._client.ask(method, f"{target}?timeout_ms={self._timeout_ms}", body, key=key)
            except Lost:
                pass
            else:
                if answer.status not in (429, 503, 504, 507):
                    self.longest_s = max(self.longest_s, time.monotonic() - began)
                    return answer
            self.retried += 1
            self._client = next(self._turn)
            time.sleep(PAUSE_S)
        return None

    def close(self) -> None:
        for client in self._clients:
            client.close()


def until(condition: Callable[[], Result | None], *, what: str, seconds: float = PATIENCE_S) -> Result:
    """Look again and again until the condition gives something true; what it gives."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise Trouble(f"{what}: not within {seconds:.0f} s")
        time.sleep(PAUSE_S)


def together(count: int, work: Callable[[int], Result]) -> list[Result]:
    """`work(k)` for every k < count, each on a thread of its own; what each returned."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))
