"""The log against kills at each system call, power losses, torn writes, flipped bits and failing disks.

What was acknowledged is there or the log says that it is damaged; what was not is there whole or not at all.
"""

import errno
import random
from pathlib import Path

import pytest
from log_faults import (
    Killed,
    Machine,
    Strike,
    Struck,
    every_bit,
    every_subset,
    fails,
    fills_up,
    killed_before,
    killed_halfway,
    short_write,
)
from log_world import everything, marked, members, newest, small_log

from raftmem.errors import Corrupt, StorageFailed
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry, LogWrite, Reset, Truncate
from raftmem.storage.log.files import Files, segment_numbers, segment_path
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.log.store import SegmentLogStore

BEFORE: tuple[list[LogWrite], ...] = (
    [HardState(1, "n1"), Append((members(1), marked(2), marked(3), members(4)))],
    [Append(tuple(map(marked, range(5, 13)))), Compact(3, members(1))],
    [Append((marked(13),))],
)
WRITES: tuple[list[LogWrite], ...] = (
    [HardState(2, "n2"), Append((marked(14),))],
    [HardState(2, "n2"), Truncate(6), Append((members(6), LogEntry(7, 2, b"x" * 3000)))],
    [HardState(2, "n2"), Append((members(14),)), Compact(14, members(14))],
    [HardState(2, "n2"), Reset(marked(8), members(7))],
    [HardState(2, "n2"), Reset(members(40), members(40)), Append((marked(41),)), HardState(3, "n3")],
)


def standing(folder: Path, files: Files | None = None) -> tuple[SegmentLogStore, InMemoryLogStore]:
    log, twin = small_log(folder, files=files), InMemoryLogStore()
    for writes in BEFORE:
        log.commit(writes)
        twin.commit(writes)
    return log, twin


def both(twin: InMemoryLogStore, writes: list[LogWrite]) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """What the log holds without the writes, and with them."""
    before = everything(twin)
    twin.commit(writes)
    return before, everything(twin)


# --- kills and refusals, at each call ------------------------------------------------------------------
@pytest.mark.parametrize("strike", [killed_before, killed_halfway])
@pytest.mark.parametrize("writes", WRITES)
def test_a_kill_at_any_call_leaves_a_commit_whole_or_not_there(
    tmp_path: Path, writes: list[LogWrite], strike: Strike
) -> None:
    seen = set()
    for call in range(1000):
        folder, files = tmp_path / str(call), Struck()
        log, twin = standing(folder, files)
        before, after = both(twin, writes)
        files.arm(call, strike)
        try:
            log.commit(writes)
        except Killed:
            log.close()
        else:
            assert call > 2
            assert everything(log) == after
            files.left = -1
            log.close()
            break
        was = everything(small_log(folder, readonly=True))
        again = small_log(folder)
        assert everything(again) == was
        assert was in (before, after)
        assert list(again.verify()) == []
        seen.add(was == after)
        if was == before:
            again.commit(writes)
        assert everything(again) == after
        again.close()
    assert seen == {False, True}


def refusal(log: SegmentLogStore, writes: list[LogWrite]) -> Exception | None:
    try:
        log.commit(writes)
    except (StorageFailed, OSError) as error:
        return error
    return None


@pytest.mark.parametrize("writes", WRITES)
def test_without_room_at_any_call_before_the_sync_nothing_is_changed_and_the_next_try_succeeds(
    tmp_path: Path, writes: list[LogWrite]
) -> None:
    refused = 0
    for call in range(1000):
        for strike in (fills_up, fails(errno.EDQUOT)):
            folder, files = tmp_path / f"{call} {strike.__name__}", Struck()
            log, twin = standing(folder, files)
            before, after = both(twin, writes)
            files.arm(call, strike)
            error = refusal(log, writes)
            if isinstance(error, StorageFailed):
                log.close()
                assert files.names[-1] in ("fdatasync", "sync_folder", "unlink")
                continue
            if isinstance(error, OSError):
                refused += 1
                assert (error.errno, "no room left" in str(error)) == (errno.ENOSPC, True)
                assert everything(log) == before
                assert everything(small_log(folder, readonly=True)) == before
                log.commit(writes)
            assert everything(log) == after
            log.close()
            again = small_log(folder)
            assert everything(again) == after
            assert list(again.verify()) == []
            again.close()
        if call >= len(files.names):
            break
    assert refused > 1


@pytest.mark.parametrize("writes", WRITES)
def test_after_any_failure_but_a_lack_of_room_nothing_more_is_written_and_a_restart_goes_on(
    tmp_path: Path, writes: list[LogWrite]
) -> None:
    failed = 0
    for call in range(1000):
        folder, files = tmp_path / str(call), Struck()
        log, twin = standing(folder, files)
        before, after = both(twin, writes)
        files.arm(call, fails(errno.EIO))
        try:
            log.commit(writes)
        except StorageFailed:
            failed += 1
            files.arm(0, killed_before)  # any call would be one too many
            for bad in (writes, [HardState(9, None)], []):
                with pytest.raises(StorageFailed, match="takes no write after a failed one"):
                    log.commit(bad)
            log.close()
            assert files.names == []
        else:
            log.close()
        again = small_log(folder)
        assert everything(again) in (before, after)
        assert list(again.verify()) == []
        again.close()
        if call >= len(files.names) > 0:
            break
    assert failed > 2


def test_short_writes_are_gone_on_with(tmp_path: Path) -> None:
    for writes in WRITES:
        for call in range(4):
            files = Struck()
            folder = tmp_path / f"{WRITES.index(writes)} {call}"
            log, twin = standing(folder, files)
            _, after = both(twin, writes)
            files.arm(call, short_write)
            log.commit(writes)
            log.close()
            again = small_log(folder)
            assert everything(again) == after
            again.close()


def test_a_disk_that_has_no_room_for_a_mark_or_a_seal_takes_the_commit_all_the_same(tmp_path: Path) -> None:
    class NoMarks(Files):
        def pwrite(self, file: int, data: bytes, at: int) -> int:
            if data[:4] in (b"RMok", b"RMgo"):
                raise OSError(errno.ENOSPC, "no space left on this disk")
            return super().pwrite(file, data, at)

    log, twin = standing(tmp_path / "log", NoMarks())
    log.close()
    for files in (NoMarks(), None):
        log = small_log(tmp_path / "log", files=files)
        assert everything(log) == everything(twin)
        assert list(log.verify()) == []
        log.close()


# --- power --------------------------------------------------------------------------------------------
def drawn(chance: random.Random, log: InMemoryLogStore, term: int) -> list[LogWrite]:
    """Some writes that fit the log."""
    first, last = log.first_index(), log.last_index()
    state: list[LogWrite] = [HardState(term, chance.choice((None, "n1")))]
    more = Append(tuple(one(chance, last + 1 + n, term) for n in range(chance.randint(1, 4))))
    kind = chance.randrange(10)
    if last == 0:
        return [*state, Append((members(1), marked(2)))]
    at = chance.randint(first, last)
    in_force = [entry for entry in log.memberships() if entry.index <= at][-1]
    if kind == 0 and at > first:
        return [*state, Truncate(at), Append((one(chance, at, term),))]
    if kind == 1:
        return [Compact(at, in_force), more]
    if kind == 2:
        index = chance.randint(max(1, first - 2), last + 3)
        return [*state, Reset(LogEntry(index, term, b"snapshot"), members(index - 1, term))]
    return [*state, more] if kind < 6 else [more]


def one(chance: random.Random, index: int, term: int) -> LogEntry:
    data = bytes([chance.randrange(256)]) * chance.choice((0, 10, 200, 511, 1500))
    return members(index, term) if chance.random() < 0.1 else LogEntry(index, term, data)


@pytest.mark.parametrize("seed", range(150))
def test_a_power_loss_at_any_call_leaves_what_was_acknowledged_and_the_rest_whole_or_not_there(
    tmp_path: Path, seed: int
) -> None:
    """Life after life on one folder; each ends at some call, and with the power any of what was not synced goes."""
    chance = random.Random(seed)
    folder, twin, term = tmp_path / "log", InMemoryLogStore(), 0
    folder.mkdir()
    for _ in range(8):
        machine = Machine(folder)
        machine.stops_at = chance.randint(1, 60)
        pending: list[LogWrite] = []
        log = None
        try:
            log = small_log(folder, files=machine)
            assert everything(log) == everything(twin)
            assert list(log.verify()) == []
            while True:
                term += 1
                pending = drawn(chance, twin, term)
                log.commit(pending)
                twin.commit(pending)
                pending = []
        except Killed:
            machine.lose_power(chance)
        if log is not None:
            log.close()
        looked = small_log(folder) if segment_numbers(folder) else InMemoryLogStore()
        if everything(looked) != everything(twin):
            twin.commit(pending)
        assert everything(looked) == everything(twin)
        looked.close()


def unfinished(folder: Path, writes: list[LogWrite]) -> tuple[bytes, bytes, int]:
    """The newest segment before a commit, and the one write that the commit makes in it and does not sync."""
    frames: list[tuple[bytes, int]] = []

    class Stops(Files):
        armed = False

        def pwrite(self, file: int, data: bytes, at: int) -> int:
            if self.armed and data[:4] == b"RMfr":
                frames.append((data, at))
                raise Killed
            return super().pwrite(file, data, at)

    files = Stops()
    log = SegmentLogStore(folder, room_bytes=16, files=files)
    files.armed = True
    with pytest.raises(Killed):
        log.commit(writes)
    log.close()
    return newest(folder).read_bytes(), *frames[0]


@pytest.mark.slow
@pytest.mark.parametrize("is_marked", [True, False])
@pytest.mark.parametrize(
    "writes",
    [
        [HardState(2, "n2")],
        [Append((marked(14), marked(15)))],
        [Truncate(9), Append(tuple(LogEntry(index, 2, bytes([index]) * 700) for index in range(9, 13)))],
        [Compact(5, members(4)), Append((members(14), LogEntry(15, 1, b"\0" * 2000)))],
    ],
)
@pytest.mark.parametrize("shift", range(0, 512, 73))
def test_any_sectors_of_a_frame_that_was_not_synced_are_all_of_it_or_nothing(
    tmp_path: Path, writes: list[LogWrite], shift: int, is_marked: bool
) -> None:
    folder, twin = tmp_path / "log", InMemoryLogStore()
    log = SegmentLogStore(folder, room_bytes=8192)
    for done in (*BEFORE, [Append((LogEntry(14, 1, b"x" * shift),))], [Truncate(14)]):
        log.commit(done)
        twin.commit(done)
    log.close()
    content, frame, at = unfinished(folder, writes)
    if not is_marked:  # the power went before it was written
        content = content[:at] + bytes(36) + content[at + 36 :]
    before, after = both(twin, writes)
    seen = []
    for torn in every_subset(content, frame, at):
        newest(folder).write_bytes(torn)
        for readonly in (True, False):
            log = SegmentLogStore(folder, readonly=readonly)
            seen.append(everything(log))
            log.close()
        assert seen[-1] == seen[-2]
    assert set(map(str, seen)) == {str(before), str(after)}
    assert seen[-1] == after
    assert sum(one == after for one in seen) == 2 or b"\0" * 512 in frame


# --- damage -------------------------------------------------------------------------------------------
def said(folder: Path) -> str | tuple[object, ...]:
    """What a look at the log comes to: a refusal, or what it holds."""
    log = None
    try:
        log = small_log(folder, readonly=True)
        for index, what in log.verify():
            return f"{index} {what}"
        return everything(log)
    except Corrupt as error:
        return str(error)
    finally:
        if log is not None:
            log.close()


def test_any_flipped_bit_of_what_was_acknowledged_is_noticed_also_in_the_very_last_frame(tmp_path: Path) -> None:
    """Also after a kill, when the marks were not synced: they are in the file."""
    log, twin = standing(tmp_path / "log")
    expected = everything(twin)
    for is_closed in (False, True):
        if is_closed:
            log.close()
        assert len(segment_numbers(tmp_path / "log")) > 1
        noticed = 0
        for number in segment_numbers(tmp_path / "log"):
            file = Path(segment_path(tmp_path / "log", number))
            content = file.read_bytes()
            end = max(content.rfind(b"RMok"), content.rfind(b"RMgo"))
            for at, flipped in every_bit(content, 0, end):
                file.write_bytes(flipped)
                found = said(tmp_path / "log")
                if at > content.find(marked(3).data) - 28 or number > 1:
                    assert isinstance(found, str), (file, at)
                    noticed += 1
                else:  # entries below the first index, which nobody reads any more
                    assert isinstance(found, str) or found == expected
            for _, flipped in every_bit(content, end, end + 36):
                file.write_bytes(flipped)
                assert said(tmp_path / "log") == expected
            file.write_bytes(content)
        assert noticed > 1000
        assert said(tmp_path / "log") == expected


def test_a_flipped_bit_is_refused_by_who_would_write(tmp_path: Path) -> None:
    log = SegmentLogStore(tmp_path / "log")
    for index in range(1, 4):
        log.commit([HardState(index, "n1"), Append((marked(index),))])
    log.close()
    file = newest(tmp_path / "log")
    content = file.read_bytes()
    for at, flipped in every_bit(content, 0, content.rfind(b"RMok")):
        file.write_bytes(flipped)
        with pytest.raises(Corrupt):  # noqa: PT012 (at open, or when it is looked through as each start does)
            log = SegmentLogStore(tmp_path / "log")
            log.close()
            for index, what in log.verify():
                raise Corrupt("", what, index=index)
        if file.read_bytes() != flipped:  # a mark was written anew, nothing else
            assert file.read_bytes()[:at] == flipped[:at]


def test_the_one_case_that_cannot_be_told_is_as_documented(tmp_path: Path) -> None:
    """A power loss took the mark, and a bit of exactly the last frame flips: as if it had never been promised."""
    log = SegmentLogStore(tmp_path / "log")
    for index in range(1, 4):
        log.commit([Append((marked(index),))])
    log.close()
    file = newest(tmp_path / "log")
    content = file.read_bytes()
    mark = content.rfind(b"RMok")
    without = content[:mark] + bytes(36) + content[mark + 36 :]
    last, other = without.rfind(b"<entry 000003>"), without.rfind(b"<entry 000002>")
    for at, left in ((last, [1, 2]), (other, None)):
        file.write_bytes(without[:at] + b"X" + without[at + 1 :])
        log = SegmentLogStore(tmp_path / "log", readonly=True)
        if left is None:
            assert list(log.verify()) == [(2, "entry has a wrong checksum")]
        else:
            assert [entry.index for entry in log.read(1, 9)] == left
        log.close()


def test_bytes_of_another_segment_never_count(tmp_path: Path) -> None:
    """A disk may show old bytes of files that are gone: here frames of the same numbers, in the same places."""
    for name, text in (("a", b"old"), ("b", b"new")):
        log = SegmentLogStore(tmp_path / name)
        for index in range(1, 9 if text == b"old" else 5):
            log.commit([Append((LogEntry(index, 1, text),))])
        log.close()
    old, new = newest(tmp_path / "a").read_bytes(), newest(tmp_path / "b").read_bytes()
    end = new.rfind(b"RMok")
    for stale in (new[:end] + old[end:], new[: end + 36] + old[end + 36 :]):
        newest(tmp_path / "b").write_bytes(stale)
        log = SegmentLogStore(tmp_path / "b")
        assert [entry.data for entry in log.read(1, 99)] == [b"new"] * 4
        log.close()


def test_a_sector_that_was_lost_in_the_middle_is_noticed(tmp_path: Path) -> None:
    """A sync that lied, or a write that went elsewhere: zeros, or the mark that stood there before."""
    log = SegmentLogStore(tmp_path / "log")
    log.commit([Append((marked(1),))])
    mark = newest(tmp_path / "log").read_bytes()
    for index in range(2, 9):
        log.commit([Append((marked(index),))])
    log.close()
    file = newest(tmp_path / "log")
    content, at = file.read_bytes(), mark.rfind(b"RMok")
    for lost in (bytes(512), mark[at : at + 512]):
        file.write_bytes(content[:at] + lost + content[at + 512 :])
        with pytest.raises(Corrupt, match="is damaged at index 2"):
            SegmentLogStore(tmp_path / "log")
