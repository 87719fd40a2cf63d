"""What counts as delivered of a stream, against a socket that sends what a test says and hangs up."""

import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from jepsen_like.cluster.client import Trouble
from jepsen_like.workloads.streaming import Delivered, Item, Reader

HEAD = b"HTTP/1.1 200 OK\r\nRaftmem-Index: 6\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
Read = Callable[..., tuple[Delivered, bytes]]


@pytest.fixture
def read() -> Iterator[Read]:
    """Read a stream of these bytes, from index 7 on: what was delivered, and the request as it came."""
    threads: list[threading.Thread] = []

    def reading(
        sent: bytes, *, by_event: bool = False, holds: bool = False, items: int = 100
    ) -> tuple[Delivered, bytes]:
        asked: list[bytes] = []
        done = threading.Event()
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            with listener, listener.accept()[0] as line:
                asked.append(line.recv(65536))
                line.sendall(sent)
                if holds:
                    done.wait()

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            reader = Reader(url, {"X-Request-Id": "r"}, seconds=0.3, items=items)
            return reader.read(7, {"op": "ADD"}, by_event=by_event), asked[0]
        finally:
            done.set()

    yield reading
    for thread in threads:
        thread.join()


def line(index: int, before: int | None, *seqs: int) -> bytes:
    events = [{"index": index, "seq": seq} for seq in seqs]
    return json.dumps({"type": "entry", "index": index, "prev_index": before, "events": events}).encode() + b"\n"


def word(name: str, index: int) -> bytes:
    return json.dumps({"type": name, "index": index}).encode() + b"\n"


def test_entries_and_bookmarks_are_taken_in_their_order_until_the_replica_says_goodbye(read: Read) -> None:
    sent = HEAD + word("bookmark", 6) + line(8, 5, 0, 2) + line(9, 8, 1) + word("bookmark", 12) + word("goodbye", 12)
    found, asked = read(sent)
    assert found.items == [Item(8, 5, (0, 2)), Item(9, 8, (1,))]
    assert (found.bookmarks, found.ended, found.refused, found.index) == ([6, 12], "goodbye", None, 6)
    assert found.covered == 12
    assert asked.startswith(b"GET /v1/watch?op=ADD&from=7 HTTP/1.1\r\n")
    assert b"Accept: application/x-ndjson\r\n" in asked


def test_server_sent_events_are_resumed_after_the_last_index_that_was_had(read: Read) -> None:
    sent = HEAD + b"id: 8\ndata: " + line(8, None, 0) + b"\nid: 8\nevent: lagged\ndata: " + word("lagged", 8) + b"\n"
    found, asked = read(sent, by_event=True)
    assert (found.items, found.ended) == ([Item(8, None, (0,))], "lagged")
    assert b"Last-Event-ID: 6\r\n" in asked
    assert b"from=" not in asked


def test_an_entry_that_was_cut_in_the_middle_was_not_delivered(read: Read) -> None:
    found, _ = read(HEAD + line(8, None, 0) + line(9, 8, 0)[:-1])
    assert ([item.index for item in found.items], found.ended, found.covered) == ([8], "lost", 8)


def test_a_reader_leaves_after_its_time_and_after_its_number_of_entries(read: Read) -> None:
    timed, _ = read(HEAD + line(8, None, 0), holds=True)
    assert ([item.index for item in timed.items], timed.ended) == ([8], "enough")
    counted, _ = read(HEAD + line(8, None, 0) + line(9, 8, 0) + line(10, 9, 0), holds=True, items=2)
    assert ([item.index for item in counted.items], counted.ended) == ([8, 9], "enough")


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (
            b"HTTP/1.1 410 Gone\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n"
            b'{"code": "index-compacted"}',
            "index-compacted",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "502"),
        (b"", "lost: RemoteDisconnected"),
    ],
)
def test_a_stream_that_never_began_says_why(read: Read, sent: bytes, why: str) -> None:
    found, _ = read(sent)
    assert (found.refused, found.items) == (why, [])


def test_a_word_that_the_contract_does_not_have_stops_the_run(read: Read) -> None:
    with pytest.raises(Trouble, match="a stream says"):
        read(HEAD + b'{"type": "surprise", "index": 1}\n')
