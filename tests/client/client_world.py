"""A world for the client: a clock that only tests move, replicas that answer as they are told, a small lock service.

`Replicas` stands behind httpx: each request is handed to a script that answers, refuses, breaks or takes its time.
Nothing here sleeps; a thread that waits for the clock waits until a test moves it, and a test that waits for a thread
gives up after `PATIENCE_S`.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from raftmem.client.thread_driver import BlockingFlag

PATIENCE_S = 20.0
ending = pytest.raises  # around a block that does many things and ends with an error
URLS = ("http://n1:1", "http://n2:1", "http://n3:1")


class OwnedTime:
    """For threads. `jumps`: a sleep moves the clock itself, and is noted."""

    def __init__(self, *, jumps: bool = False) -> None:
        self._now = 1000.0
        self._jumps = jumps
        self.moved = threading.Condition()
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        with self.moved:
            self._now += seconds
            self.moved.notify_all()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self._jumps:
            self.advance(seconds)
            return
        self.wait_for(lambda: False, seconds)

    def flag(self) -> BlockingFlag:
        return OwnedFlag(self)

    def wait_for(self, condition: Callable[[], bool], seconds: float | None) -> bool:
        ends = None if seconds is None else self._now + seconds
        with self.moved:
            in_time = self.moved.wait_for(
                lambda: condition() or (ends is not None and self._now >= ends), timeout=PATIENCE_S
            )
        assert in_time or seconds is None, "nobody has moved the clock"
        return condition()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """A thread brings it about without the clock."""
        with self.moved:
            for _ in range(int(PATIENCE_S / 0.005)):
                if condition():
                    return
                self.moved.wait(0.005)
        raise AssertionError(f"{what}: not within {PATIENCE_S} s")


class OwnedFlag:
    def __init__(self, time: OwnedTime) -> None:
        self._time = time
        self._raised = False

    def set(self) -> None:
        with self._time.moved:
            self._raised = True
            self._time.moved.notify_all()

    def clear(self) -> None:
        self._raised = False

    def is_set(self) -> bool:
        return self._raised

    def wait(self, timeout: float | None = None) -> bool:
        return self._time.wait_for(self.is_set, timeout)


class OwnedAsyncTime:
    """For asyncio: `advance` wakes whoever is due, and lets everything run until nothing moves."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        """Time passes and nobody gets to run: a process that is stopped."""
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        self._now += seconds
        await self.settle()

    async def settle(self) -> None:
        for _ in range(60):
            for due, waiter in self._waiting:
                if due <= self._now and not waiter.done():
                    waiter.set_result(None)
            await asyncio.sleep(0)

    async def sleep(self, seconds: float) -> None:
        await self.due(self._now + seconds)

    def due(self, at: float) -> "asyncio.Future[None]":
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((at, waiter))
        return waiter

    def flag(self) -> "OwnedAsyncFlag":
        return OwnedAsyncFlag(self)


class OwnedAsyncFlag:
    def __init__(self, time: OwnedAsyncTime) -> None:
        self._time = time
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self, timeout: float | None = None) -> bool:
        raised = asyncio.ensure_future(self._event.wait())
        waiting: list[asyncio.Future[object]] = [raised]  # type: ignore[list-item]  # a future is read-only here
        if timeout is not None:
            waiting.append(self._time.due(self._time.now() + timeout))  # type: ignore[arg-type]  # as above
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        return self.is_set()


class Dice:
    """Randomness that tests know: always the same share, names that count up."""

    def __init__(self, share: float = 1.0) -> None:
        self.share = share
        self._count = 0

    def random(self) -> float:
        return self.share

    def text(self) -> str:
        self._count += 1
        return f"{self._count:032x}"


# --- replicas ---------------------------------------------------------------------------------------
class Asked:
    """One request as a replica sees it."""

    def __init__(self, request: httpx.Request) -> None:
        self.node = request.url.host
        self.method = request.method
        self.path = request.url.raw_path.decode().partition("?")[0]
        self.query = dict(request.url.params)
        self.tags = request.url.params.get_list("tag")
        self.headers = request.headers
        self.body = json.loads(request.content or b"null")
        self.read_s = request.extensions["timeout"]["read"]

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


def answer(body: object, *, index: int = 5, status: int = 200, cluster: str = "c/1", **headers: str) -> httpx.Response:
    shown = {"Raftmem-Index": str(index), "Raftmem-Cluster": cluster, **headers}
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): value for name, value in shown.items()})


def problem(status: int, code: str, *, outcome: str = "not_applied", **extra: object) -> httpx.Response:
    body = {"status": status, "code": code, "detail": f"it is {code}", "outcome": outcome, **extra}
    return httpx.Response(status, json=body, headers={"Raftmem-Cluster": "c/1"})


def event(op: str = "ADD", *, index: int = 5, **fields: object) -> dict[str, object]:
    return {
        "index": index,
        "seq": 0,
        "term": 1,
        "time": "2026-11-20T09:00:00.120Z",
        "op": op,
        "actor": {"type": "agent", "id": "a", "role": None},
        "outcome": "applied",
        "code": None,
        **fields,
    }


def memory(id: str = "m1", **fields: object) -> dict[str, object]:
    at = "2026-11-20T09:00:00.120Z"
    stamps = {"created_index": 5, "updated_index": 5, "created_at": at, "updated_at": at}
    return {"id": id, "version": 1, "status": "active", "text": "t", **stamps, **fields}


Script = Callable[[Asked], httpx.Response | Exception]


class Replicas(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """All endpoints. The script may answer, or name the exception that its client gets."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        asked = Asked(request)
        self.asked.append(asked)
        came = self.script(asked)
        if isinstance(came, Exception):
            raise came
        return came

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return self._answer(request)

    def paths(self) -> list[str]:
        """Of all that was asked."""
        return [f"{one.method} {one.path}" for one in self.asked]


def script(*answers: httpx.Response | Exception) -> Script:
    """These, one by one; the last one for ever."""
    left = list(answers)
    return lambda _asked: left.pop(0) if len(left) > 1 else left[0]


class Hanging(Replicas):
    """Does what it is asked to; the answers to some are never sent. `hang`: which."""

    def __init__(self, script: Script, hang: Callable[[Asked], bool]) -> None:
        super().__init__(script)
        self.hang = hang

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        came = await super().handle_async_request(request)
        if self.hang(self.asked[-1]):
            await asyncio.Event().wait()
        return came


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in pieces, and may break."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


# --- a lock service -----------------------------------------------------------------------------------
@dataclass
class Held:
    owner: str
    token: int
    expires: float


@dataclass
class LockService:
    """Locks by the rules of the service, on the test's clock: expired only when it says so, never early.

    `down`: nobody answers. `took`: how long the next answer takes. `queued`: the next acquire waits so long first.
    """

    now: Callable[[], float]
    pass_time: Callable[[float], None] = lambda _seconds: None
    held: dict[str, Held] = field(default_factory=dict)
    down: bool = False
    took: float = 0.0
    queued: float | None = None
    index: int = 100
    places: list[str] = field(default_factory=list)

    def __call__(self, asked: Asked) -> httpx.Response | Exception:
        if self.down:
            return httpx.ConnectError("refused")
        if asked.method == "GET":
            return self._shown(asked.path.removeprefix("/v1/locks/").replace("%2F", "/"))
        self.index += 1
        name, _, verb = asked.path.removeprefix("/v1/locks/").rpartition("/")
        name = name.replace("%2F", "/")
        body = asked.body
        if asked.path == "/v1/locks/renew":
            came = answer({"locks": [self._renewed(body, one) for one in body["locks"]]}, index=self.index)
        elif verb == "acquire":
            came = self._acquire(name, body)
        elif verb == "renew":
            shown = self._renewed(body, {"name": name, "token": body["token"]})
            came = problem(409, "stale-token") if shown["error"] else answer(shown, index=self.index)
        else:
            assert verb == "release", asked.path
            came = self._release(name, body)
        self.pass_time(self.took)
        self.took = 0.0
        return came

    def _shown(self, name: str) -> httpx.Response:
        one = self.held.get(name)
        holders = [] if one is None else [{"owner": one.owner, "token": one.token, "remaining_ms": 5}]
        queue = [{"owner": owner, "position": at} for at, owner in enumerate(self.places, 1)]
        return answer({"name": name, "permits": 1, "holders": holders, "queue": queue}, index=self.index)

    def _acquire(self, name: str, body: dict[str, object]) -> httpx.Response:
        ttl = int(str(body["ttl_ms"])) / 1000
        op, now = "LOCK_ACQUIRE", self.now()
        one = self.held.get(name)
        if one is not None and one.expires > now and one.owner != body["owner"]:
            return problem(409, "lock-held", holders=[{"owner": one.owner, "token": one.token, "remaining_ms": 5}])
        if one is not None and one.owner == body["owner"] and one.expires > now:
            op, one.expires = "LOCK_RENEW", now + ttl
        else:
            one = self.held[name] = Held(str(body["owner"]), self.index, now + ttl)
        if self.queued is not None:
            op, waited, self.queued = "LOCK_GRANT", self.queued, None
            self.pass_time(waited)
        return answer(self._grant(name, one, op), index=self.index)

    def _grant(self, name: str, one: Held, op: str) -> dict[str, object]:
        left = max(0, round((one.expires - self.now()) * 1000))
        shown = {"name": name, "owner": one.owner, "token": one.token, "remaining_ms": left}
        return {**shown, "event": event(op, index=self.index)}

    def _renewed(self, body: dict[str, object], wanted: dict[str, object]) -> dict[str, object]:
        name = str(wanted["name"])
        one = self.held.get(name)
        if one is None or (one.owner, one.token) != (body["owner"], wanted["token"]):
            error = {"status": 409, "code": "stale-token", "detail": f"{name} is not yours", "current_token": None}
            return {**wanted, "owner": body["owner"], "remaining_ms": None, "event": None, "error": error}
        one.expires = self.now() + int(str(body["ttl_ms"])) / 1000
        return {**self._grant(name, one, "LOCK_RENEW"), "error": None}

    def _release(self, name: str, body: dict[str, object]) -> httpx.Response:
        one = self.held.get(name)
        if one is None or (one.owner, one.token) != (body["owner"], body["token"]):
            return problem(409, "stale-token", current_token=None)
        del self.held[name]
        lock = {"name": name, "permits": 1, "holders": [], "queue": []}
        return answer({"lock": lock, "event": event("LOCK_RELEASE", index=self.index)}, index=self.index)

    def take_away(self, name: str) -> None:
        """Somebody forces it open."""
        del self.held[name]
