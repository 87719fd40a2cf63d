"""The ASGI app of one replica: the hot table in front, FastAPI behind it, the same headers and errors on both.

It talks to a `Service` and to nothing else. It starts nothing and stops nothing; lifespan and all that is not HTTP
goes to FastAPI, which refuses websockets.
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raftmem.api import cold
from raftmem.api.call import Call, Disconnected, Reply
from raftmem.api.exposition import Exposition, Requests
from raftmem.api.respond import answer, defect, headers, refused
from raftmem.api.settings import ApiSettings
from raftmem.api.table import match
from raftmem.errors import RaftmemError
from raftmem.service import Service

WHOLE: Final = "raftmem.http.response.whole"  # of our own server: status, headers, body -> whether it was written
_OTHER: Final = "other"  # the route of everything that is not hot, in the metrics


def create_app(service: Service, *, settings: ApiSettings | None = None) -> ASGIApp:
    """The app that serves the whole REST contract of one replica."""
    return _App(service, settings or ApiSettings())


class _App:
    def __init__(self, service: Service, settings: ApiSettings) -> None:
        self._service = service
        self._settings = settings
        self._requests = Requests()
        self._cold = cold.create(Exposition(service, self._requests))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._cold(scope, receive, send)
            return
        call = Call(scope, receive, self._service, self._settings)
        try:
            reply = await self._hot(call)
        except Disconnected:
            return
        except Exception:
            await self._send(call, defect(call), send)
            raise  # the server logs it
        if reply is not None:
            await self._send(call, reply, send)
        else:
            scope.setdefault("state", {})["call"] = call
            await self._cold(scope, receive, self._counted(call, send))

    async def _hot(self, call: Call) -> Reply | None:
        """None: the path is not of the hot table."""
        try:
            call.identify()
            route = match(call.method, call.path)
            if route is None:
                return None
            call.route = route.template
            call.segments = route.segments
        except RaftmemError as error:
            return refused(call, error)
        return await answer(call, route.endpoint)

    async def _send(self, call: Call, reply: Reply, send: Send) -> None:
        self._requests.count(call.method, call.route or _OTHER, reply.status)
        found = headers(call, reply)
        if reply.stream is not None:
            await reply.stream(found, send)
            return
        whole = call.extension(WHOLE)
        if whole is not None and whole(reply.status, found, reply.body):
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": found})
        await send({"type": "http.response.body", "body": reply.body})

    def _counted(self, call: Call, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.count(call.method, _OTHER, message["status"])
            await send(message)

        return sent
