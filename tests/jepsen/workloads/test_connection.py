"""What a connection makes of every way in which a request can go out, against a server that follows a script."""

import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jepsen_like.cluster.client import Answer, Trouble
from jepsen_like.history.jsonl import read_history
from jepsen_like.history.recorder import Recorder
from jepsen_like.workloads.connection import Connection, Request

READ = Request("GET", "/v1/memories/a?consistency=lease", reads=True)
LEASE = {"Raftmem-Consistency": "lease"}
WRITE = Request("PUT", "/v1/memories/a", {"value": 1})
Reply = tuple[int, dict[str, str], object]


class Scripted(ThreadingHTTPServer):
    """Answers what the script says, in its order; where it says None, hangs up without a word. `asked`: as it came."""

    daemon_threads = True

    def __init__(self, *script: Reply | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = list(script)
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, Scripted)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        reply = server.script.pop(0)
        if reply is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, headers, body = reply
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_PUT = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test has no use for it."""


Connect = Callable[..., tuple[Connection, Scripted, Recorder]]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """A connection to a server that follows the script, as the only replica n1."""
    opened: list[tuple[Connection, Scripted, Recorder, threading.Thread]] = []

    def made(*script: Reply | None) -> tuple[Connection, Scripted, Recorder]:
        server, recorder = Scripted(*script), Recorder(tmp_path / "history.jsonl")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        connection = Connection(lambda: {"n1": server.url}, recorder, actor="agent/a", chance=random.Random(1))
        opened.append((connection, server, recorder, thread))
        return connection, server, recorder

    yield made
    for connection, server, recorder, thread in opened:
        connection.close()
        server.shutdown()
        server.server_close()
        thread.join()
        recorder.close()


def problem(status: int, code: str, outcome: str, **headers: str) -> Reply:
    return status, headers, {"code": code, "outcome": outcome}


@pytest.mark.parametrize(
    ("request_", "reply", "type_", "error"),
    [
        (WRITE, (201, {}, {}), "ok", None),
        (READ, (200, LEASE, {}), "ok", None),
        (READ, problem(404, "not-found", "not_applied", **LEASE), "ok", None),
        (READ, (200, {"Raftmem-Consistency": "eventual"}, {}), "fail", "nonsense"),
        (READ, (200, {}, {}), "fail", "nonsense"),
        (WRITE, problem(404, "not-found", "not_applied"), "fail", "not-found"),
        (WRITE, problem(412, "precondition-failed", "not_applied"), "fail", "precondition-failed"),
        (WRITE, problem(503, "no-leader", "not_applied"), "fail", "no-leader"),
        (WRITE, problem(504, "unknown-outcome", "unknown"), "unknown", "unknown-outcome"),
        (READ, problem(504, "consistency-timeout", "not_applied"), "fail", "consistency-timeout"),
        (WRITE, (500, {}, "what happened nobody knows"), "unknown", "500"),
        (WRITE, None, "unknown", "lost"),
        (READ, None, "fail", "lost"),
    ],
)
def test_an_outcome_is_what_the_reply_says_and_without_one_as_bad_as_it_may_be(
    connect: Connect, request_: Request, reply: Reply | None, type_: str, error: str | None
) -> None:
    connection, _, _ = connect(reply)
    before = connection.process
    told = connection.do("f", "a", None, request_)
    assert (told.type, told.error, told.process) == (type_, error, before)
    assert (told.return_ is None) == (type_ == "unknown")
    assert (connection.process != before) == (type_ == "unknown")  # its process may still do it: it is retired


def test_a_replica_that_cannot_be_reached_has_done_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history.jsonl")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        urls = {"n1": f"http://127.0.0.1:{deaf.getsockname()[1]}"}
        connection = Connection(lambda: urls, recorder, actor="agent/a", chance=random.Random(1))
        told = connection.do("write", "a", 1, WRITE)
    assert (told.type, told.error, connection.process) == ("fail", "unreached", told.process)
    recorder.close()


def test_what_is_recorded_names_the_index_the_level_the_node_and_the_request(connect: Connect, tmp_path: Path) -> None:
    headers = {"Raftmem-Index": "17", "Raftmem-Consistency": "lease"}
    connection, server, recorder = connect((200, headers, {"value": 4}), (200, {"Raftmem-Index": "18"}, {}))
    read = connection.do("read", "a", None, READ, lambda answer: answer.at("value"))
    assert (read.result, read.index, read.level, read.node) == (4, 17, "lease", "n1")
    write = connection.do("write", "a", 1, Request("PUT", "/v1/memories/a", {}, key="k", timeout_ms=7))
    assert (write.idempotency, write.index, write.level) == ("k", 18, None)
    recorder.close()
    assert read_history(tmp_path / "history.jsonl").operations == (read, write)
    (read_path, _), (write_path, asked) = server.asked
    assert read_path == "/v1/memories/a?consistency=lease&timeout_ms=2000"
    assert write_path == "/v1/memories/a?timeout_ms=7"
    assert asked["idempotency-key"] == "k"
    assert asked["x-request-id"] == write.request
    assert asked["raftmem-actor"] == "agent/a"


def test_after_no_answer_and_after_a_503_the_client_asks_elsewhere(tmp_path: Path) -> None:
    recorder, asked = Recorder(tmp_path / "history.jsonl"), list[str]()
    servers = {
        "n1": Scripted(None, problem(503, "no-leader", "not_applied")),
        "n2": Scripted((200, {}, {}), (200, {}, {}), (200, {}, {})),
    }
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers.values()]
    for thread in threads:
        thread.start()

    class Turns(random.Random):
        """Chooses n1 until it is done with its script, and then n2, and says that it did."""

        def choice(self, seq: object) -> str:  # type: ignore[override]  # of the names alone
            assert seq == ["n1", "n2"]
            asked.append("n1" if servers["n1"].script else "n2")
            return asked[-1]

    urls = {name: server.url for name, server in servers.items()}
    connection = Connection(lambda: urls, recorder, actor="agent/a", chance=Turns(0))
    try:
        nodes = [connection.do("read", "a", None, READ).node for _ in range(5)]
        assert nodes == ["n1", "n1", "n2", "n2", "n2"]
        assert asked == ["n1", "n1", "n2"]  # it stays with a replica that answers
    finally:
        connection.close()
        for server in servers.values():
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
        recorder.close()


def page(index: int, values: list[int], cursor: str | None) -> Reply:
    return 200, {"Raftmem-Index": str(index)}, {"memories": [{"value": v} for v in values], "next_cursor": cursor}


ALL = Request("GET", "/v1/memories?limit=2", reads=True, pages="memories")


def values_of(answer: Answer) -> object:
    return [row["value"] for row in answer.rows("memories")]


def test_all_pages_of_a_list_are_one_operation(connect: Connect) -> None:
    connection, server, recorder = connect(page(5, [1, 2], "x"), page(5, [3], "y"), page(5, [4], None))
    told = connection.do("read", "a", None, ALL, values_of)
    assert (told.type, told.result, told.index) == ("ok", [1, 2, 3, 4], 5)
    assert recorder.operations == [told]
    assert [path.split("&")[1] for path, _ in server.asked] == ["timeout_ms=2000", "cursor=x", "cursor=y"]


@pytest.mark.parametrize("second", [page(6, [3], None), problem(410, "index-compacted", "not_applied"), None])
def test_a_list_whose_pages_do_not_fit_or_do_not_come_is_no_read(connect: Connect, second: Reply | None) -> None:
    connection, _, _ = connect(page(5, [1, 2], "x"), second)
    told = connection.do("read", "a", None, ALL, values_of)
    assert (told.type, told.result in (None, "a page of index 6 follows one of index 5")) == ("fail", True)


def test_an_answer_without_what_the_api_promises_stops_the_run(connect: Connect) -> None:
    connection, _, _ = connect((200, LEASE, {"other": 1}))
    with pytest.raises(Trouble, match="no field value"):
        connection.do("read", "a", None, READ, lambda answer: answer.at("value"))


def test_another_connection_of_a_client_has_its_actor_and_a_process_of_its_own(connect: Connect) -> None:
    connection, server, _ = connect((200, {}, {}), (200, {}, {}))
    other = connection.another()
    assert connection.do("f", "a", None, WRITE).process != other.do("f", "a", None, WRITE).process
    other.close()
    assert [headers["raftmem-actor"] for _, headers in server.asked] == ["agent/a", "agent/a"]
