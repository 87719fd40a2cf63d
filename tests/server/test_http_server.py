"""The HTTP server on a real socket: order, bounds, and input that is no request."""

import asyncio
import json

import pytest
from http_world import PATIENCE, App, Silent, bodies, echo, run, serving, text

from raftmem.api.http.exchange import Disconnected, Exchange
from raftmem.limits import BODY_BYTES_MAX, HEAD_BYTES_MAX
from raftmem.server import connection
from raftmem.server.connection import Connection
from raftmem.server.shared import Shared

BOUND = 0.2


# --- bounds -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        pytest.param(b"", b"", id="nothing at all"),
        pytest.param(b"GET / HT", b"", id="half a request line"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n", b"", id="half the headers"),
        pytest.param(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf", b"", id="half a body"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\nGET / HT", b"GET /  0", id="a request and a half"),
    ],
)
def test_unfinished_request_closes_its_connection_within_the_bound(
    sent: bytes, answered: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS_MAX", BOUND)

    async def work() -> None:
        async with serving(App()) as served:
            answer = await served.ask(sent)
        assert answer.endswith(answered)
        assert bool(answer) == bool(answered)

    run(work())


def test_idle_connection_is_closed_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS_MAX", BOUND)
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", BOUND)

    async def work() -> None:
        async with serving(App()) as served:
            assert bodies(await served.ask(b"GET / HTTP/1.1\r\n\r\n")) == [b"GET /  0"]

    run(work())


def test_slow_answer_is_not_cut_off_by_the_bounds_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS_MAX", BOUND)
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", BOUND)

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(3 * BOUND)
        await echo(exchange)

    async def work() -> None:
        async with serving(App(slow)) as served:
            assert bodies(await served.ask(b"GET / HTTP/1.1\r\n\r\n")) == [b"GET /  0"]

    run(work())


def test_head_past_its_limit_is_refused() -> None:
    async def work() -> None:
        async with serving(App()) as served:
            client = await served.connect()
            await client.send(b"GET / HTTP/1.1\r\n")
            await asyncio.sleep(BOUND)
            await client.send(b"x: " + b"y" * (HEAD_BYTES_MAX - 2))
            assert b"past its limit of %d bytes" % HEAD_BYTES_MAX in await client.rest()
            client.leave()

    run(work())


def test_body_past_its_limit_is_dropped_and_the_next_request_is_served() -> None:
    async def too_large(exchange: Exchange) -> None:
        size = len(await exchange.body())
        await text(exchange, b"past" if BODY_BYTES_MAX < size < 2 * BODY_BYTES_MAX else b"%d" % size)

    async def work() -> None:
        async with serving(App(too_large)) as served:
            client = await served.connect()
            size = 4 * BODY_BYTES_MAX
            await client.send(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size)
            await client.send(b"x" * size)
            await client.send(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
            assert bodies(await client.rest())[0] == b"past"

    run(work())


# --- order and framing ------------------------------------------------------------------------------
def test_pipelined_requests_are_answered_in_their_order() -> None:
    async def some_wait(exchange: Exchange) -> None:
        for _ in range(int(exchange.path[1:]) % 3):
            await asyncio.sleep(0)
        await text(exchange, exchange.path)

    async def work() -> None:
        async with serving(App(some_wait)) as served:
            paths = [b"/%d" % n for n in range(200)]
            requests = b"".join(b"GET %b HTTP/1.1\r\n\r\n" % path for path in paths)
            answer = await served.ask(requests + b"GET /0 HTTP/1.1\r\nconnection: close\r\n\r\n")
            assert bodies(answer) == [*paths, b"/0"]

    run(work())


def test_client_that_reads_no_reply_is_served_no_further() -> None:
    many, size = 4000, 64 << 10

    async def large(exchange: Exchange) -> None:
        await text(exchange, b"x" * size)

    async def work() -> None:
        app = App(large)
        async with serving(app) as served:
            client = await served.connect()
            await client.send(b"GET / HTTP/1.1\r\n\r\n" * many)
            before = -1
            while app.served > before:
                before = app.served
                await asyncio.sleep(BOUND)
            assert app.served * size < 64 << 20
            for _ in range(many):
                await client.until(b"\r\n\r\n")
                await client.until(b"x" * size)
            client.leave()
        assert app.served == many

    run(work())


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"POST /a?b=c HTTP/1.1\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc", b"POST /a b=c 3"),
        (
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n",
            b"POST /  5",
        ),
        (b"GET / HTTP/1.0\r\n\r\n", b"GET /  0"),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", b"GET /  0"),
        (b"GET http://x/a?b#c HTTP/1.1\r\nconnection: close\r\n\r\n", b"GET /a b 0"),
        (b"GET /a#b HTTP/1.1\r\nconnection: close\r\n\r\n", b"GET /a  0"),
        (b"PURGE /%2F HTTP/1.1\r\nconnection: close\r\n\r\n", b"PURGE /%2F  0"),
        (b"GET / HTTP/1.1\r\nconnection: upgrade, close\r\nupgrade: h2c\r\n\r\n", b"GET /  0"),
    ],
)
@pytest.mark.parametrize("piece", [1, 1000])
def test_request_is_parsed_alike_whole_and_in_single_bytes(request_: bytes, answer: bytes, piece: int) -> None:
    async def work() -> None:
        async with serving(App()) as served:
            client = await served.connect()
            for start in range(0, len(request_), piece):
                await client.send(request_[start : start + piece])
                await asyncio.sleep(0)
            whole = await client.rest()
            assert bodies(whole) == [answer]
            assert b"\r\nconnection: close\r\n" in whole

    run(work())


def test_upgrade_requests_are_answered_as_plain_ones_in_their_order() -> None:
    upgrade = b"GET /%d HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"

    async def work() -> None:
        async with serving(App()) as served:
            last = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
            answer = await served.ask(b"".join(upgrade % n for n in range(2000)) + last)
            assert bodies(answer) == [*(b"GET /%d  0" % n for n in range(2000)), b"GET /  0"]

    run(work())


def test_trailers_do_not_become_headers() -> None:
    async def names(exchange: Exchange) -> None:
        await exchange.body()
        await text(exchange, b" ".join(name for name, _ in exchange.headers))

    async def work() -> None:
        async with serving(App(names)) as served:
            head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            answer = await served.ask(head + b"1\r\na\r\n0\r\nIf-Match: x\r\n\r\n")
            assert bodies(answer) == [b"transfer-encoding connection"]

    run(work())


def test_reply_to_head_has_no_body_and_the_next_reply_follows_it() -> None:
    async def refused(exchange: Exchange) -> None:
        await text(exchange, b"no", 405)

    async def work() -> None:
        async with serving(App(refused)) as served:
            answer = await served.ask(b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        first, second, body = answer.split(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 405")
        assert second.startswith(b"HTTP/1.1 405")
        assert body == b"no"

    run(work())


def test_expected_continue_is_sent_when_the_body_is_needed() -> None:
    async def work() -> None:
        async with serving(App()) as served:
            client = await served.connect()
            await client.send(
                b"POST / HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-Continue\r\nconnection: close\r\n\r\n"
            )
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"ab")
            assert bodies(await client.rest()) == [b"POST /  2"]

    run(work())


def test_expected_continue_is_not_sent_when_the_body_is_not_needed() -> None:
    async def unread(exchange: Exchange) -> None:
        await text(exchange, b"no", 404)

    async def work() -> None:
        async with serving(App(unread)) as served:
            head = b"POST / HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
            assert bodies(await served.ask(head)) == [b"no"]

    run(work())


@pytest.mark.parametrize(
    ("version", "body"), [(b"1.1", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), (b"1.0", b"abcde")], ids=["1.1", "1.0"]
)
def test_streamed_reply_is_chunked_for_http_1_1_only(version: bytes, body: bytes) -> None:
    async def stream(exchange: Exchange) -> None:
        await exchange.begin(200, b"")
        await exchange.put(b"abc")
        await asyncio.sleep(0)
        await exchange.put(b"")
        await exchange.end(b"de")

    async def work() -> None:
        async with serving(App(stream)) as served:
            answer = await served.ask(b"GET / HTTP/%b\r\nconnection: close\r\n\r\n" % version)
            head, _, rest = answer.partition(b"\r\n\r\n")
            assert rest == body
            assert (b"chunked" in head) == (version == b"1.1")

    run(work())


def test_many_pipelined_requests_leave_turns_to_other_connections() -> None:
    async def work() -> None:
        served: list[bytes] = []

        async def note(exchange: Exchange) -> None:
            served.append(exchange.path)
            await text(exchange, b"")

        async with serving(App(note)) as on:
            many, one = await on.connect(), await on.connect()
            await many.send(b"GET /many HTTP/1.1\r\n\r\n" * 1000)
            await one.send(b"GET /one HTTP/1.1\r\n\r\n")
            await one.until(b"\r\n\r\n")
            assert served.index(b"/one") < 100
            for _ in range(1000):
                await many.until(b"\r\n\r\n")
            many.leave()
            one.leave()

    run(work())


def test_body_in_single_byte_chunks_is_whole() -> None:
    async def work() -> None:
        async with serving(App()) as served:
            head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            assert bodies(await served.ask(head + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n")) == [b"POST /  5000"]

    run(work())


def test_replies_of_one_turn_are_written_at_its_end_past_a_closed_connection() -> None:
    class Line(asyncio.Transport):
        """Keeps what is written. Writing to a closed one fails, as with uvloop's."""

        def __init__(self, *, closed: bool) -> None:
            super().__init__()
            self.closed = closed
            self.written: list[bytes] = []

        def is_closing(self) -> bool:
            return self.closed

        def write(self, data: bytes | bytearray | memoryview) -> None:
            assert not self.closed
            self.written.append(bytes(data))

    async def work() -> None:
        loop, shared = asyncio.get_running_loop(), Shared()
        lines = [Line(closed=False), Line(closed=True), Line(closed=False)]
        for number, line in enumerate(lines):
            connection = Connection(App(), shared)
            connection.transport = line
            connection.write(b"%d" % number)
            connection.write(b"!")
        assert [line.written for line in lines] == [[], [], []]
        flushed = loop.create_future()
        loop.call_soon(flushed.set_result, None)
        await flushed
        assert [line.written for line in lines] == [[b"0!"], [], [b"2!"]]

    run(work())


def test_shutdown_in_the_turn_of_a_reply_sends_it_first() -> None:
    class Line(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.written = b""
            self.closed = False

        def is_closing(self) -> bool:
            return self.closed

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            assert high is not None
            assert low is None

        def close(self) -> None:
            self.closed = True

        def write(self, data: bytes | bytearray | memoryview) -> None:
            assert not self.closed
            self.written += bytes(data)

    async def work() -> None:
        connection, line = Connection(App(), Shared()), Line()
        connection.connection_made(line)
        connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
        assert line.written == b""
        connection.shutdown()
        assert (bodies(line.written), line.closed) == ([b"GET /  0"], True)
        connection.connection_lost(None)

    run(work())


def test_trailers_are_not_kept() -> None:
    async def work() -> None:
        connection = Connection(App(), Shared())
        connection.connection_made(Silent())
        connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        for _ in range(50):
            connection.data_received(b"trailer: %b\r\n" % (b"x" * 1000))
        assert connection._parser is not None
        assert len(connection._parser._headers) == 2
        connection.connection_lost(None)

    run(work())


# --- input that is no request -------------------------------------------------------------------------------
BROKEN = [
    pytest.param(b"hello\r\n\r\n", id="another language"),
    pytest.param(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", id="a header without a colon"),
    pytest.param(b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", id="a length that is none"),
    pytest.param(b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", id="two lengths"),
    pytest.param(b"GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", id="smuggled"),
    pytest.param(b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", id="a path that is not ASCII"),
    pytest.param(b"CONNECT x:1 HTTP/1.1\r\n\r\n", id="a tunnel"),
    pytest.param(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nz\r\n", id="a chunk without a size"),
    pytest.param(b"GET / HTTP/3.7\r\n\r\n", id="another version"),
]


@pytest.mark.parametrize("sent", BROKEN)
@pytest.mark.parametrize("piece", [1, 1000])
def test_input_that_is_no_request_is_refused_after_the_replies_before_it(sent: bytes, piece: int) -> None:
    async def waits(exchange: Exchange) -> None:
        if exchange.path == b"/wait":
            await asyncio.sleep(0.01)
        await echo(exchange)

    async def work() -> None:
        async with serving(App(waits)) as served:
            client = await served.connect()
            whole = b"GET /wait HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n" + sent
            for start in range(0, len(whole), piece):
                await client.send(whole[start : start + piece])
                await asyncio.sleep(0)
            first, second, refusal = bodies(await client.rest())
            assert (first, second) == (b"GET /wait  0", b"GET /b  0")
            assert b"request" in refusal or b"Transfer-Encoding" in refusal or b"HTTP/1.1" in refusal

    run(work())


# --- clients that leave -----------------------------------------------------------------------------------------
def test_client_that_leaves_while_its_request_waits_is_noticed() -> None:
    async def work() -> None:
        left = asyncio.Event()

        async def wait(exchange: Exchange) -> None:
            await exchange.gone()
            left.set()

        async with serving(App(wait)) as served:
            client = await served.connect()
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.sleep(0)
            client.leave()
            await asyncio.wait_for(left.wait(), PATIENCE)

    run(work())


def test_client_that_leaves_within_a_body_gets_no_answer() -> None:
    async def work() -> None:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def read(exchange: Exchange) -> None:
            try:
                await exchange.body()
            except Disconnected:
                ended.set_result("left")
                raise

        async with serving(App(read)) as served:
            client = await served.connect()
            await client.send(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf")
            await asyncio.sleep(BOUND)
            client.leave()
            assert await asyncio.wait_for(ended, PATIENCE) == "left"

    run(work())


@pytest.mark.parametrize("waits", [False, True])
def test_failure_without_a_reply_is_logged_and_closes_the_connection(
    waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(exchange: Exchange) -> None:  # noqa: ARG001
        if waits:
            await asyncio.sleep(0)
        raise ValueError("a defect")

    async def work() -> None:
        async with serving(App(fail)) as served:
            assert await served.ask(b"GET /x HTTP/1.1\r\n\r\n") == b""

    run(work())
    assert [record.getMessage() for record in caplog.records if record.name == "raftmem.http"] == ["GET /x failed"]


def test_draining_server_answers_requests_under_way_then_closes() -> None:
    async def work() -> None:
        let_on = asyncio.Event()

        async def wait(exchange: Exchange) -> None:
            await let_on.wait()
            await echo(exchange)

        async with serving(App(wait)) as served:
            idle, client = await served.connect(), await served.connect()
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.sleep(BOUND)
            served.server.leave(drains=True)
            assert await idle.rest() == b""
            let_on.set()
            answer = await client.rest()
            assert bodies(answer) == [b"GET /  0"]
            assert b"connection: close" in answer

    run(work())


def test_server_without_drain_cancels_requests_under_way() -> None:
    async def work() -> None:
        cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def wait(exchange: Exchange) -> None:
            try:
                await exchange.gone()
            except asyncio.CancelledError:
                cut.set_result(None)
                await text(exchange, b"cut off", 503)
                raise

        async with serving(App(wait)) as served:
            client = await served.connect()
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.sleep(BOUND)
            served.server.leave(drains=False)
            assert bodies(await client.rest()) == [b"cut off"]
            await cut

    run(work())


# --- the app on it --------------------------------------------------------------------------------------
def test_app_answers_input_that_is_no_request_with_a_problem() -> None:
    from raftmem.api.app import create_app

    class Nothing:
        node_id, cluster, term, leader_id, leader_url = "n1", "c/1", 3, None, None

        def new_id(self) -> str:
            return "an-id"

        def metrics(self) -> dict[str, float]:
            return {}

    async def work() -> None:
        async with serving(create_app(Nothing())) as served:  # type: ignore[arg-type]  # the app asks for nothing else
            answer = await served.ask(b"hello\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nx-request-id: an-id\r\n" in head
        assert b"\r\ncontent-type: application/problem+json\r\n" in head
        assert json.loads(body)["code"] == "invalid-request"

    run(work())
