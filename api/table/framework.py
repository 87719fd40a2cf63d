"""FastAPI, which hosts the routes that are not hot and answers for paths that no route has.

The router has matched already, so FastAPI is asked for the template of a route and not for its path. The rules of the
hot routes hold here too: unknown parameters are refused, every error is a problem document.
"""

from collections.abc import Awaitable, Callable, Iterable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

import raftmem
from raftmem.api.http.asgi import pairs
from raftmem.api.http.call import Call, Endpoint, Reply
from raftmem.api.http.problems import not_found
from raftmem.api.http.respond import answer, defect, head, refused
from raftmem.api.schema import openapi
from raftmem.api.table.route import Route


class _Documented(FastAPI):
    """FastAPI, whose document is made from our table."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        super().__init__(title="raftmem", version=raftmem.__version__, openapi_url=None, redirect_slashes=False)
        self._described = routes

    def openapi(self) -> dict[str, object]:
        return openapi.document(self._described)


def create(routes: Iterable[Route]) -> FastAPI:
    """`scope["state"]["call"]` of every request must be its `Call`."""
    every = tuple(routes)
    app = _Documented(every)
    for route in every:
        if not route.hot:
            app.add_api_route(route.path, _served(route.endpoint), methods=[route.method], name=route.path)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _defect)
    return app


def _served(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        call = _call(request)
        return _response(call, await answer(call, endpoint))

    return serve


def _call(request: Request) -> Call:
    call = request.state.call
    assert isinstance(call, Call)
    return call


def _response(call: Call, reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers = pairs(head(call, reply))
    return response


async def _no_route(request: Request, error: Exception) -> Response:  # noqa: ARG001  # only a path can be unknown here
    call = _call(request)
    return _response(call, refused(call, not_found(f"there is no route {request.url.path}; /openapi.json lists them")))


async def _defect(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette raises it again
    call = _call(request)
    return _response(call, defect(call))
