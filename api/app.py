"""The app of one replica: the hot table in front, FastAPI behind it, the same headers and errors on both.

It talks to a `Service` and to nothing else. Our own server calls `serve`; every ASGI server may call the app itself,
which serves the same way. It starts nothing and stops nothing; lifespan and all that is not HTTP goes to FastAPI, which
refuses websockets.
"""

import asyncio
from typing import Final

from starlette.types import Receive, Scope, Send

from raftmem.api.http import asgi
from raftmem.api.http.call import Call, Reply
from raftmem.api.http.exchange import Disconnected, Exchange
from raftmem.api.http.respond import answer, cut_off, defect, head, malformed, refused
from raftmem.api.http.settings import ApiSettings
from raftmem.api.responses.json_cache import JsonCache
from raftmem.api.responses.metrics import Exposition, Requests
from raftmem.api.routes import status
from raftmem.api.routes.table import match
from raftmem.errors import RaftmemError
from raftmem.service.interface import Service

_OTHER: Final = "other"  # the route of everything that is not hot, in the metrics


def create_app(service: Service, *, settings: ApiSettings | None = None) -> "App":
    """The app that serves the whole REST contract of one replica."""
    return App(service, settings or ApiSettings())


class App:
    def __init__(self, service: Service, settings: ApiSettings) -> None:
        self._service = service
        self._settings = settings
        self._requests = Requests()
        self._shown = JsonCache()
        self._cold = status.create(Exposition(service, self._requests))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "http":
            await self.serve(asgi.AsgiExchange(scope, receive, send))
        else:
            await self._cold(scope, receive, send)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request, whatever it is. Raises: what failed, once that was told, for the server to log."""
        call = Call(exchange, self._service, self._settings, self._shown)
        try:
            reply = await self._hot(call)
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
            await asgi.ask(self._cold, exchange, {"call": call}, lambda status: self._count(call, status))

    async def refuse(self, exchange: Exchange, detail: str) -> None:
        """Answer what is not HTTP, or past the bounds of a server."""
        call = Call(exchange, self._service, self._settings, self._shown)
        await self._send(call, malformed(call, detail))

    async def _hot(self, call: Call) -> Reply | None:
        """None: the path is not of the hot table."""
        try:
            call.identify()
            route = match(call.method, call.path)
            if route is None:
                return None
            call.route, endpoint, call.segments = route
        except RaftmemError as error:
            return refused(call, error)
        return await answer(call, endpoint)

    async def _send(self, call: Call, reply: Reply) -> None:
        self._count(call, reply.status)
        if reply.stream is not None:
            await reply.stream(head(call, reply))
        else:
            await call.exchange.reply(reply.status, head(call, reply), reply.body)

    def _count(self, call: Call, status: int) -> None:
        self._requests.count(call.method, call.route or _OTHER, status)
