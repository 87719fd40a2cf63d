"""What comes through a real socket and is no good: each piece is refused by itself, nobody else notices."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from jepsen_like.cluster.client import PATIENCE_S, together
from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.cluster.served import Served
from raftmem.limits import BODY_BYTES_MAX


class Reply(NamedTuple):
    """A reply as it came."""

    status: int
    body: bytes


@contextmanager
def connected(replica: Served) -> Iterator[socket.socket]:
    address = urlsplit(replica.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE_S) as connection:
        yield connection


def exchange(replica: Served, *pieces: bytes) -> Reply:
    """Send the pieces as far as they are taken; the one reply."""
    with connected(replica) as connection:
        with suppress(ConnectionError):  # it stopped listening, as it may
            for piece in pieces:
                connection.sendall(piece)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Reply(response.status, response.read())


def post(body: bytes, *, media_type: str = "application/json", target: str = "/v1/memories") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {media_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


BIG = json.dumps({"text": "x" * BODY_BYTES_MAX}).encode()
CHUNKED = (
    b"POST /v1/memories HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
REFUSED = {
    "a body past its limit": (post(BIG), 413, "too-large"),
    "a text past its limit": (post(json.dumps({"text": "x" * 70_000}).encode()), 413, "too-large"),
    "another content type": (post(b'{"text": "x"}', media_type="text/plain"), 415, "unsupported-media-type"),
    "no JSON": (post(b'{"text": '), 400, "invalid-request"),
    "an empty body": (post(b""), 400, "invalid-request"),
    "bad UTF-8": (post(b'{"text": "\xff"}'), 400, "invalid-request"),
    "a key twice": (post(b'{"text": "x", "text": "y"}'), 400, "invalid-request"),
    "nesting without end": (post(b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), 400, "invalid-request"),
    "an integer past 2^53": (post(b'{"value": 9007199254740993}'), 400, "invalid-request"),
    "an infinite number": (post(b'{"text": "x", "confidence": 1e999}'), 400, "invalid-request"),
    "an unknown field": (post(b'{"text": "x", "colour": "red"}'), 400, "invalid-request"),
    "an unknown query parameter": (get("/v1/memories?colour=red"), 400, "invalid-request"),
    "an unknown level": (get("/v1/memories?consistency=strong"), 400, "unknown-consistency"),
    "a path of bad UTF-8": (get("/v1/memories/%ff"), 400, "invalid-request"),
    "a NUL in a path": (get("/v1/memories/a%00b"), 400, "invalid-request"),
    "an unknown path": (get("/v2/memories"), 404, "not-found"),
    "an unknown method": (get("/v1/memories").replace(b"GET", b"PATCH"), 405, "method-not-allowed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_refused_with_a_problem_and_enters_no_log(shared_group: LoopbackGroup, case: str) -> None:
    request, status, code = REFUSED[case]
    for replica in shared_group.replicas:
        reply = exchange(replica, request)
        problem = json.loads(reply.body)
        assert (reply.status, problem["status"], problem["code"]) == (status, status, code)
        assert (problem["outcome"], problem["retryable"]) == ("not_applied", False)
        assert problem["type"] == f"urn:raftmem:error:{code}"
        assert problem["request_id"]


def test_an_unknown_parameter_is_named(shared_group: LoopbackGroup) -> None:
    reply = shared_group["n1"].ask("GET", "/v1/memories/x?colour=red")
    assert (reply.status, reply.at("parameter")) == (400, "colour")


def test_a_chunked_body_past_its_limit_is_413_before_it_ends(shared_group: LoopbackGroup) -> None:
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    reply = exchange(shared_group["n2"], CHUNKED, *[chunk] * 40)
    assert reply.status == 413


GARBAGE = {
    "no HTTP": b"garbage\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "zeroes": bytes(70_000),
    "a header without end": b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
    "a bad length": b"POST /v1/memories HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /v1/memories HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "a bad chunk": CHUNKED + b"zz\r\nxx\r\n",
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_is_no_request_and_the_replica_serves_on(shared_group: LoopbackGroup, case: str) -> None:
    replica = shared_group["n3"]
    with connected(replica) as connection:
        connection.sendall(GARBAGE[case])
        connection.shutdown(socket.SHUT_WR)
        reply = b""
        with suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                reply += part
    assert not reply or reply.split()[1] in (b"400", b"413", b"431"), reply
    assert replica.ask("GET", "/readyz").status == 200


@pytest.mark.parametrize("case", ["no HTTP", "TLS", "zeroes"])
def test_garbage_at_the_peer_port_is_closed_and_the_group_goes_on(shared_group: LoopbackGroup, case: str) -> None:
    term = shared_group.leader().ask("GET", "/v1/cluster").integer("term")
    for row in shared_group["n1"].ask("GET", "/v1/cluster").rows("members"):
        host, _, port = str(row["peer_url"]).rpartition(":")
        stranger = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        with stranger, suppress(ConnectionError):
            stranger.sendall(GARBAGE[case])
            while stranger.recv(1 << 16):
                pass
    answer = shared_group["n2"].ask("POST", "/v1/memories", {"text": "goes on"})
    assert answer.status == 201
    assert shared_group.leader().ask("GET", "/v1/cluster").integer("term") == term


def test_ten_slow_clients_hold_nobody_up(shared_group: LoopbackGroup) -> None:
    replica = shared_group.leader()
    body = b'{"text": "slow", "app_id": "slow"}'
    request = post(body)
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(replica)) for _ in range(10)]
        for k, connection in enumerate(slow):
            connection.sendall(request[: len(request) * (k + 1) // 12])

        def quick(k: int) -> set[int]:
            target = shared_group.replicas[k % 3]
            return {target.ask("POST", "/v1/memories", {"text": "quick", "app_id": "quick"}).status for _ in range(20)}

        assert set().union(*together(6, quick)) == {201}
        assert shared_group.memories("app_id=slow") == []
        for k, connection in enumerate(slow):
            connection.sendall(request[len(request) * (k + 1) // 12 :])
            assert connection.recv(1 << 16).split()[1] == b"201"
    assert len(shared_group.memories("app_id=slow")) == 10


def test_readers_that_never_read_hold_nobody_up(shared_group: LoopbackGroup) -> None:
    replica = shared_group["n1"]
    for k in range(20):
        stored = replica.ask("PUT", f"/v1/memories/wide-{k}", {"text": "w" * 60_000, "app_id": "wide"})
        assert stored.status == 201
    with ExitStack() as stack:
        for _ in range(10):
            deaf = stack.enter_context(connected(replica))
            deaf.sendall(get("/v1/memories?app_id=wide"))
        assert replica.ask("GET", "/v1/memories/wide-7").status == 200
        assert replica.ask("POST", "/v1/memories", {"text": "heard"}).status == 201
