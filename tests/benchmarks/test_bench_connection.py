"""Replies as they come: whole, in pieces, several at once."""

import base64

import pytest

from benchmarks.connection import Reply, request, take
from benchmarks.redis_group import set_and_wait
from benchmarks.watchers import times

WITH_LENGTH = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
IN_CHUNKS = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n'


@pytest.mark.parametrize("whole", [WITH_LENGTH, IN_CHUNKS])
def test_reply_is_taken_when_its_last_byte_is_there(whole: bytes) -> None:
    for cut in range(len(whole)):
        buffer = bytearray(whole[:cut])
        assert take(buffer) is None, cut
        buffer += whole[cut:]
        assert take(buffer) == Reply(200, b'{"a":1}')
        assert buffer == b""


def test_replies_that_came_together_are_taken_one_by_one() -> None:
    buffer = bytearray(IN_CHUNKS + WITH_LENGTH.replace(b"200 OK", b"409 Conflict"))
    assert take(buffer) == Reply(200, b'{"a":1}')
    assert take(buffer) == Reply(409, b'{"a":1}')
    assert take(buffer) is None


def test_reply_without_a_body_ends_with_its_head() -> None:
    assert take(bytearray(b"HTTP/1.1 304 Not Modified\r\n\r\n")) == Reply(304, b"")


@pytest.mark.parametrize("wrong", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"])
def test_what_is_no_reply_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"ssh|length"):
        take(bytearray(wrong))


def test_request_says_the_length_of_its_body_in_bytes() -> None:
    assert request("POST", "/p", "é", headers="X: y\r\n") == (
        b"POST /p HTTP/1.1\r\nHost: bench\r\nX: y\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
        + "é".encode()
    )
    assert request("GET", "/p") == b"GET /p HTTP/1.1\r\nHost: bench\r\n\r\n"


def test_redis_is_asked_to_set_and_then_to_wait() -> None:
    assert set_and_wait(7, "v") == (
        b"*3\r\n$3\r\nSET\r\n$13\r\nbench:0000007\r\n$1\r\nv\r\n*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n1000\r\n"
    )


def test_times_are_found_in_events_of_either_system() -> None:
    ours = b'{"events":[{"payload":{"text":"sent 12345"}},{"payload":{"text":"sent 6"}}]}'
    value = base64.b64encode(b"sent 987654321")
    theirs = b'{"result":{"events":[{"kv":{"key":"a","value":"' + value + b'"}}]}}'
    assert (times(ours), times(theirs), times(b'{"text":"other"}')) == ([12345, 6], [987654321], [])


@pytest.mark.parametrize(("status", "is_ok"), [(199, False), (200, True), (201, True), (299, True), (304, False)])
def test_reply_is_ok_between_200_and_299(status: int, is_ok: bool) -> None:
    assert Reply(status, b"").is_ok == is_ok
