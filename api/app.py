"""The app of one replica: the router in front, FastAPI behind it, the same headers and errors on both.

It talks to a `Service` and to nothing else. Our own server calls `serve`; every ASGI server may call the app itself,
which serves the same way. It starts nothing and stops nothing; lifespan and all that is not HTTP goes to FastAPI, which
refuses websockets.
"""

import asyncio
import secrets
from functools import cache
from typing import Final

from starlette.types import Receive, Scope, Send

from raftmem.api.http import asgi
from raftmem.api.http.call import Call, Reply, Shared
from raftmem.api.http.exchange import Disconnected, Exchange
from raftmem.api.http.fair_share import fair_shares
from raftmem.api.http.loop_stalls import LoopStalls
from raftmem.api.http.origin import PREFLIGHT, OriginPolicy
from raftmem.api.http.respond import answer, cut_off, defect, head, refused, unserved
from raftmem.api.http.sealed import KEY_BYTES, Sealer, key_from
from raftmem.api.http.settings import ApiSettings
from raftmem.api.responses import memory_views
from raftmem.api.responses.json_cache import JsonCache
from raftmem.api.responses.metrics import Exposition, Requests
from raftmem.api.schema.openapi import document
from raftmem.api.table import framework
from raftmem.api.table.router import Router
from raftmem.api.table.routes import ROUTES
from raftmem.errors import RaftmemError
from raftmem.service.interface import Service

_NO_ROUTE: Final = "other"  # the label of a path that no route has, in the metrics
_ROUTER: Final = Router(ROUTES)


@cache
def _document() -> bytes:
    return memory_views.encode(document(ROUTES))


def create_app(service: Service, *, settings: ApiSettings | None = None, group_secret: bytes | None = None) -> "App":
    """The app that serves the whole REST contract of one replica.

    `group_secret`: known to all replicas and to nobody else, so that each takes the cursors of the others; None: this
    app takes only its own.
    """
    return App(service, settings or ApiSettings(), group_secret or secrets.token_bytes(KEY_BYTES))


class App:
    def __init__(self, service: Service, settings: ApiSettings, group_secret: bytes) -> None:
        self._requests = Requests()
        self._stalls = LoopStalls()
        exposition = Exposition(service, self._requests, self._stalls)
        sealer = Sealer(key_from(group_secret, b"raftmem.cursors"))
        origins, shares = OriginPolicy(settings), fair_shares()
        self._shared = Shared(service, settings, JsonCache(), exposition.text, _document, origins, sealer, shares)
        self._framework = framework.create(ROUTES)

    def watch_loop(self) -> None:
        """Count from now on how long the running loop is held."""
        self._stalls.watch(asyncio.get_running_loop())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "http":
            await self.serve(asgi.AsgiExchange(scope, receive, send))
        else:
            await self._framework(scope, receive, send)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request, whatever it is. Raises: what failed, once that was told, for the server to log."""
        call = Call(exchange, self._shared)
        try:
            reply = await self._answer(call)
        except Disconnected:
            return
        except asyncio.CancelledError:
            await self._send(call, cut_off(call))
            raise
        except Exception:
            await self._send(call, defect(call))
            raise
        if reply is not None:
            await self._send(call, reply)
        else:
            state: dict[str, object] = {"call": call}
            await asgi.ask(self._framework, exchange, call.route, state, lambda status: self._count(call, status))

    async def refuse(self, exchange: Exchange, error: RaftmemError) -> None:
        """Answer input that is not HTTP, or a request that the server has no room for."""
        call = Call(exchange, self._shared)
        await self._send(call, unserved(call, error))

    async def _answer(self, call: Call) -> Reply | None:
        """None: FastAPI answers, with a route of its own or with a 404."""
        try:
            call.identify()
            if call.cors and call.is_preflight:
                return Reply(204, b"", headers=PREFLIGHT)
            match = _ROUTER.match(call.method, call.path)
        except RaftmemError as error:
            return refused(call, error)
        if match is None:
            return None
        route, endpoint, call.segments = match
        call.route = self._stalls.route = route.path
        call.reads = route.reads
        return await answer(call, endpoint) if endpoint else None

    async def _send(self, call: Call, reply: Reply) -> None:
        self._count(call, reply.status)
        if reply.stream is not None and call.method != "HEAD":
            with self._shared.shares.watches.count(call.exchange.client):
                await reply.stream(head(call, reply))
        else:
            await call.exchange.reply(reply.status, head(call, reply), reply.body)

    def _count(self, call: Call, status: int) -> None:
        self._requests.count(call.method, call.route or _NO_ROUTE, status)
