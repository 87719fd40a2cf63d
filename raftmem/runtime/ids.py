"""New ids: UUIDv7 (RFC 9562), 48 bits of Unix time in milliseconds and 74 random ones.

The rule: every bit that is not time, version or variant is fresh from the source of randomness.
"""

from raftmem.runtime.interfaces import Clock, Randomness

_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # two random bits behind the variant's two


class Ids:
    """Many are made in the same millisecond: its part is written out once."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._ms = -1
        self._begin = ""

    def new(self) -> str:
        ms = self._clock.wall_ms()
        if ms != self._ms:
            text = f"{ms:012x}"
            self._ms, self._begin = ms, f"{text[:8]}-{text[8:]}-7"
        drawn = self._randomness.bytes(10).hex()
        return f"{self._begin}{drawn[:3]}-{_VARIANT[drawn[3]]}{drawn[4:7]}-{drawn[7:19]}"
