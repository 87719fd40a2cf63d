"""Ids are UUIDv7: what they hold, and that they differ."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from raftmem.runtime.ids import Ids
from raftmem.runtime.system import SystemRandomness


class Wall:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def wall_ms(self) -> int:
        return self.ms

    def boottime(self) -> float:
        return 0.0


class Drawn:
    def __init__(self, drawn: bytes) -> None:
        self._drawn = drawn

    def bytes(self, count: int) -> bytes:
        return self._drawn[:count]

    def random(self) -> float:
        return 0.0


@given(ms=st.integers(0, 2**48 - 1), drawn=st.binary(min_size=10, max_size=10))
def test_an_id_is_a_uuid_of_version_7_with_the_time_and_all_that_was_drawn(ms: int, drawn: bytes) -> None:
    text = Ids(Wall(ms), Drawn(drawn)).new()
    found = uuid.UUID(text)
    assert (str(found), found.version, found.variant) == (text, 7, uuid.RFC_4122)
    assert found.int >> 80 == ms
    bits = int.from_bytes(drawn, "big")
    assert (found.int >> 64) & 0xFFF == bits >> 68
    assert (found.int >> 62) & 0x3 == 0b10
    assert (found.int >> 60) & 0x3 == (bits >> 64) & 0x3
    assert found.int & (2**60 - 1) == (bits >> 4) & (2**60 - 1)


def test_ids_of_one_millisecond_differ_and_those_of_a_later_one_sort_behind_them() -> None:
    wall = Wall(1_795_165_200_120)
    ids = Ids(wall, SystemRandomness())
    first = {ids.new() for _ in range(1000)}
    wall.ms += 1
    assert len(first) == 1000
    assert ids.new() > max(first)
