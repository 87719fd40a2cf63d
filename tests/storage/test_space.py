"""The two marks of free disk."""

from pathlib import Path
from typing import NamedTuple

import pytest

from raftmem.limits import DISK_HARD_BYTES, DISK_LOW_BYTES
from raftmem.storage.space import ROOM_SECONDS, Space

BLOCK = 4096
GIB = 1 << 30


class Disk(NamedTuple):
    f_bavail: int
    f_blocks: int
    f_frsize: int = BLOCK


def space(free: int, size: int) -> Space:
    return Space(Path("data/n1"), statvfs=lambda _: Disk(free // BLOCK, size // BLOCK))


@pytest.mark.parametrize(
    ("free", "size", "low", "exhausted"),
    [
        (GIB, 10 * GIB, False, False),
        (DISK_LOW_BYTES, 10 * GIB, False, False),
        (DISK_LOW_BYTES - BLOCK, 10 * GIB, True, False),
        (GIB, 100 * GIB, True, False),
        (2 * GIB, 100 * GIB, False, False),
        (DISK_HARD_BYTES, 10 * GIB, True, False),
        (DISK_HARD_BYTES - BLOCK, 10 * GIB, True, True),
        (0, GIB, True, True),
    ],
)
def test_marks_are_where_the_limits_say(free: int, size: int, low: bool, exhausted: bool) -> None:
    disk = space(free, size)
    assert (disk.is_low(), disk.is_exhausted()) == (low, exhausted)


def test_the_answer_is_of_now(tmp_path: Path) -> None:
    free = [GIB // BLOCK]
    disk = Space(tmp_path, statvfs=lambda _: Disk(free[0], GIB // BLOCK))
    assert not disk.is_low()
    free[0] = 1
    assert disk.is_low()
    free[0] = GIB // BLOCK
    assert not disk.is_low()


class Clock:
    now = 100.0

    def boottime(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 0


def test_that_there_is_room_holds_for_a_moment_and_that_there_is_none_does_not(tmp_path: Path) -> None:
    free, asked, clock = [GIB // BLOCK], [0], Clock()

    def statvfs(_: str) -> Disk:
        asked[0] += 1
        return Disk(free[0], GIB // BLOCK)

    disk = Space(tmp_path, statvfs=statvfs, clock=clock)
    assert [disk.is_low() for _ in range(3)] == [False, False, False]
    assert asked == [1]
    free[0] = 1
    assert not disk.is_low()
    assert disk.is_exhausted()
    clock.now += ROOM_SECONDS
    assert disk.is_low()
    free[0] = GIB // BLOCK
    assert not disk.is_low()


def test_the_description_has_the_numbers() -> None:
    assert space(100 << 20, 50 * GIB).describe() == (
        "100 MiB of disk are free under data/n1, 1024 MiB must stay free for new writes"
    )


def test_a_real_disk_answers(tmp_path: Path) -> None:
    free, low = Space(tmp_path).free_and_low_bytes()
    assert free > 0
    assert low >= DISK_LOW_BYTES
