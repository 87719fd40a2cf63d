"""Where a request ends: a message that two readers could read in two ways is refused, and nothing behind it is served.

Each input is sent whole and byte by byte. Behind each one stands a request that must not be served unless the one
before it ended there.
"""

import asyncio

import pytest
from http_world import App, bodies, run, serving

BEHIND = b"DELETE /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /first HTTP/1.1\r\nhost: x\r\n"
UPGRADE = b"connection: upgrade\r\nupgrade: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
PIECES = pytest.mark.parametrize("piece", [1, 1 << 20])


def served(sent: bytes, piece: int) -> tuple[bytes, list[str]]:
    """The whole answer, and the requests that the app was asked to serve."""
    seen: list[str] = []

    async def work() -> bytes:
        app = App(seen=seen)
        async with serving(app) as on:
            client = await on.connect()
            for start in range(0, len(sent), piece):
                await client.send(sent[start : start + piece])
                await asyncio.sleep(0)
            client.end()
            answer = await client.rest()
            client.leave()
            return answer

    return run(work()), seen


# --- a body is a body ---------------------------------------------------------------------------------
@pytest.mark.parametrize("asks", [b"", UPGRADE, b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        pytest.param(b"content-length: %d\r\n\r\n" % len(BEHIND), BEHIND, id="length"),
        pytest.param(
            b"transfer-encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BEHIND), BEHIND), id="chunks"
        ),
    ],
)
@PIECES
def test_request_within_a_body_is_not_served_whatever_the_head_says(
    asks: bytes, framing: bytes, body: bytes, piece: int
) -> None:
    last = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer, seen = served(POST + asks + framing + body + last, piece)
    assert seen == ["POST /first", "GET /last"]
    assert bodies(answer) == [b"POST /first  %d" % len(BEHIND), b"GET /last  0"]


@PIECES
def test_upgrades_with_bodies_in_a_row_are_each_served_with_their_body(piece: int) -> None:
    one = POST + UPGRADE + b"content-length: 3\r\n\r\nabc"
    two = POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nhost: x\r\n" + UPGRADE.replace(b"upgrade\r\n", b"upgrade, close\r\n", 1) + b"\r\n"
    answer, _ = served(one + two + one + last, piece)
    assert bodies(answer) == [b"POST /first  3", b"POST /first  2", b"POST /first  3", b"GET /  0"]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(UPGRADE + b"content-length: 1\r\ntransfer-encoding: chunked\r\n", id="length and chunks"),
        pytest.param(UPGRADE + b"content-length: 1\r\ncontent-length: 1\r\n", id="two lengths"),
        pytest.param(UPGRADE + b"transfer-encoding: gzip\r\n", id="a coding"),
        pytest.param(UPGRADE + b"transfer-encoding: gzip, chunked\r\n", id="a coding in chunks"),
    ],
)
@PIECES
def test_framing_in_doubt_is_refused_with_an_upgrade_too(head: bytes, piece: int) -> None:
    answer, seen = served(POST + head + b"\r\n" + b"0\r\n\r\n" + BEHIND, piece)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert seen == []


# --- messages in doubt --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\nx", id="two lengths that are equal"),
        pytest.param(POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx", id="two lengths"),
        pytest.param(POST + b"content-length: 1, 1\r\n\r\nx", id="a list of lengths"),
        pytest.param(POST + b"content-length: +1\r\n\r\nx", id="a length with a sign"),
        pytest.param(POST + b"content-length: -1\r\n\r\nx", id="a negative length"),
        pytest.param(POST + b"content-length: 0x1\r\n\r\nx", id="a length in hex"),
        pytest.param(POST + b"content-length: 1_0\r\n\r\nx", id="a length as Python writes it"),
        pytest.param(POST + b"content-length: 1 1\r\n\r\nx", id="a length with a blank"),
        pytest.param(POST + b"content-length:\r\n\r\nx", id="no length"),
        pytest.param(POST + b"content-length: 99999999999999999999\r\n\r\nx", id="a length past 64 bits"),
        pytest.param(POST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="CL.TE"),
        pytest.param(POST + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n0\r\n\r\n", id="TE.CL"),
        pytest.param(POST + b"transfer-encoding: gzip\r\n\r\nx", id="another coding"),
        pytest.param(POST + b"transfer-encoding: identity\r\n\r\nx", id="identity"),
        pytest.param(POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="a coding, then chunks"),
        pytest.param(POST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", id="chunks in chunks"),
        pytest.param(POST + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n", id="chunked twice"),
        pytest.param(POST + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", id="chunks, then a coding"),
        pytest.param(POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", id="nearly chunked"),
        pytest.param(POST + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n', id="chunked in quotes"),
        pytest.param(POST + b"transfer-encoding:\r\n\r\n0\r\n\r\n", id="no coding"),
        pytest.param(POST + b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n", id="a vertical tab"),
        pytest.param(b"POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="1.0 in chunks"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\na : b\r\n\r\n", id="a blank before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n a: b\r\n\r\n", id="a blank before the name"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n", id="a folded line"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\nhost: x\r\na: b\n\r\n", id="an empty line before a header"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\na: b\n\r\n", id="a bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\na: b\rc: d\r\n\r\n", id="a bare CR"),
        pytest.param(b"GET / HTTP/1.1\nhost: x\n\n", id="LF for CRLF"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\na: b\0\r\n\r\n", id="NUL in a value"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\na\0: b\r\n\r\n", id="NUL in a name"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n: b\r\n\r\n", id="no name"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\na(b): c\r\n\r\n", id="a name that is no token"),
        pytest.param(b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n", id="NUL in the target"),
        pytest.param(b"GET /\tb HTTP/1.1\r\nhost: x\r\n\r\n", id="a tab in the target"),
        pytest.param(b"GET / b HTTP/1.1\r\nhost: x\r\n\r\n", id="a blank in the target"),
        pytest.param(b"GET x HTTP/1.1\r\nhost: x\r\n\r\n", id="a target without a slash"),
        pytest.param(b"GET * HTTP/1.1\r\nhost: x\r\n\r\n", id="an asterisk but for OPTIONS"),
        pytest.param(b"GET ftp://x/ HTTP/1.1\r\nhost: x\r\n\r\n", id="another scheme"),
        pytest.param(b"GET http://u:p@x/ HTTP/1.1\r\nhost: x\r\n\r\n", id="a target with a password"),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", id="a tunnel"),
        pytest.param(b"GET /\r\n\r\n", id="HTTP/0.9 without a version"),
        pytest.param(b"GET / HTTP/0.9\r\nhost: x\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", id="HTTP/2.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 with prior knowledge"),
        pytest.param(b"GET / HTTP/1.2\r\nhost: x\r\n\r\n", id="HTTP/1.2"),
        pytest.param(b"GET / HTTP1.1\r\nhost: x\r\n\r\n", id="a version without a slash"),
        pytest.param(b"get / HTTP/1.1\r\nhost: x\r\n\r\n", id="a method in lower case"),
        pytest.param(b"G?T / HTTP/1.1\r\nhost: x\r\n\r\n", id="a method that is no token"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 300 + b"\r\n", id="headers past their number"),
    ],
)
@PIECES
def test_message_in_doubt_is_refused_and_nothing_behind_it_is_served(sent: bytes, piece: int) -> None:
    answer, seen = served(sent + BEHIND, piece)
    refusal = answer.rpartition(b"\r\n\r\n")[0].rpartition(b"HTTP/1.1 ")[2] + b"\r\n"
    assert refusal.startswith(b"400 ")
    assert b"\r\nconnection: close\r\n" in refusal
    assert "DELETE /smuggled" not in seen


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(b"1\nx\r\n0\r\n\r\n", id="a bare LF behind the size"),
        pytest.param(b"1\r\nx\n0\r\n\r\n", id="a bare LF behind the data"),
        pytest.param(b"1\r\nxx\r\n0\r\n\r\n", id="more than the size"),
        pytest.param(b"2\r\nx\r\n0\r\n\r\n", id="less than the size"),
        pytest.param(b" 1\r\nx\r\n0\r\n\r\n", id="a blank before the size"),
        pytest.param(b"1 \r\nx\r\n0\r\n\r\n", id="a blank behind the size"),
        pytest.param(b"0x1\r\nx\r\n0\r\n\r\n", id="a size with a prefix"),
        pytest.param(b"+1\r\nx\r\n0\r\n\r\n", id="a size with a sign"),
        pytest.param(b"-1\r\nx\r\n0\r\n\r\n", id="a negative size"),
        pytest.param(b"\r\nx\r\n0\r\n\r\n", id="no size"),
        pytest.param(b"ffffffffffffffffff\r\nx", id="a size past 64 bits"),
        pytest.param(b"1;a\nb\r\nx\r\n0\r\n\r\n", id="LF in an extension"),
        pytest.param(b"1;a\rb\r\nx\r\n0\r\n\r\n", id="CR in an extension"),
        pytest.param(b"1;\0\r\nx\r\n0\r\n\r\n", id="NUL in an extension"),
        pytest.param(b"1;" + b"a" * (1 << 18) + b"\r\nx\r\n0\r\n\r\n", id="an extension without end"),
        pytest.param(b"0\r\ncontent-length: 5\r\n\r\n", id="a length in the trailers"),
        pytest.param(b"0\r\ntransfer-encoding: chunked\r\n\r\n", id="a coding in the trailers"),
        pytest.param(b"0\r\na : b\r\n\r\n", id="a blank before the colon of a trailer"),
        pytest.param(b"0\r\na: " + b"b" * (1 << 18) + b"\r\n\r\n", id="a trailer without end"),
    ],
)
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_chunks_in_doubt_are_refused_and_nothing_behind_them_is_served(chunks: bytes, piece: int) -> None:
    answer, seen = served(CHUNKED + chunks + BEHIND, piece if len(chunks) < 1000 else 1 << 15)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert "DELETE /smuggled" not in seen


# --- messages that are not in doubt -------------------------------------------------------------------
@PIECES
def test_blanks_around_header_values_are_no_part_of_them(piece: int) -> None:
    head = b"GET / HTTP/1.1\r\nhost: x\r\na:b\r\nc: \t d e \t \r\nf:\r\ng:  \t\r\nconnection: close \r\n\r\n"
    seen: list[tuple[bytes, bytes]] = []

    async def work() -> None:
        async with serving(App(headers=seen)) as on:
            client = await on.connect()
            for start in range(0, len(head), piece):
                await client.send(head[start : start + piece])
                await asyncio.sleep(0)
            await client.rest()

    run(work())
    assert seen == [
        (b"host", b"x"), (b"a", b"b"), (b"c", b"d e"), (b"f", b""), (b"g", b""), (b"connection", b"close")
    ]  # fmt: skip


def test_absolute_target_stands_for_the_host() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def work() -> None:
        async with serving(App(headers=seen)) as on:
            head = b"GET http://inner:81/a HTTP/1.1\r\nhost: outer\r\nconnection: close\r\n\r\n"
            assert bodies(await on.ask(head)) == [b"GET /a  0"]

    run(work())
    assert (b"host", b"inner:81") in seen


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n"])
def test_empty_lines_before_a_request_are_skipped(lines: bytes) -> None:
    answer, seen = served(lines + b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 1 << 20)
    assert (bodies(answer), seen) == ([b"GET /a  0"], ["GET /a"])


def test_input_behind_connection_close_is_not_served() -> None:
    answer, seen = served(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + BEHIND, 1 << 20)
    assert (bodies(answer), seen) == ([b"GET /a  0"], ["GET /a"])


def test_large_piece_is_parsed_in_parts_and_in_order() -> None:
    count = 6000
    requests = b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % n for n in range(count))
    answer, seen = served(requests, 1 << 20)
    assert seen == [f"GET /{n}" for n in range(count)]
    assert len(bodies(answer)) == count
