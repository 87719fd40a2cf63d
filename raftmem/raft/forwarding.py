"""A body that another replica forwards is checked before it can reach the log, and is always answered.

Rule (no-pickle): nothing enters the log that would not decode, or is past the bound of one entry.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from raftmem.errors import Corrupt, NotApplied, TooLarge
from raftmem.limits import ENTRY_BYTES_MAX, NAME_BYTES_MAX
from raftmem.model import codec
from raftmem.model.commands import Draft
from raftmem.raft import messages as m


class EntryAddress(Struct, frozen=True):
    """Where a command stands in the leader's log. `seq`: of its first operation, where an entry takes in several."""

    index: int
    term: int
    seq: int = 0


Refused = NotApplied | TooLarge
OnProposed = Callable[
    [EntryAddress | Refused], None
]  # called once: where it stands, or why it is in no log and never will be
OnForward = Callable[[bytes, Draft, OnProposed], None]  # body, the same decoded, answer now or later; may raise Refused
NOWHERE: Final = (0, 0)


def check_size(body: bytes) -> None:
    """Raises: TooLarge."""
    size = codec.PREFIX_BYTES + len(body)
    if size > ENTRY_BYTES_MAX:
        raise TooLarge(f"an entry of {size} bytes; at most {ENTRY_BYTES_MAX}")


def answer(message: m.Forward, take: OnForward, send: Callable[[m.Forwarded], None]) -> None:
    """Have a forwarded body proposed, or say why not; in words that fit a message, since a peer closes over more."""

    def placed(what: EntryAddress | Refused) -> None:
        if isinstance(what, EntryAddress):
            send(m.Forwarded(message.id, what.index, what.term, seq=what.seq))
        else:
            refuse(what.code, what)

    def refuse(code: str, error: Exception) -> None:
        send(m.Forwarded(message.id, *NOWHERE, code, str(error)[:NAME_BYTES_MAX]))

    try:
        draft = codec.check_body(message.body)
    except Corrupt as error:
        refuse("invalid-request", error)
        return
    try:
        take(message.body, draft, placed)
    except (NotApplied, TooLarge) as error:
        placed(error)
