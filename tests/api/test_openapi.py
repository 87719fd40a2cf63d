"""The app against its OpenAPI document, and the document and its page against the table of routes."""

import json
import re
from pathlib import Path

import pytest
import schemathesis
from api_world import World
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from raftmem.api.http.problems import KINDS
from raftmem.api.schema.openapi import document
from raftmem.api.table.page import page
from raftmem.api.table.routes import ROUTES


def test_document_is_served_as_it_is() -> None:
    world = World()
    assert world("GET", "/openapi.json").json() == json.loads(json.dumps(document(ROUTES)))
    assert "/openapi.json" in world("GET", "/docs").text


def test_page_of_the_document_needs_no_other_host() -> None:
    reply = World()("GET", "/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"|url\(|@import|//[a-z]+\\.[a-z]", reply.text) == ["/openapi.json"]


def test_every_error_is_described_by_some_route() -> None:
    described = {code for route in ROUTES if route.spec for code in route.spec.errors}
    everywhere = {"invalid-request", "method-not-allowed", "too-large", "internal", "overloaded"}
    assert described | everywhere == set(KINDS) - {"batch-refused"}


def test_page_of_the_routes_is_made_from_the_table() -> None:
    made = Path(__file__).parents[2] / "docs" / "routes.md"
    assert made.read_text() == page(ROUTES), "run `make routes`"


def seeded() -> World:
    """A world with something to find."""
    world = World()
    for n in range(3):
        body = {"id": f"m{n}", "text": f"text {n}", "tags": ["t"], "app_id": "a", "embedding": [1.0, float(n)]}
        world("POST", "/v1/memories", body)
    world("DELETE", "/v1/memories/m0")
    world("POST", "/v1/locks/l/acquire", {"owner": "o", "ttl_ms": 86_400_000, "metadata": {"host": "h"}})
    world("POST", "/v1/tasks", {"queue": "q", "id": "t", "payload": [1]})
    world("PUT", "/v1/gates/g", {"required": 1, "pins": [{"memory": "m1", "version": 1}]})
    return world


schema = schemathesis.openapi.from_asgi("/openapi.json", seeded().on_virtual_time)
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
