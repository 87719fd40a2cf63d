"""A process that has no descriptor left: the log goes on with its reserve, all else waits and loses nothing."""

import errno
import os
from pathlib import Path

import pytest
from descriptor_world import in_a_child
from snapshot_world import MEMBERS, disk

from raftmem.errors import is_no_descriptor, is_no_room, is_shortage, shortage
from raftmem.storage.descriptors import DescriptorReserve
from raftmem.storage.snapshots import store


def test_a_shortage_is_named_for_what_is_short() -> None:
    room, descriptors = shortage("f", errno.EDQUOT, "quota"), shortage("f", errno.ENFILE, "too many")
    assert room is not None
    assert descriptors is not None
    assert (room.errno, descriptors.errno) == (errno.ENOSPC, errno.ENFILE)
    assert "free some disk space" in str(room)
    assert "no open files left" in str(descriptors)
    assert shortage("f", errno.EIO, "io") is None
    assert [is_no_room(room), is_no_descriptor(room), is_shortage(room)] == [True, False, True]
    assert [is_no_room(descriptors), is_no_descriptor(descriptors), is_shortage(descriptors)] == [False, True, True]
    assert not is_shortage(OSError(errno.EIO, "io"))


def test_a_reserve_gives_up_one_descriptor_for_each_open_that_finds_none() -> None:
    reserve, left = DescriptorReserve(3), [2]

    def work() -> str:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return "done"

    assert reserve.run(work) == "done"
    assert not reserve.is_full
    reserve.refill()
    assert reserve.is_full
    left[0] = 9
    with pytest.raises(OSError, match="too many open files"):
        reserve.run(work)
    assert left == [5]
    reserve.close()
    reserve.close()


def test_a_reserve_does_nothing_for_other_errors() -> None:
    reserve = DescriptorReserve(1)
    with pytest.raises(FileNotFoundError):
        reserve.run(lambda: os.open("/nothing/here", os.O_RDONLY))
    assert reserve.is_full
    reserve.close()


def test_the_log_begins_segments_and_reads_old_ones_without_a_free_descriptor(tmp_path: Path) -> None:
    said = in_a_child(
        """
        import sys
        from pathlib import Path
        from descriptor_world import none_left
        from log_world import everything, marked, members, small_log
        from raftmem.storage.log.contract import Append
        from raftmem.storage.log.files import segment_numbers

        folder = Path(sys.argv[1])
        log = small_log(folder)
        log.commit([Append((members(1),))])
        with none_left():
            for index in range(2, 60):
                log.commit([Append((marked(index),))])
                assert [entry.index for entry in log.read(1, 3)][0] == 1
            held = everything(log)
        assert log._reserve.is_full
        assert len(segment_numbers(folder)) > 5, segment_numbers(folder)
        log.close()
        assert everything(small_log(folder, readonly=True)) == held
        print(log.last_index())
        """,
        tmp_path / "log",
    )
    assert said == "59\n"


def test_a_log_without_any_descriptor_changes_nothing_and_takes_the_same_commit_later(tmp_path: Path) -> None:
    said = in_a_child(
        """
        import errno, sys
        from pathlib import Path
        from descriptor_world import none_left
        from log_world import everything, marked, members, small_log
        from raftmem.storage.log.contract import Append

        log = small_log(Path(sys.argv[1]))
        log.commit([Append((members(1),))])
        log._reserve.close()
        index, refused = 2, 0
        with none_left():
            while not refused:
                before = (log.last_index(), log.hard_state())
                try:
                    log.commit([Append((marked(index),))])
                except OSError as error:
                    assert error.errno == errno.EMFILE, error
                    assert "no open files left" in str(error), error
                    assert (log.last_index(), log.hard_state()) == before
                    refused = index
                else:
                    index += 1
            try:
                log.read(1, 2)
            except OSError as error:
                assert error.errno == errno.EMFILE, error
            else:
                raise AssertionError("it read without a descriptor")
        log.commit([Append((marked(index),))])
        held = everything(log)
        log.close()
        assert everything(small_log(Path(sys.argv[1]), readonly=True)) == held
        print(refused == index)
        """,
        tmp_path / "log",
    )
    assert said == "True\n"


@pytest.mark.parametrize("spare", range(4))
def test_a_snapshot_that_finds_too_few_descriptors_is_not_listed_and_is_taken_later(tmp_path: Path, spare: int) -> None:
    in_a_child(
        """
        import sys
        from pathlib import Path
        from descriptor_world import none_left
        from snapshot_world import MEMBERS, disk
        from raftmem.errors import is_no_descriptor

        folder, spare = Path(sys.argv[1]), int(sys.argv[2])
        state, snapshots = disk(folder)
        meta = None
        with none_left(spare=spare):
            try:
                meta = snapshots.take(lambda _: MEMBERS, 7)
            except OSError as error:
                assert is_no_descriptor(error), error
                assert snapshots.all() == []
        if meta is None:
            meta = snapshots.take(lambda _: MEMBERS, 7)
        assert snapshots.all() == [meta]
        assert snapshots.verify(meta) is None
        names = sorted(path.name for path in (folder / "snapshots").iterdir())
        assert names == [meta.name + ".manifest", meta.name + ".state"], names
        state.close(clean=True)
        """,
        tmp_path,
        spare,
    )


@pytest.mark.parametrize("spare", range(4))
def test_a_snapshot_that_came_without_a_descriptor_to_finish_it_is_finished_later(tmp_path: Path, spare: int) -> None:
    in_a_child(
        """
        import sys
        from pathlib import Path
        from descriptor_world import none_left
        from snapshot_world import MEMBERS, disk
        from raftmem.errors import is_no_descriptor

        folder, spare = Path(sys.argv[1]), int(sys.argv[2])
        ahead_state, ahead = disk(folder / "ahead")
        meta = ahead.take(lambda _: MEMBERS, 7)
        data = ahead.read(meta, 0, meta.size)
        state, snapshots = disk(folder / "behind", entries=0)
        assert snapshots.begin(meta) == 0
        assert snapshots.write(meta, 0, data) == meta.size
        finished = False
        with none_left(spare=spare):
            try:
                finished = snapshots.finish(meta)
            except OSError as error:
                assert is_no_descriptor(error), error
                assert snapshots.all() == []
        assert finished or snapshots.begin(meta) == meta.size, "nothing has to be sent again"
        assert snapshots.finish(meta)
        assert snapshots.all() == [meta]
        with none_left(spare=spare):
            try:
                prepared = state.prepare(meta)
            except OSError as error:
                assert is_no_descriptor(error), error
                prepared = None
        prepared = prepared or state.prepare(meta)
        state.replace(prepared)
        prepared.discard()
        assert state.head().index == meta.index
        """,
        tmp_path,
        spare,
    )


@pytest.mark.parametrize("step", ["sync_folder", "write_atomic"])
def test_a_snapshot_whose_last_step_finds_no_descriptor_keeps_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Another thread may take the last descriptor between two steps."""
    ahead_state, ahead = disk(tmp_path / "ahead")
    meta = ahead.take(lambda _: MEMBERS, 7)
    state, snapshots = disk(tmp_path / "behind", entries=0)
    snapshots.begin(meta)
    snapshots.write(meta, 0, ahead.read(meta, 0, meta.size))

    def fails(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as short:
        short.setattr(store, step, fails)
        with pytest.raises(OSError, match="too many open files"):
            snapshots.finish(meta)
    assert (snapshots.all(), snapshots.begin(meta)) == ([], meta.size)
    assert snapshots.finish(meta)
    assert snapshots.all() == [meta]
    for one in (ahead_state, state):
        one.close(clean=True)


def test_a_vector_index_is_not_saved_without_a_descriptor_and_is_rebuilt(tmp_path: Path) -> None:
    said = in_a_child(
        """
        import sys
        from pathlib import Path
        from descriptor_world import none_left
        from machine_world import World, add, floats
        from raftmem.replica.apply_loop import Replica
        from raftmem.storage.log.contract import LogEntry
        from raftmem.storage.state.store import LmdbStateStore
        from raftmem.storage.vectors.index import FaissVectorIndex

        class Now:
            def submit(self, work, done):
                work()
                done(None)

        folder = Path(sys.argv[1])
        state = LmdbStateStore(folder / "state")
        index = FaissVectorIndex.open(folder / "vectors", state.read(), executor=Now(), snapshot=state.read_private)
        replica = Replica(state, index)
        world = World()
        world.one(add("m", text="t", embedding=floats(1.0, 2.0)))
        replica.apply([LogEntry(1, 1, world.log[0])])
        replica.settle()
        with none_left():
            index.save()
        again = FaissVectorIndex.open(folder / "vectors", state.read(), executor=Now(), snapshot=state.read_private)
        print(len(again), again.origin.startswith("rebuilt"))
        state.close(clean=True)
        """,
        tmp_path,
    )
    assert said == "1 True\n"
