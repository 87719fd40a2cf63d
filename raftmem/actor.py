"""Who asks: the one struct that every part of the vocabulary names."""

from typing import Literal

from msgspec import Struct

ActorType = Literal["agent", "user", "service", "system"]


class Actor(Struct, frozen=True, array_like=True):
    """Who asked."""

    type: ActorType
    id: str
    role: str | None = None
