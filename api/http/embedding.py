"""Vectors on the wire: an array of JSON numbers; inside, float32 little-endian bytes.

Refused with 400: an empty or a too long vector, a number past float32, a vector that is zero (as float32).
"""

import struct
from collections.abc import Sequence

import numpy as np

from raftmem.errors import BadRequest
from raftmem.limits import EMBEDDING_FLOATS_MAX


def pack(numbers: Sequence[float], place: str = "embedding") -> bytes:
    """float32, little-endian, as given (not normalised). Raises: BadRequest."""
    count = len(numbers)
    if not 1 <= count <= EMBEDDING_FLOATS_MAX:
        raise BadRequest(f"{place} holds {count} numbers; give 1 to {EMBEDDING_FLOATS_MAX}", parameter=place)
    try:
        vector = struct.pack(f"<{count}f", *numbers)
    except OverflowError as error:
        raise BadRequest(f"{place} holds a number past the range of float32", parameter=place) from error
    if not any(struct.unpack(f"<{count}f", vector)):
        raise BadRequest(f"{place} is zero: it has no direction to compare; leave it out", parameter=place)
    return vector


def unpack(vector: bytes) -> list[float]:
    """The numbers of a vector, each with the fewest digits that still name its float32 (0.8, not 0.800000011920929)."""
    exact = np.frombuffer(vector, dtype="<f4")
    wide = exact.astype(np.float64)
    shown = wide.copy()
    with np.errstate(all="ignore"):
        magnitude = np.floor(np.log10(np.abs(wide)))
        for digits in (9, 8, 7, 6):  # 9 digits always name a float32, 6 often do
            scale = np.power(10.0, digits - 1 - magnitude)
            short = np.rint(wide * scale) / scale
            names_it = np.isfinite(short) & (short.astype("<f4") == exact)
            shown = np.where(names_it, short, shown)
    numbers: list[float] = shown.tolist()
    return numbers
