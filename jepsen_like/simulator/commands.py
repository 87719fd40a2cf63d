"""The commands of a schedule: small ones, most of which only say their number, some that depend on their order."""

from raftmem.model import codec
from raftmem.model.commands import (
    Actor,
    Add,
    Content,
    Delete,
    Draft,
    Fields,
    Guard,
    Header,
    Idempotency,
    Noop,
    Put,
    Update,
)
from raftmem.model.commands import Decision as NoopDecision

AGENT = Actor("agent", "sim")
SLOTS = 5


def command(number: int) -> bytes:
    """A small command body that can be told from all others."""
    header = Header(AGENT, f"r{number}", (Noop(NoopDecision("sim", reason=str(number))),))
    return codec.encode_draft(Draft(header, (None,)), lambda count: b"\0" * count)


def contended(number: int, choice: float) -> bytes:
    """Of a few memories: what comes of it depends on what came before. `choice`: in [0, 1)."""
    memory = f"m{number % SLOTS}"
    content = Content(text=str(number))
    kind = int(choice * 5)
    guards: tuple[Guard, ...] = ()
    if kind == 0:
        operation: Add | Put | Update | Delete = Add(memory, Fields())
    elif kind == 1:
        operation = Delete(memory)
    elif kind == 2:
        operation, guards = Update(memory, Fields()), (Guard(memory=memory, version=number % 7 + 1),)
    elif kind == 3:
        operation = Update(memory, Fields())
    else:
        operation = Put(memory, Fields())
    header = Header(AGENT, f"r{number}", (operation,), guards)
    given = None if isinstance(operation, Delete) else content
    return codec.encode_draft(Draft(header, (given,)), lambda count: bytes(count))


def keyed(number: int) -> bytes:
    """With an idempotency key: a client that does not know its fate may send it again."""
    key = Idempotency(f"k{number}", number.to_bytes(32, "big"))
    header = Header(AGENT, f"r{number}", (Put("counter", Fields()),), idempotency=key)
    return codec.encode_draft(Draft(header, (Content(text=str(number)),)), lambda count: bytes(count))
