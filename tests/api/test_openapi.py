"""The OpenAPI document against the routes, and the app against the document."""

import json

import pytest
import schemathesis
from api_world import World
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from raftmem.api.http.problems import KINDS
from raftmem.api.responses.metrics import Exposition, Requests
from raftmem.api.routes import status, table
from raftmem.api.schema.memory_operations import OPERATIONS
from raftmem.api.schema.openapi import document

UNDOCUMENTED = {("GET", "/openapi.json"), ("GET", "/docs")}


def cold_routes(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, route.path) for route in app.routes if isinstance(route, APIRoute) for method in route.methods or ()
    }


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    app = status.create(Exposition(World().service, Requests()))
    hot, behind = set(table.ROUTES), cold_routes(app)
    described = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()  # type: ignore[attr-defined]  # a JSON object
        for method in methods
    }
    assert not hot & behind
    assert (hot | behind) - described == UNDOCUMENTED
    assert described - hot == behind - UNDOCUMENTED


def test_document_is_served_as_it_is() -> None:
    world = World()
    assert world("GET", "/openapi.json").json() == json.loads(json.dumps(document()))
    assert "/openapi.json" in world("GET", "/docs").text


def test_every_error_is_described_by_some_route() -> None:
    described = {code for operation in OPERATIONS.values() for code in operation.errors}
    everywhere = {"invalid-request", "method-not-allowed", "too-large", "internal"}
    assert described | everywhere == set(KINDS) - {"batch-refused"}


def seeded() -> World:
    """A world with something to find."""
    world = World()
    for n in range(3):
        body = {"id": f"m{n}", "text": f"text {n}", "tags": ["t"], "app_id": "a", "embedding": [1.0, float(n)]}
        world("POST", "/v1/memories", body)
    world("DELETE", "/v1/memories/m0")
    world("POST", "/v1/locks/l/acquire", {"owner": "o", "ttl_ms": 1000, "metadata": {"host": "h"}})
    world("POST", "/v1/tasks", {"queue": "q", "id": "t", "payload": [1]})
    world("PUT", "/v1/gates/g", {"required": 1, "pins": [{"memory": "m1", "version": 1}]})
    return world


schema = schemathesis.openapi.from_asgi("/openapi.json", seeded().app)
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.mark.filterwarnings("ignore")
@schema.exclude(path_regex="^/(livez|metrics|v1/watch)$").parametrize()
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_whatever_is_sent_the_answer_is_as_described(case: schemathesis.Case) -> None:
    case.query.pop("wait_ms", None)  # nothing comes: it would only wait
    if isinstance(case.body, dict):
        case.body.pop("wait_ms", None)
    reply = case.call()
    case.validate_response(reply, checks=CHECKS)
    assert reply.status_code != 500
    if reply.status_code >= 400:
        assert reply.headers["content-type"] == ["application/problem+json"]
        assert reply.json()["status"] == reply.status_code
