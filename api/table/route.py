"""One route, declared once: the router, the OpenAPI document, `docs/routes.md` and the metrics are made from it."""

from typing import Final, Literal, NamedTuple

from raftmem.api.http.call import Endpoint
from raftmem.api.schema.parts import Operation

Verb = Literal[
    "open",
    "per-operation",
    "memory.read",
    "memory.write",
    "memory.delete",
    "event.read",
    "lock.read",
    "lock.use",
    "lock.force",
    "task.read",
    "task.add",
    "task.work",
    "task.admin",
    "gate.read",
    "gate.put",
    "gate.approve",
    "gate.consume",
    "cluster.read",
    "cluster.admin",
]


class Budget(NamedTuple):
    """The most that a request looks at between two turns of the event loop."""

    rows: int
    bytes: int


SLICE: Final = Budget(rows=256, bytes=1 << 20)


class Route(NamedTuple):
    """`path`: a template with at most one open segment. `{name}` may hold `/`, so it takes all segments that are left.

    `spec`: its entry in the OpenAPI document, None where it has none. `verb`: what a caller must be allowed to do
    (not enforced yet); `per-operation` where the body decides, `open` where nothing is asked. `hot`: the router calls
    the endpoint itself; FastAPI hosts the others.
    """

    method: str
    path: str
    endpoint: Endpoint
    spec: Operation | None
    verb: Verb
    hot: bool = True
    budget: Budget = SLICE

    @property
    def reads(self) -> bool:
        """The request changes nothing, whatever its method is."""
        return self.method == "GET" or self.verb.endswith(".read")
