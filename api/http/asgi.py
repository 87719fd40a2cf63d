"""ASGI on both sides: another server may serve our app, and our app asks an ASGI app (FastAPI) behind it.

A foreign server shows only ASGI, so a streamed reply has no `Line` there. Replies of the app behind are gathered whole:
it has no streams.
"""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raftmem.api.http.exchange import Disconnected, Exchange, Header
from raftmem.limits import BODY_BYTES_MAX

_VERSIONS: Final = {"version": "3.0", "spec_version": "2.3"}


def pairs(head: bytes) -> list[Header]:
    """The header lines of a head as pairs."""
    lines = head.split(b"\r\n")[:-1]
    found = (line.partition(b": ") for line in lines)
    return [(name, value) for name, _, value in found]


def joined(headers: Sequence[Header]) -> bytes:
    """Headers as a head. Raises: RuntimeError for a line break inside one."""
    head = b""
    for name, value in headers:
        if b"\n" in value or b"\r" in value or b"\n" in name or b"\r" in name:
            raise RuntimeError("a header holds a line break")
        head += b"%b: %b\r\n" % (name, value)
    return head


class AsgiExchange:
    """A request of a foreign ASGI server, as `Exchange`."""

    line: None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        self.path = raw.partition(b"?")[0]
        self.query: bytes = scope["query_string"]
        self.headers: list[Header] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        self.is_old: bool = scope.get("http_version") == "1.0"
        self.client: str = (scope.get("client") or ("",))[0]
        self._receive = receive
        self._send = send
        self._body: bytes | None = None

    async def body(self) -> bytes:
        if self._body is None:
            self._body = await self._read()
        return self._body

    async def _read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while size <= BODY_BYTES_MAX:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part: bytes = message.get("body", b"")
            size += len(part)
            parts.append(part)
            if not message.get("more_body", False):
                break
        return b"".join(parts)

    async def gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(self, status: int, head: bytes, body: bytes) -> None:
        await self.begin(status, head)
        await self.end(body)

    async def begin(self, status: int, head: bytes) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": pairs(head)})

    async def put(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self, last: bytes) -> None:
        last = b"" if self.method == "HEAD" else last
        await self._send({"type": "http.response.body", "body": last, "more_body": False})


async def ask(
    app: ASGIApp, exchange: Exchange, route: str, state: dict[str, object], told: Callable[[int], None]
) -> None:
    """Let an ASGI app answer. Its requests find `state` as `request.state`; `told` is called with the status.

    `route`: the template that the router found, which the app is given as the path; "" where there is none.

    Raises: Disconnected, and what the app raises, which may have answered before.
    """
    path = exchange.path
    whole = _Whole(exchange, told)
    scope: Scope = {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": "1.1",
        "method": "GET" if exchange.method == "HEAD" else exchange.method,
        "scheme": "http",
        "path": route or unquote(path.decode("ascii", "replace")),
        "raw_path": path,
        "query_string": exchange.query,
        "root_path": "",
        "headers": exchange.headers,
        "server": None,
        "client": None,
        "state": state,
    }
    await app(scope, whole.receive, whole.send)


class _Whole:
    """`receive` and `send` of an app; its reply is gathered."""

    def __init__(self, exchange: Exchange, told: Callable[[int], None]) -> None:
        self._exchange = exchange
        self._told = told
        self._received = False
        self._start: Message = {}
        self._pieces: list[bytes] = []

    async def receive(self) -> Message:
        if self._received:
            await self._exchange.gone()
            return {"type": "http.disconnect"}
        self._received = True
        return {"type": "http.request", "body": await self._exchange.body()}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            self._told(message["status"])
            return
        self._pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            start, body = self._start, b"".join(self._pieces)
            await self._exchange.reply(start["status"], joined(start["headers"]), body)
