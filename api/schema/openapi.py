"""The OpenAPI document: every route, field, header and error of the contract, built from the table of routes.

Schemas come from the structs that decode the requests and encode the replies, limits from `limits.py`, errors from
`problems.py`; so only its prose can lag behind the code.
"""

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec
from msgspec import Struct

import raftmem
from raftmem.api.http.problems import KINDS
from raftmem.api.schema.parts import (
    ANY_ERRORS,
    PARAMETERS,
    PATH,
    REPEATABLE,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    Json,
    Operation,
    one_of,
)

_PROBLEM: Final[Json] = {
    "type": "object",
    "description": "RFC 9457. The members that are not required stand where they help.",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:raftmem:error:"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "The fact, the numbers, the next step."},
        "instance": {"type": "string"},
        "code": one_of([code for code in KINDS if code != "batch-refused"]),
        "retryable": {"type": "boolean", "description": "The same request with the same key may succeed later."},
        "outcome": one_of(("not_applied", "applied", "unknown")),
        "request_id": {"type": "string"},
        "parameter": {"type": "string", "description": "The place in the query, the headers or the body."},
        "allowed": {"type": "array", "items": {"type": "string"}, "description": "What `parameter` may be."},
        "retry_after_ms": {"type": "integer"},
        "leader": {"type": "object", "description": "`id` and `url` of who leads, as this replica knows it."},
        "failed": {
            "type": "array",
            "description": "Every false guard with what stands there: `guard`, `current`.",
        },
        "current": {"description": "What stands there now: of the first false guard, or of what stood in the way."},
        "failed_seq": {
            "type": "integer",
            "description": "The operation that refused an atomic batch, or an arm of a transaction: its place, from 0.",
        },
        "path": {
            "type": "string",
            "description": "The merge path that did not fit; or the tasks that would wait for each other, `a -> b`.",
        },
        "holders": {
            "type": "array",
            "description": "Who holds the lock: `owner`, `token`, `remaining_ms`, `metadata`.",
        },
        "remaining_ms": {"type": "integer", "description": "How long the lock is held, unless its holder renews."},
        "queue_position": {"type": ["integer", "null"], "description": "Of this owner in the queue, from 1."},
        "queue_length": {"type": "integer", "description": "How many wait for the lock."},
        "limit": {"type": "integer", "description": "How many there may be."},
        "current_token": {"type": ["integer", "null"], "description": "The token in force; null when there is none."},
        "permits": {"type": "integer", "description": "The permits that the lock has."},
        "oldest_index": {"type": "integer", "description": "The oldest index that is still kept."},
        "commit_index": {"type": "integer", "description": "The newest index that can be read."},
        "memory_status": {"type": "string", "description": "`deleted` or `expired`, of a memory that is gone."},
        "updated_index": {"type": "integer", "description": "The index at which a memory was deleted or expired."},
    },
    "required": ["type", "title", "status", "detail", "instance", "code", "retryable", "outcome", "request_id"],
}


class Described(Protocol):
    """A route, as far as the document knows it. `spec`: None where the document leaves it out."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def spec(self) -> Operation | None: ...


def document(routes: Iterable[Described]) -> Json:
    """The whole document."""
    described = [(route.method, route.path, route.spec) for route in routes if route.spec is not None]
    structs = [kind for _, _, operation in described for kind in _structs(operation)]
    _, schemas = msgspec.json.schema_components(
        structs, schema_hook=_any_json, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Json] = {}
    for method, path, operation in described:
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "raftmem",
            "version": raftmem.__version__,
            "description": "A replicated log service for the memory of AI agents. Any replica serves all of it. "
            "Unknown query parameters and unknown body fields are 400; HEAD is answered as GET is, without the body.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "headers": {name: _described(about) for name, about in RESPONSE_HEADERS.items()},
        },
    }


def _any_json(kind: type) -> Json:
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(kind)


def _structs(operation: Operation) -> list[type[Struct]]:
    found = [kind for _, kind in operation.replies.values() if kind is not None]
    return found if operation.body is None else [*found, operation.body]


def _described(about: tuple[Json, str]) -> Json:
    return {"schema": about[0], "description": about[1]}


def _reference(kind: type[Struct]) -> Json:
    return {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}


def _operation(method: str, path: str, operation: Operation) -> Json:
    open_segment = path.partition("{")[2].partition("}")[0]
    parameters: list[Json] = []
    if open_segment:
        schema = operation.named or PATH[open_segment]
        parameters.append({"name": open_segment, "in": "path", "required": True, "schema": schema})
    for name in operation.query:
        schema, text = PARAMETERS[name]
        if name in REPEATABLE:
            schema = {"type": "array", "items": schema}
        parameters.append({"name": name, "in": "query", "schema": schema, "description": text})
    for name in ("X-Request-Id", *operation.request_headers):
        parameters += [{"name": name, "in": "header", **_described(REQUEST_HEADERS[name])}]
    described: Json = {
        "operationId": f"{method.lower()}_{path.strip('/').translate(str.maketrans('/.', '__', '{}'))}",
        "summary": operation.summary,
        "parameters": parameters,
        "responses": _responses(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": _reference(operation.body)},
        }
    return described


def _responses(operation: Operation) -> Json:
    responses: Json = {}
    for status, (text, kind) in operation.replies.items():
        response: Json = {"description": text, "headers": _headers(status)}
        shown = {"schema": {"type": "string"}} if kind is None else _reference(kind)
        if kind is not None or status == 200:
            response["content"] = dict.fromkeys(operation.media_types, shown)
        responses[str(status)] = response
    codes: dict[int, list[str]] = {}
    for code in (*ANY_ERRORS, *operation.errors):
        codes.setdefault(KINDS[code].status, []).append(code)
    for status, found in sorted(codes.items()):
        responses[str(status)] = {
            "description": "; ".join(f"`{code}`: {KINDS[code].title.lower()}" for code in found),
            "headers": _headers(status),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return responses


_SOMETIMES: Final = {
    200: ("ETag", "Idempotent-Replayed"),
    201: ("ETag", "Location", "Idempotent-Replayed"),
    304: ("ETag",),
    405: ("Allow",),
    409: ("ETag", "Retry-After"),
    412: ("ETag",),
    **dict.fromkeys((429, 503, 504, 507), ("Retry-After",)),
}
_COMMON: Final = (
    *("Raftmem-Index", "Raftmem-Term", "Raftmem-Node", "Raftmem-Leader"),
    *("Raftmem-Consistency", "Raftmem-Cluster", "X-Request-Id"),
)


def _headers(status: int) -> Json:
    names = (*_COMMON, *_SOMETIMES.get(status, ()))
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
