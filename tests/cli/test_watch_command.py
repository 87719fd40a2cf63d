"""`raftmem watch` against scripted streams: what is asked, what a line says, where it goes on."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from cli_world import Cli
from scripted_group import Body, event

from raftmem.cli.exits import Exit

GRANT = {**event("LOCK_GRANT", lock="deploy/prod", token=20, owner="coder#2"), "index": 20, "payload": {}}
CLOSED = {**event("GATE_CLOSE", gate="ship", open=False), "index": 21, "payload": {}}
WRITE = {**event("UPDATE", memory_id="m", version=3), "index": 21, "seq": 1, "payload": {"text": "x"}}


def entry(index: int, previous: int | None, *events: Body) -> Body:
    return {"type": "entry", "index": index, "prev_index": previous, "events": list(events)}


class Streams:
    """`script`: one list of lines a request; a status and a problem instead refuses it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: list[list[Body] | tuple[int, Body]] = []
        self.asked: list[dict[str, list[str]]] = []


@contextmanager
def streaming() -> Iterator[Streams]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            streams.asked.append(parse_qs(urlsplit(self.path).query))
            answer = streams.script.pop(0)
            status, lines = (200, answer) if isinstance(answer, list) else (answer[0], [answer[1]])
            self.send_response(status)
            self.send_header("raftmem-cluster", "c/1")
            self.end_headers()
            for line in lines:
                self.wfile.write(json.dumps(line).encode() + b"\n")

        def log_message(self, format: str, *args: object) -> None:  # the test reads `asked`
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    streams = Streams(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield streams
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    with streaming() as started:
        monkeypatch.setenv("RAFTMEM_URL", started.url)
        yield started


def test_events_are_lines_and_the_filters_are_asked_for(streams: Streams, cli: Cli) -> None:
    streams.script = [[entry(20, 12, GRANT), entry(21, 20, CLOSED, WRITE)]]
    filters = ("--lock", "deploy/prod", "--by", "mia", "--tag", "a", "--tag", "b", "--app", "shop", "--internal")
    ended = cli("watch", "--from", "20", *filters, "--outcome", "applied", "--max", "2")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        "20.0  2026-11-20T09:00:00.000Z  user/mia  LOCK_GRANT  deploy/prod token 20 coder#2  applied",
        "21.0  2026-11-20T09:00:00.000Z  user/mia  GATE_CLOSE  ship closed  applied",
        "21.1  2026-11-20T09:00:00.000Z  user/mia  UPDATE  m v3  applied",
    ]
    assert streams.asked == [
        {
            **{"lock": ["deploy/prod"], "actor_id": ["mia"], "outcome": ["applied"], "tag": ["a", "b"]},
            **{"include": ["internal"], "app_id": ["shop"], "from": ["20"]},
        }
    ]


def test_json_is_one_event_a_line_as_the_service_shows_it(streams: Streams, cli: Cli) -> None:
    streams.script = [[entry(20, None, GRANT), entry(21, 20, CLOSED, WRITE)]]
    ended = cli("watch", "--from", "20", "--max", "2", "--json")
    assert [json.loads(line) for line in ended.out.splitlines()] == [GRANT, CLOSED, WRITE]


def test_stream_that_ends_is_gone_on_with_right_after_what_came(streams: Streams, cli: Cli) -> None:
    streams.script = [[entry(20, None, GRANT), {"type": "goodbye", "index": 20}], [entry(21, 20, CLOSED)]]
    ended = cli("watch", "--from", "20", "--max", "2")
    assert (ended.code, len(ended.out.splitlines())) == (0, 2)
    assert [asked["from"] for asked in streams.asked] == [["20"], ["21"]]


def test_what_is_no_longer_kept_is_told_with_where_it_stands(streams: Streams, cli: Cli) -> None:
    gone: Body = {"code": "index-compacted", "status": 410, "detail": "index 5 is below 9", "oldest_index": 9}
    streams.script = [(410, gone)]
    ended = cli("watch", "--from", "5", "--json")
    assert (ended.code, ended.part("oldest_index")) == (Exit.FAILED, 9)
    assert "index-compacted: index 5 is below 9" in ended.err


def test_index_of_the_future_is_a_usage_error_with_no_place_to_go_on(streams: Streams, cli: Cli) -> None:
    ahead: Body = {"code": "future-index", "status": 400, "detail": "from=99 is above the next index 9"}
    streams.script = [(400, ahead)]
    ended = cli("watch", "--from", "99")
    assert (ended.code, ended.err) == (Exit.USAGE, "raftmem: future-index: from=99 is above the next index 9\n")


def test_usage_error_is_code_2(streams: Streams, cli: Cli) -> None:
    assert cli("watch", "--outcome", "maybe").code == Exit.USAGE
    assert cli("watch", "--url", "nowhere").code == Exit.USAGE
    assert cli("watch", "--actor", "nobody").code == Exit.USAGE
    assert streams.asked == []
