"""One HTTP request as the routes see it, and the reply they give.

Bodies are read up to their limit and no further (413); headers that may stand once are refused when they stand
twice (400). Nothing here knows a route.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple

from msgspec import UNSET, Struct

from raftmem.api.http import strict_json
from raftmem.api.http.exchange import Exchange, Header
from raftmem.api.http.fair_share import FairShares
from raftmem.api.http.origin import OriginPolicy
from raftmem.api.http.parameters import Parameters, parse
from raftmem.api.http.problems import Problem
from raftmem.api.http.sealed import Sealer
from raftmem.api.http.settings import ApiSettings
from raftmem.api.responses.json_cache import JsonCache
from raftmem.errors import BadRequest, TooLarge
from raftmem.limits import BODY_BYTES_MAX, DECODE_BYTES_AT_ONCE
from raftmem.service.interface import Point, ReadOptions, Service

Headers = tuple[Header, ...]
Streaming = Callable[[bytes], Awaitable[None]]  # given the head; sends it too, and ends by itself

JSON: Final = b"application/json"
_ONCE: Final = (b"content-type", b"host", b"idempotency-key", b"if-match", b"origin", b"raftmem-actor", b"x-request-id")
_JSON_TYPE: Final = re.compile(rb'application/json *(; *charset="?utf-8"? *)?', re.IGNORECASE)
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Reply(Struct, frozen=True):
    """`index`, `level`: what the answer reflects, for the common headers; None where they do not apply.

    `stream`: stands for the body of a reply without a known end.
    """

    status: int
    body: bytes
    index: int | None = None
    level: str | None = None
    headers: Headers = ()
    media_type: bytes = JSON
    stream: Streaming | None = None


class Shared(NamedTuple):
    """The parts that all requests of one app share.

    `metrics`, `document`: the texts of these pages. `sealer`: of cursors.
    """

    service: Service
    settings: ApiSettings
    cache: JsonCache
    metrics: Callable[[], bytes]
    document: Callable[[], bytes]
    origins: OriginPolicy
    sealer: Sealer
    shares: FairShares


class Call:
    """One request. `route`: the template that matched, if any; `segments`: what it left open, decoded.

    `cors`: header lines for a page of another origin. `reads`: the route changes nothing.

    `point`: the last moment that was read for the answer.
    """

    __slots__ = (
        "_headers",
        "_json",
        "cache",
        "cors",
        "exchange",
        "method",
        "path",
        "point",
        "reads",
        "request_id",
        "route",
        "segments",
        "service",
        "settings",
        "shared",
    )

    def __init__(self, exchange: Exchange, shared: Shared) -> None:
        self.exchange = exchange
        self._json: object = UNSET
        self._headers: dict[bytes, bytes] = dict(exchange.headers)
        self.method = exchange.method
        self.path = exchange.path
        self.shared = shared
        self.service = shared.service
        self.settings = shared.settings
        self.cache = shared.cache
        self.point: Point | None = None
        self.route = ""
        self.reads = self.method in ("GET", "HEAD", "OPTIONS")
        self.segments: tuple[str, ...] = ()
        self.request_id = ""
        self.cors = b""

    @property
    def instance(self) -> str:
        return self.path.decode("ascii", "backslashreplace")

    @property
    def writes(self) -> bool:
        """This request may change something."""
        return not self.reads

    def identify(self) -> None:
        """Settle `request_id` first, so that every later refusal can carry it; then who asks whom.

        Raises: BadRequest, Problem `forbidden`.
        """
        given = self._headers.get(b"x-request-id")
        text = None if given is None else given.decode("latin-1")
        if text is not None and _REQUEST_ID.fullmatch(text):
            self.request_id = text
        else:
            self.request_id = self.service.new_id()
            if text is not None:
                raise BadRequest("X-Request-Id must be 1 to 255 visible ASCII characters", parameter="X-Request-Id")
        if len(self._headers) != len(self.exchange.headers):
            self._refuse_repeated()
        origins, headers = self.shared.origins, self._headers
        if headers.get(b"host") not in origins.known or b"origin" in headers or b"sec-fetch-site" in headers:
            self.cors = origins.admit(self.method, headers, needs_host=not self.exchange.is_old)

    @property
    def is_preflight(self) -> bool:
        """A browser asks whether a page of a named origin may send a request."""
        return bool(self.cors) and self.method == "OPTIONS" and b"access-control-request-method" in self._headers

    def _refuse_repeated(self) -> None:
        seen: set[bytes] = set()
        for key, _ in self.exchange.headers:
            if key in seen and key in _ONCE:
                shown = key.decode().title()
                raise BadRequest(f"{shown} stands twice; send it once", parameter=shown)
            seen.add(key)

    def header(self, key: bytes) -> str | None:
        """A header as UTF-8. `key` in lower case. Raises: BadRequest."""
        given = self._headers.get(key)
        if given is None:
            return None
        try:
            return given.decode()
        except UnicodeDecodeError as error:
            shown = key.decode().title()
            raise BadRequest(f"{shown} is not valid UTF-8", parameter=shown) from error

    def parameters(self, *, once: tuple[str, ...], repeatable: tuple[str, ...] = ()) -> Parameters:
        """The query, held to what the route knows. Raises: BadRequest, TooLarge."""
        return parse(self.exchange.query, once, repeatable)

    async def read(self, options: ReadOptions) -> Point:
        """Pass the barrier of a level. Raises: as `Service.read`."""
        point = self.read_now(options)
        if point is None:
            point = self.point = await self.service.read(options)
        return point

    def read_now(self, options: ReadOptions) -> Point | None:
        """As `read`, where there is nothing to wait for; else None."""
        point = self.service.read_now(options)
        if point is not None:
            self.point = point
        return point

    async def json(self) -> object:
        """The decoded body; may be asked for again. Raises: BadRequest, TooLarge, Problem `unsupported-media-type`."""
        if self._json is not UNSET:
            return self._json
        self._check_type()
        self._json = await _decoded(await self._body())
        return self._json

    async def json_if_any(self) -> object:
        """As `json`; UNSET where there is no body, whatever type it was said to have."""
        text = await self._body()
        if text:
            self._check_type()
            self._json = await _decoded(text)
        return self._json

    def _check_type(self) -> None:
        if _JSON_TYPE.fullmatch(self._headers.get(b"content-type", b"")) is None:
            raise Problem("unsupported-media-type", "send the body as Content-Type: application/json (UTF-8)")
        if self._headers.get(b"content-encoding", b"identity") != b"identity":
            raise Problem("unsupported-media-type", "send the body without Content-Encoding")

    async def no_body(self) -> None:
        """Raises: BadRequest when there is one."""
        if await self._body():
            raise BadRequest(f"{self.method} takes no body here; leave it out", parameter="body")

    async def gone(self) -> None:
        """Returns when the client is not there any more. What else it sends meanwhile is dropped."""
        await self.exchange.gone()

    def wait(self, wait_ms: int) -> AbstractContextManager[None]:
        """Around what may wait for so long: counts for the client's address. Raises: TooManyRequests, at once."""
        return self.shared.shares.waits.hold(self.exchange.client) if wait_ms else nullcontext()

    async def _body(self) -> bytes:
        declared = self._headers.get(b"content-length", b"")
        if declared.isdigit() and (len(declared) > 15 or int(declared) > BODY_BYTES_MAX):
            raise TooLarge(f"the body is {declared[:20].decode()} bytes; the limit is {BODY_BYTES_MAX}")
        body = await self.exchange.body()
        if len(body) > BODY_BYTES_MAX:
            raise TooLarge(f"the body is past its limit of {BODY_BYTES_MAX} bytes")
        return body


Endpoint = Callable[[Call], Awaitable[Reply]]


async def _decoded(text: bytes) -> object:
    """A body; a long one on a thread, so that the loop serves others meanwhile. Raises: as `strict_json.decode`."""
    if len(text) <= DECODE_BYTES_AT_ONCE:
        return strict_json.decode(text)
    return await asyncio.get_running_loop().run_in_executor(None, strict_json.decode, text)
