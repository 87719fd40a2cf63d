"""Bytes that nobody would send, on the HTTP port: hypothesis makes them, whole and in pieces.

Rules: a connection never fails; the same bytes mean the same however they are cut; each reply is one that a client can
read; nothing stays counted when the connection has ended. RAFTMEM_FUZZ_EXAMPLES=20000 tries so many inputs (150);
`make fuzz` does.
"""

import asyncio
import logging
import os
import re

import pytest
from http_world import App, Silent, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftmem.api.http.exchange import Exchange
from raftmem.server.connection import Connection
from raftmem.server.shared import Shared

EXAMPLES = int(os.environ.get("RAFTMEM_FUZZ_EXAMPLES", "150"))
TURNS = 100
METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"PRI", b"CONNECT", b"G?T", b""])
TARGETS = st.sampled_from(
    [b"/", b"/a?b=c", b"*", b"x", b"http://x:1/a", b"http://u@x/", b"/%00", b"/\x00", b"/#a", b"x:1", b"//", b"http://"]
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b""])
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n "])
LINES = st.sampled_from(
    [
        *(b"host: x", b"Host:x ", b"connection: close", b"connection: keep-alive", b"expect: 100-continue"),
        *(b"connection: upgrade\r\nupgrade: x", b"a : b", b"a:\t b \t", b" a: b", b"a: \x00", b"\xff: \xff", b":"),
        *(b"content-length: 3", b"content-length: 0", b"content-length: +3", b"content-length: 3, 3"),
        *(b"content-length:", b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked"),
        *(b"transfer-encoding: gzip", b"transfer-encoding: Chunked \t"),
    ]
)
BODIES = st.sampled_from(
    [
        *(b"", b"abc", b"abcd", b"0\r\n\r\n", b"z\r\n", b"3\nabc\r\n", b"ffffffffffffffffffff\r\n", b"\r\n"),
        *(b"3\r\nabc\r\n0\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\na: b\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n"),
        *(b"0\r\ncontent-length: 9\r\n\r\n", b"GET /inner HTTP/1.1\r\nhost: x\r\n\r\n"),
    ]
)
HEAD = st.builds(
    lambda method, target, version, lines, ends: b"%b %b %b" % (method, target, version)
    + b"".join(end + line for end, line in zip(ends, lines, strict=False))
    + b"\r\n\r\n",
    METHODS, TARGETS, VERSIONS, st.lists(LINES, max_size=6), st.lists(ENDS, min_size=6, max_size=6),
)  # fmt: skip
MESSAGE = st.builds(lambda head, body: head + body, HEAD, BODIES)
INPUTS = st.lists(st.one_of(MESSAGE, MESSAGE, MESSAGE, st.binary(max_size=60)), min_size=1, max_size=5).map(b"".join)
REPLY = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[!-9;-~]+: [^\r\n\0]*\r\n)*)\r\n")


class Wire(Silent):
    """Keeps what is written until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Whoever sends here looks at nothing."""

    resume_reading = pause_reading

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written += bytes(data)


async def said(pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    """What is answered, and which requests were served with all of their body."""
    served: list[bytes] = []

    async def answer(exchange: Exchange) -> None:
        body = await exchange.body()
        served.append(b"%b %b %b" % (exchange.method.encode(), exchange.path, body))
        await text(exchange, served[-1].hex().encode())

    shared, wire = Shared(), Wire()
    connection = Connection(App(answer), shared)
    connection.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
        await asyncio.sleep(0)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    if not wire.closed:
        connection.eof_received()
        for _ in range(TURNS):
            await asyncio.sleep(0)
    assert wire.closed, "nothing is left to answer"
    connection.connection_lost(None)
    assert (shared.room.connections, shared.room.bodies.held, shared.room.unread.held) == (0, 0, 0)
    assert not shared.tasks
    return re.sub(rb"date: [^\r]*\r\n", b"", wire.written).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""), served


def check_replies(written: bytes, served: list[bytes]) -> None:
    """Replies follow each other; at most one refusal, and it is the last."""
    left, seen = written, 0
    while left:
        found = REPLY.match(left)
        assert found is not None, left[:200]
        left = left[found.end() :]
        if found[1] == b"200":
            request = served[seen]
            seen += 1
            if not request.startswith(b"HEAD "):
                assert left.startswith(request.hex().encode())
                left = left[2 * len(request) :]
            if b"connection: close\r\n" in found[2]:
                assert left == b""
        else:
            assert found[1] == b"400"
            assert b"connection: close\r\n" in found[2]
            assert len(left) == int(re.findall(rb"content-length: (\d+)", found[2])[0])
            break
    assert seen == len(served)


@pytest.fixture(autouse=True)
def nothing_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(INPUTS, st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_any_input_is_answered_alike_however_it_is_cut(
    caplog: pytest.LogCaptureFixture, sent: bytes, sizes: list[int]
) -> None:
    pieces, at = list[bytes](), 0
    while at < len(sent):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(sent[at : at + size])
        at += size
    whole = asyncio.run(said([sent]))
    check_replies(*whole)
    assert asyncio.run(said(pieces)) == whole
    assert [record.getMessage() for record in caplog.records] == []


# --- messages that are in order ------------------------------------------------------------------------
CONTENTS = st.one_of(st.binary(max_size=80), st.just(b"DELETE /inner HTTP/1.1\r\nhost: x\r\n\r\n"))
HARMLESS = st.lists(
    st.sampled_from(
        [
            *(b"connection: upgrade\r\nupgrade: h2c\r\n", b"connection: keep-alive, Upgrade\r\nupgrade: websocket\r\n"),
            *(b"expect: 100-continue\r\n", b"accept: */* \t\r\n", b"connection: keep-alive\r\n", b"te: trailers\r\n"),
        ]
    ),
    max_size=2,
    unique=True,
).map(b"".join)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request that is in order, and how it must be served."""
    method, path = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"])), b"/%d" % draw(st.integers(0, 99))
    content, others = draw(CONTENTS), draw(HARMLESS)
    if draw(st.booleans()):
        framing, body = b"content-length: %d\r\n" % len(content), content
    else:
        framing, body, at = b"transfer-encoding: chunked\r\n", b"", 0
        while at < len(content):
            chunk = content[at : at + draw(st.integers(1, 50))]
            body += b"%x%b\r\n%b\r\n" % (len(chunk), draw(st.sampled_from([b"", b";a=b"])), chunk)
            at += len(chunk)
        body += b"0\r\n" + draw(st.sampled_from([b"", b"a: b\r\n"])) + b"\r\n"
    head = [b"host: x\r\n", framing, others]
    order = draw(st.permutations(range(3)))
    lines = b"".join(head[place] for place in order)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, path, lines, body), b"%b %b %b" % (method, path, content)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=5), st.integers(1, 200))
def test_messages_in_order_are_served_as_they_are_whatever_else_their_heads_say(
    sent: list[tuple[bytes, bytes]], size: int
) -> None:
    stream = b"".join(message for message, _ in sent)
    written, served = asyncio.run(said([stream[at : at + size] for at in range(0, len(stream), size)]))
    assert served == [meant for _, meant in sent]
    check_replies(written, served)
