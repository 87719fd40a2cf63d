"""All routes, in the order of the OpenAPI document."""

from typing import Final

from raftmem.api.routes import status
from raftmem.api.table.cluster import CLUSTER
from raftmem.api.table.events import EVENTS, WATCH
from raftmem.api.table.gates import GATES, TRANSACTIONS
from raftmem.api.table.locks import LOCKS
from raftmem.api.table.memories import MEMORIES
from raftmem.api.table.route import Route
from raftmem.api.table.tasks import TASKS

_DOCUMENT: Final = (
    Route("GET", "/openapi.json", status.document, None, verb="open", hot=False),
    Route("GET", "/docs", status.docs, None, verb="open", hot=False),
)

ROUTES: Final[tuple[Route, ...]] = (
    *MEMORIES,
    *EVENTS,
    *CLUSTER,
    *LOCKS,
    *TASKS,
    *GATES,
    *TRANSACTIONS,
    *WATCH,
    *_DOCUMENT,
)
