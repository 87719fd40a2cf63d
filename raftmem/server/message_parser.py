"""The bytes of one connection as HTTP/1.1 messages: httptools parses, this module refuses where a message is in doubt.

The rule: two readers of the same bytes must agree where each message ends, else a proxy and this server can be made to
disagree about what is a request. So a body is a body whatever else the head says (an `Upgrade` changes nothing), and a
message that could be read in two ways is refused. Nothing is parsed behind a refusal.
"""

from typing import Final, Protocol

import httptools

from raftmem.api.http.exchange import Header
from raftmem.limits import CHUNK_OVERHEAD_FACTOR, HEAD_BYTES_MAX, HEADERS_MAX

NOT_HTTP: Final = "this is not an HTTP/1.1 request; look at its first lines"
TOO_LONG: Final = f"the head of the request is past its limit of {HEAD_BYTES_MAX} bytes"
_METHODS: Final = {word.encode(): word for word in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")}
_BLANKS: Final = b" \t"
_FRAMING: Final = (b"content-length", b"transfer-encoding", b"connection")
_UPGRADE: Final = httptools.HttpParserUpgrade


class Malformed(Exception):
    """The input is no request, or could be read in two ways; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Receiver(Protocol):
    """The connection, as its parser tells it of messages: a head, parts of a body, the end."""

    def head_received(
        self, method: str, path: bytes, query: bytes, headers: list[Header], keeps_alive: bool, is_old: bool, /
    ) -> None:
        """`path` is ASCII; names in `headers` are in lower case, values without blanks around them."""
        ...

    def body_received(self, part: bytes) -> None: ...

    def message_completed(self) -> None: ...


class MessageParser:
    """`is_in_head`, `is_in_body`: where the input stands between two pieces."""

    __slots__ = (
        *(
            "_body_bytes",
            "_headers",
            "_http",
            "_is_framing_checked",
            "_is_old",
            "_piece_bytes",
            "_receiver",
            "_upgrades",
        ),
        *("_url", "is_in_body", "is_in_head"),
    )

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._http: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[Header] = []
        self._upgrades = False
        self._is_framing_checked = False
        self._is_old = False
        self._piece_bytes = -1  # of an unfinished head, or of what follows it; without the piece that it began in
        self._body_bytes = 0
        self.is_in_head = False
        self.is_in_body = False

    def feed(self, data: bytes | memoryview) -> None:
        """Parse a piece of the input. Raises: Malformed."""
        parser = self._http
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except _UPGRADE as upgrade:
            self._feed_after_upgrade(data, upgrade)
        except httptools.HttpParserError as error:
            raise _malformed(error) from error
        if self.is_in_body or self.is_in_head:
            self._bound(len(data))

    def close(self) -> None:
        """Parse nothing more; also ends the reference cycle with the parser."""
        self._http = None
        self.is_in_head = self.is_in_body = False

    def _bound(self, size: int) -> None:
        """Bound what a message holds beside its body: the head, the frames of its chunks, trailers."""
        self._piece_bytes = self._piece_bytes + size if self._piece_bytes >= 0 else 0
        if self.is_in_body:
            self._check_framing()
            if self._piece_bytes - self._body_bytes > HEAD_BYTES_MAX + CHUNK_OVERHEAD_FACTOR * self._body_bytes:
                raise Malformed("the chunks of this body are larger than what they carry; send larger ones")
        elif self._piece_bytes > HEAD_BYTES_MAX:
            raise Malformed(TOO_LONG)

    def _feed_after_upgrade(self, data: bytes | memoryview, upgrade: httptools.HttpParserUpgrade) -> None:
        """Upgrades are not supported: go on behind the head as if it had asked for none.

        httptools takes the input behind such a head for another protocol and has skipped the body. So another parser
        reads the framing headers again, without `Upgrade`, and goes on with the input.
        """
        rest = memoryview(data)
        while True:
            rest = rest[upgrade.args[0] :]
            replay = _Replay(self)
            parser = self._http = httptools.HttpRequestParser(replay)
            try:
                parser.feed_data(_framing_head(self._headers, is_old=self._is_old))
                parser.feed_data(rest)
            except _UPGRADE as another:
                upgrade = another
            except httptools.HttpParserError as error:
                raise _malformed(error) from error
            else:
                return

    # --- called by httptools --------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._piece_bytes = -1
        self._body_bytes = 0
        self._is_framing_checked = False
        self.is_in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_in_head:  # else it is a trailer, which means nothing here
            self._headers.append((name.lower(), value.rstrip(_BLANKS)))

    def on_headers_complete(self) -> None:
        parser, url, headers = self._http, self._url, self._headers
        assert parser is not None
        version = parser.get_http_version()
        if version != "1.1" and version != "1.0":
            raise Malformed(f"HTTP/{version} is not spoken here; send HTTP/1.1")
        if len(headers) > HEADERS_MAX:
            raise Malformed(f"the request has {len(headers)} headers; the limit is {HEADERS_MAX}")
        method = parser.get_method()
        if url[:1] == b"/" and b"#" not in url:
            path, _, query = url.partition(b"?")
        else:
            path, query, self._headers = _target(method, url, headers)
            headers = self._headers
        if not path.isascii():
            raise Malformed("the path is not ASCII; percent-encode it")
        self._upgrades = parser.should_upgrade()
        self._is_old = version == "1.0"
        self._piece_bytes = -1
        self.is_in_head = False
        self.is_in_body = True
        self._receiver.head_received(
            _METHODS.get(method) or method.decode("ascii"),
            path,
            query,
            headers,
            not self._is_old and parser.should_keep_alive(),
            self._is_old,
        )

    def on_chunk_header(self) -> None:
        self._check_framing()

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        self._receiver.body_received(part)

    def on_message_complete(self) -> None:
        if self._upgrades:  # only httptools thinks so: the body is still to come
            self._upgrades = False
            return
        self.is_in_body = False
        self._receiver.message_completed()

    def _check_framing(self) -> None:
        """httptools has refused most of what is in doubt; the rest is transfer codings (RFC 9112, 6.1)."""
        if self._is_framing_checked:
            return
        self._is_framing_checked = True
        for name, value in self._headers:
            if name == b"transfer-encoding" and (self._is_old or value.lower() != b"chunked"):
                raise Malformed("Transfer-Encoding may only be chunked, and only in HTTP/1.1")


class _Replay:
    """Callbacks of a parser that reads the head of an upgrade again: it passes on what follows that head."""

    def __init__(self, parser: MessageParser) -> None:
        self._parser = parser
        self._is_head = True

    def on_message_begin(self) -> None:
        if not self._is_head:
            self._parser.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_head:
            self._parser.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_head:
            self._parser.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_head:
            self._is_head = False
        else:
            self._parser.on_headers_complete()

    def on_chunk_header(self) -> None:
        self._parser.on_chunk_header()

    def on_body(self, part: bytes) -> None:
        self._parser.on_body(part)

    def on_message_complete(self) -> None:
        self._parser.on_message_complete()


def _framing_head(headers: list[Header], *, is_old: bool) -> bytes:
    """The head of a request that says of its body and of the connection what `headers` say, and nothing else."""
    kept = b"".join(b"%b: %b\r\n" % header for header in headers if header[0] in _FRAMING)
    return b"POST / HTTP/1.%d\r\n%b\r\n" % (not is_old, kept)


def _target(method: bytes, url: bytes, headers: list[Header]) -> tuple[bytes, bytes, list[Header]]:
    """Path, query and headers of a request whose target is no plain path. Raises: Malformed."""
    if url == b"*" and method == b"OPTIONS":
        return url, b"", headers
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError as error:
        raise Malformed("the target of the request must be a path, as /v1/memories") from error
    path, query = parsed.path or b"/", parsed.query or b""
    if url[:1] == b"/":
        return path, query, headers
    if parsed.schema is None or parsed.schema.lower() not in (b"http", b"https") or not parsed.host or parsed.userinfo:
        raise Malformed("the target of the request must be a path, or an http URL without user and password")
    host = b"[%b]" % parsed.host if b":" in parsed.host else parsed.host
    authority = host if parsed.port is None else b"%b:%d" % (host, parsed.port)
    return path, query, [(name, authority if name == b"host" else value) for name, value in headers]  # RFC 9112, 3.2.2


def _malformed(error: httptools.HttpParserError) -> Malformed:
    story = error.__context__
    return story if isinstance(story, Malformed) else Malformed(NOT_HTTP)
