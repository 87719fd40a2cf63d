"""The HTTP server on a real socket: what uvicorn alone would wait for without end."""

import asyncio
import socket

import pytest
from starlette.types import Receive, Scope, Send

from raftmem import http_server
from raftmem.api.app import WHOLE
from raftmem.http_server import HttpServer, Outbox

BOUND = 0.2
PATIENCE = 20.0


async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    while (await receive()).get("more_body"):
        continue
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask(port: int, text: bytes) -> bytes:
    """Send, then read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        pytest.param(b"", b"", id="nothing at all"),
        pytest.param(b"GET / HT", b"", id="half a request line"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n", b"", id="half the headers"),
        pytest.param(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf", b"", id="half a body"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\nGET / HT", b"ok", id="a request and a half"),
    ],
)
def test_a_request_that_does_not_end_is_given_up_within_the_bound(
    sent: bytes, answered: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS_MAX", BOUND)

    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(application, drain_seconds=1)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        answer = await ask(listening.getsockname()[1], sent)
        assert answer.endswith(answered)
        assert bool(answer) == bool(answered)
        server.should_exit = True
        await serving

    asyncio.run(run())


class Line(asyncio.Transport):
    """A transport that is closed, or keeps what is written. A closed one refuses to be written to, as uvloop's does."""

    def __init__(self, *, closed: bool) -> None:
        super().__init__()
        self.closed = closed
        self.written: list[bytes] = []

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")
        self.written.append(bytes(data))


def test_a_client_that_left_does_not_keep_the_replies_of_the_same_turn_from_others() -> None:
    async def run() -> None:
        outbox = Outbox()
        first, gone, last = Line(closed=False), Line(closed=True), Line(closed=False)
        for line, reply in ((first, b"1"), (gone, b"2"), (last, b"3")):
            outbox.put(line, reply)
        assert first.written == []
        flushed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(flushed.set_result, None)
        await flushed
        assert (first.written, gone.written, last.written) == ([b"1"], [], [b"3"])

    asyncio.run(run())


async def in_one_piece(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Offers every reply to the server whole, as the app does."""
    headers = [(b"content-length", b"2")]
    if not scope["extensions"][WHOLE](405, headers, b"no"):
        await send({"type": "http.response.start", "status": 405, "headers": headers})
        await send({"type": "http.response.body", "body": b"no"})


def test_a_reply_to_head_has_no_body_so_that_the_next_reply_on_the_connection_is_understood() -> None:
    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(in_one_piece, drain_seconds=1)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        requests = b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n"
        answer = await ask(listening.getsockname()[1], requests)
        first, second, body = answer.split(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 405")
        assert second.startswith(b"HTTP/1.1 405")
        assert body == b"no"
        server.should_exit = True
        await serving

    asyncio.run(run())
