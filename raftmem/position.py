"""A moment inside the log: the state after operation `seq` of entry `index`."""

from typing import Final

from msgspec import Struct

SEQ_LAST: Final = 0xFFFF  # after every operation of an entry


class Position(Struct, frozen=True, array_like=True, order=True):
    """The state after operation `seq` of entry `index` (`SEQ_LAST`: after the whole entry)."""

    index: int
    seq: int
