"""Performs the effects of programs on threads. It makes no decision."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, assert_never, runtime_checkable

import httpx

from raftmem.client.config import boottime, failed, header_bytes, limits, socket_options, timeouts
from raftmem.client.effects import (
    Effect,
    Failed,
    Flag,
    Open,
    Outcome,
    Pause,
    Program,
    Read,
    Reply,
    Request,
    Rest,
    Send,
    Shut,
)

T = TypeVar("T")


@runtime_checkable
class BlockingFlag(Flag, Protocol):
    """A flag like threading.Event."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is raised, for `timeout` seconds at most. True: it is raised."""
        ...


class BlockingTime(Protocol):
    """The clock and the waits by it. They come from outside, so a test can own them."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

    def flag(self) -> BlockingFlag: ...


class SystemTime:
    def now(self) -> float:
        return boottime()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def flag(self) -> BlockingFlag:
        return threading.Event()


def http_client(
    urls: Sequence[str], *, verify: ssl.SSLContext | bool = True, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """The connections to these addresses. Proxies and other settings of the environment are not used."""
    if transport is None:
        verify = verify if any(url.startswith("https:") for url in urls) else False
        transport = httpx.HTTPTransport(
            verify=verify, limits=limits(), socket_options=socket_options(), trust_env=False
        )
    return httpx.Client(transport=transport)


class ThreadStream:
    """One reply at a time, read while it comes."""

    def __init__(self) -> None:
        self.response: httpx.Response | None = None
        self.chunks: Iterator[bytes] = iter(())

    def shut(self) -> None:
        if self.response is not None:
            self.response.close()
            self.response = None


class ThreadDriver:
    """Any thread may run a program here."""

    def __init__(self, http: httpx.Client, clock: BlockingTime) -> None:
        self._http = http
        self.clock = clock

    def flag(self) -> BlockingFlag:
        return self.clock.flag()

    def spawn(self, program: Program[None]) -> None:
        threading.Thread(target=self._run_beside, args=(program,), name="raftmem-client", daemon=True).start()

    def _run_beside(self, program: Program[None]) -> None:
        try:
            self.run(program)
        except RuntimeError:
            if not self._http.is_closed:  # else the client was closed, and this ends with it
                raise

    def call(self, callback: Callable[[], object]) -> None:
        threading.Thread(target=callback, name="raftmem-client-callback", daemon=True).start()

    def run(self, program: Program[T]) -> T:
        outcome: Outcome = None
        try:
            while True:
                effect = program.send(outcome)
                outcome = self._perform(effect)
        except StopIteration as ended:
            value: T = ended.value
            return value
        finally:
            program.close()

    def _perform(self, effect: Effect) -> Outcome:
        match effect:
            case Send(request):
                return self._send(request)
            case Pause(seconds):
                self.clock.sleep(seconds)
            case Rest(flag, seconds):
                assert isinstance(flag, BlockingFlag)
                flag.wait(seconds)
                flag.clear()
            case Open(stream, request):
                assert isinstance(stream, ThreadStream)
                return self._open(stream, request)
            case Read(stream):
                assert isinstance(stream, ThreadStream)
                return _read(stream)
            case Shut(stream):
                assert isinstance(stream, ThreadStream)
                stream.shut()
            case _:
                assert_never(effect)
        return None

    def _build(self, request: Request) -> httpx.Request:
        patience = timeouts(request.connect_s, request.read_s)
        method, url, headers = request.method, request.url, header_bytes(request.headers)
        return self._http.build_request(method, url, content=request.content, headers=headers, timeout=patience)

    def _send(self, request: Request) -> Reply | Failed:
        try:
            response = self._http.send(self._build(request))
        except httpx.RequestError as error:
            return failed(error)
        return Reply(response.status_code, dict(response.headers), response.content)

    def _open(self, stream: ThreadStream, request: Request) -> Reply | Failed:
        stream.shut()
        try:
            response = self._http.send(self._build(request), stream=True)
            body = b"" if response.is_success else response.read()
        except httpx.RequestError as error:
            return failed(error)
        stream.response, stream.chunks = response, response.iter_raw()
        return Reply(response.status_code, dict(response.headers), body)


def _read(stream: ThreadStream) -> bytes | Failed:
    try:
        return next(stream.chunks, b"")
    except httpx.RequestError as error:
        return failed(error)
    except httpx.StreamError as error:  # it was shut by another thread
        return Failed(str(error), sent=True)
