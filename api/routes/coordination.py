"""Parts that the routes of coordination share: the draft of a request, its outcome or problem, the common headers.

The rule: a write that was refused is a problem with its index; one that was applied is shown as it was right after its
own operation. `seq` counts in the entry, which may hold the operations of other requests too.
"""

from typing import Final, TypeVar

from msgspec import UNSET, Struct

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Headers
from raftmem.api.http.parameters import Parameters
from raftmem.api.requests import memory_drafts
from raftmem.api.requests.coordination_bodies import BareBody
from raftmem.api.requests.memory_bodies import Asked, convert
from raftmem.api.requests.memory_drafts import Step
from raftmem.api.responses import memory_refusals, memory_views
from raftmem.model.commands import Draft
from raftmem.model.records import Outcome, Position
from raftmem.service.interface import Written

REPLAYED: Final[Headers] = ((b"idempotent-replayed", b"true"),)
_Body = TypeVar("_Body", bound=BareBody)


class Applied(Struct, frozen=True):
    """One operation that was applied."""

    written: Written
    seq: int

    @property
    def outcome(self) -> Outcome:
        return self.written.row.result.outcomes[self.seq]

    @property
    def index(self) -> int:
        return self.written.row.index

    @property
    def at(self) -> Position:
        return Position(self.index, self.seq)

    @property
    def now(self) -> int:
        """Log time of the entry, microseconds."""
        return self.written.entry.time

    @property
    def event(self) -> memory_views.EventView:
        return memory_views.event(self.written.row, self.written.entry, self.seq)

    @property
    def headers(self) -> Headers:
        return REPLAYED if self.written.replayed else ()


async def optional_body(call: Call, kind: type[_Body]) -> tuple[_Body, object]:
    """Of a request that may leave its body out: it, and as it was decoded (None: there is none)."""
    raw = await call.json_if_any()
    return (kind(), None) if raw is UNSET else (convert(raw, kind), raw)


def draft(call: Call, query: Parameters, step: Step, body: Asked, raw: object) -> Draft:
    """Of one operation. Raises: BadRequest, also for If-Match and If-None-Match, which are about one memory."""
    guards = memory_drafts.conditions(call, None)
    return memory_drafts.draft(call, query, (step,), body=body, raw=raw, guards=guards)


async def write(call: Call, query: Parameters, step: Step, body: Asked, raw: object) -> Applied:
    """Write one operation. Raises: Problem when it is refused, and as `Service.write`."""
    written = await call.service.write(draft(call, query, step, body, raw), timeout_ms=levels.timeout_ms(query))
    return applied(written)


def applied(written: Written) -> Applied:
    """Raises: Problem when the operation was refused."""
    found = Applied(written, written.first_seq)
    if not found.outcome.applied:
        raise memory_refusals.problem(written, found.seq)
    return found
