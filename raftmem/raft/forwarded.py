"""What other replicas ask this one to propose: checked before it can reach the log, and answered either way.

Rule (no-pickle): nothing enters the log that would not decode, or is past the bound of one entry.
"""

from collections.abc import Callable
from typing import Final

from raftmem import codec
from raftmem.errors import Corrupt, NotApplied, TooLarge
from raftmem.limits import ENTRY_BYTES_MAX, NAME_BYTES_MAX
from raftmem.raft import messages as m

OnForward = Callable[[bytes], tuple[int, int]]  # body -> (index, term); may raise NotApplied errors
NOWHERE: Final = (0, 0)


def check_size(body: bytes) -> None:
    """Raises: TooLarge."""
    size = codec.PREFIX_BYTES + len(body)
    if size > ENTRY_BYTES_MAX:
        raise TooLarge(f"an entry of {size} bytes; at most {ENTRY_BYTES_MAX}")


def answer(message: m.Forward, propose: OnForward) -> m.Forwarded:
    """Propose a forwarded body, or say why not; in words that fit a message, since a peer closes over more."""
    try:
        codec.check_body(message.body)
    except Corrupt as error:
        return m.Forwarded(message.id, *NOWHERE, "invalid-request", str(error)[:NAME_BYTES_MAX])
    try:
        return m.Forwarded(message.id, *propose(message.body))
    except (NotApplied, TooLarge) as error:
        return m.Forwarded(message.id, *NOWHERE, error.code, str(error)[:NAME_BYTES_MAX])
