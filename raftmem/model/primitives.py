"""The two structs that every part of the vocabulary names: who asks, and a moment inside the log."""

from typing import Final, Literal

from msgspec import Struct

ActorType = Literal["agent", "user", "service", "system"]
SEQ_LAST: Final = 0xFFFF  # after every operation of an entry


class Actor(Struct, frozen=True, array_like=True):
    """The client that asked."""

    type: ActorType
    id: str
    role: str | None = None


class Position(Struct, frozen=True, array_like=True, order=True):
    """The state after operation `seq` of entry `index` (`SEQ_LAST`: after the whole entry)."""

    index: int
    seq: int
