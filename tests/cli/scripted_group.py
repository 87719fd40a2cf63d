"""A group of one address that answers from a script, and keeps what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

Body = dict[str, object]
Reply = tuple[int, Body]
EVENT: Body = {
    **{"index": 12, "seq": 0, "term": 1, "time": "2026-11-20T09:00:00.000Z", "outcome": "applied", "code": None},
    **{"actor": {"type": "user", "id": "mia", "role": None}, "scope": None, "read_index": None, "request_id": "r"},
}


class Asked(NamedTuple):
    """`route`: method and path with the query."""

    route: str
    body: Body | None
    headers: Mapping[str, str]


def event(op: str, **about: object) -> Body:
    return {**EVENT, "op": op, **about}


def problem(status: int, code: str, detail: str = "why", **fields: object) -> Reply:
    told: Body = {"status": status, "code": code, "detail": detail, "outcome": "not_applied", "retryable": False}
    return status, told | fields


class ScriptedGroup:
    """`replies`: by route; a list of them one after the other, the last for ever; a function of what was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: dict[str, Reply | list[Reply] | Callable[[Asked], Reply]] = {}
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        reply = self.replies.get(asked.route)
        if reply is None:
            return problem(404, "not-found", f"the script has no {asked.route}")
        if isinstance(reply, list):
            return reply.pop(0) if len(reply) > 1 else reply[0]
        return reply if isinstance(reply, tuple) else reply(asked)

    def body(self, place: int = -1) -> Body | None:
        return self.asked[place].body

    def routes(self) -> list[str]:
        return [asked.route for asked in self.asked]


@contextmanager
def scripted_group() -> Iterator[ScriptedGroup]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            status, reply = group.answer(Asked(f"{self.command} {self.path}", body, dict(self.headers)))
            raw = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_PUT = do_DELETE = do_POST

        def log_message(self, format: str, *args: object) -> None:  # the test reads `asked`
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    group = ScriptedGroup(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield group
    finally:
        server.shutdown()
        server.server_close()
