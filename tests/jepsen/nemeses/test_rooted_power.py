"""The disk that loses what nobody synced, the power that fails, and what a replica that promises too early loses."""

import mmap
import os
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rooted_stage import check_whole, staged

from jepsen_like.cluster.client import Client, Lost, Trouble, until
from jepsen_like.cluster.lossy_disk import NO_BOOT, LossyDisk, unavailable
from jepsen_like.nemeses.rooted.power import PowerLoss
from jepsen_like.runs.world import World

REASON = unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

WRITERS = 12
MAJORITY = 0  # a seed with which two of three fall
ACKNOWLEDGED = 150  # before the power fails


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LossyDisk]:
    """With one file on it, `old`, of three pages."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_bytes(b"o" * 3 * 4096)
    disk = LossyDisk(tmp_path / "data")
    disk.mount()
    yield disk
    disk.take_away()
    assert not os.path.ismount(disk.folder)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every name below it; None for folders."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in found}


def test_bytes_wait_for_a_sync_of_their_file(disk: LossyDisk) -> None:
    old = disk.folder / "old"
    with old.open("r+b") as file:
        file.write(b"synced")
        file.flush()
        os.fdatasync(file.fileno())
        file.seek(4096)
        file.write(b"not synced")
        file.truncate(5000)
    assert old.stat().st_size == 5000
    assert disk.lose(seed=1) > 0
    assert old.read_bytes() == b"synced" + b"o" * (3 * 4096 - 6)


def test_what_is_written_under_o_dsync_is_on_the_disk_and_nothing_else_is(disk: LossyDisk) -> None:
    plain = os.open(disk.folder / "old", os.O_RDWR)
    at_once = os.open(disk.folder / "old", os.O_WRONLY | os.O_DSYNC)
    os.pwrite(plain, b"lost", 0)
    os.pwrite(plain, b"lost", 3 * 4096)
    os.pwrite(at_once, b"kept", 4096)
    os.close(plain)
    os.close(at_once)
    disk.lose(seed=1)
    assert (disk.folder / "old").read_bytes() == b"o" * 4096 + b"kept" + b"o" * (2 * 4096 - 4)


def test_names_wait_for_a_sync_of_their_folder(disk: LossyDisk) -> None:
    here = disk.folder
    (here / "kept").mkdir()
    sync(here)
    (here / "kept" / "new").write_bytes(b"a file that is synced, its name is not")
    sync(here / "kept" / "new")
    os.replace(here / "old", here / "renamed")
    (here / "made").mkdir()
    assert sorted(contents(here)) == ["kept", "kept/new", "made", "renamed"]
    disk.lose(seed=1)
    assert contents(here) == {"kept": None, "old": b"o" * 3 * 4096}


def test_a_replaced_file_and_a_removed_folder_come_back_and_synced_changes_stay(disk: LossyDisk) -> None:
    here = disk.folder
    (here / "folder" / "below").mkdir(parents=True)
    (here / "folder" / "file").write_bytes(b"1")
    for path in (here / "folder" / "file", here / "folder", here):
        sync(path)
    (here / "folder" / "file.new").write_bytes(b"2")
    sync(here / "folder" / "file.new")
    os.replace(here / "folder" / "file.new", here / "folder" / "file")
    os.rename(here / "folder", here / "moved")
    sync(here)  # the folder has its new name, the file in it has not
    shutil.rmtree(here / "moved" / "below")
    assert (here / "moved" / "file").read_bytes() == b"2"
    disk.lose(seed=1)
    assert contents(here) == {"moved": None, "moved/below": None, "moved/file": b"1", "old": b"o" * 3 * 4096}


def test_some_pages_may_have_reached_the_disk_unsynced_and_the_seed_says_which(disk: LossyDisk) -> None:
    old = disk.folder / "old"
    survived: list[bytes] = []
    for _ in range(2):
        old.write_bytes(b"o" * 40 * 4096)
        sync(old)
        with old.open("r+b") as file:
            file.write(b"n" * 40 * 4096)
        disk.lose(seed=7, share=0.5)
        survived.append(old.read_bytes()[::4096])
    assert survived[0] == survived[1]
    assert 5 < survived[0].count(b"n") < 35


def test_a_map_shows_what_is_written_and_an_open_file_outlives_its_name(disk: LossyDisk) -> None:
    descriptor = os.open(disk.folder / "old", os.O_RDWR)
    with mmap.mmap(descriptor, 3 * 4096, mmap.MAP_SHARED, mmap.PROT_READ) as seen:
        os.pwrite(descriptor, b"seen", 4096)
        assert seen[4096:4100] == b"seen"
    os.unlink(disk.folder / "old")
    assert os.pread(descriptor, 4, 4096) == b"seen"
    assert os.fstat(descriptor).st_size == 3 * 4096
    os.close(descriptor)
    assert contents(disk.folder) == {}


def test_without_a_loss_everything_is_there_in_an_ordinary_folder_afterwards(disk: LossyDisk) -> None:
    (disk.folder / "new").write_bytes(b"never synced")
    os.unlink(disk.folder / "old")
    disk.take_away()
    assert contents(disk.folder) == {"new": b"never synced"}
    with pytest.raises(Trouble, match="on no disk of ours"):
        disk.lose(seed=1)


# --- replicas on such disks -------------------------------------------------------------------------------
class Load:
    """Clients that write each memory once, until the power fails; `acknowledged` are the ids of what was."""

    def __init__(self, world: World, name: str) -> None:
        self._name = name
        self.acknowledged: set[str] = set()
        self._urls = world.group.urls
        self._threads = [threading.Thread(target=self._write, args=(k,)) for k in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        client = Client(self._urls[number % len(self._urls)])
        with suppress(Lost):
            for turn in range(100_000):
                name = f"{self._name}-{number}-{turn}"
                if client.ask("POST", "/v1/memories", {"id": name, "text": name}).status == 201:
                    self.acknowledged.add(name)
        client.close()

    def wait_for(self, count: int) -> None:
        until(lambda: len(self.acknowledged) >= count, what=f"{count} writes are acknowledged")

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def lost(world: World, nemesis: PowerLoss, *, share: float, name: str = "") -> set[str]:
    """What was acknowledged and is gone after the power of all has failed and the leader came back last."""
    load = Load(world, name)
    load.wait_for(ACKNOWLEDGED)
    order = list(world.group.replicas)
    leader = world.group.leader()
    nemesis.leave_behind(order, leader)
    assert nemesis.cut(order, seed=5, share=share) > 0
    load.join()
    nemesis.bring_back(leaving=1)
    world.group.wait_ready(order[:-1])
    nemesis.end(world)
    world.group.wait_ready()
    return load.acknowledged - {str(row["id"]) for row in world.group.memories("status=active")}


def test_when_the_power_of_all_fails_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    nemesis = PowerLoss()
    with staged(tmp_path, [nemesis]) as world:
        assert lost(world, nemesis, share=0.5) == set()
        check_whole(world, "after the power failed")
        for replica in world.group.replicas:
            assert NO_BOOT not in (replica.folder / "state.json").read_text(), "it runs under the boot id of now"
    assert not any(os.path.ismount(path) for path in (tmp_path / "data").iterdir())


def test_a_strike_cuts_and_heals_and_says_what_was_lost(tmp_path: Path) -> None:
    nemesis = PowerLoss()
    with staged(tmp_path, [nemesis]) as world:
        struck = nemesis.begin(world, random.Random(MAJORITY))
        assert struck is not None
        assert len(struck.targets) == 2
        assert "pages and names are lost" in struck.detail
        assert {one.id for one in world.group.replicas if not one.runs} == set(struck.targets)
        nemesis.end(world)
        nemesis.end(world)
        check_whole(world, "in the end")


def test_a_group_that_promises_before_it_syncs_loses_what_it_acknowledged(tmp_path: Path) -> None:
    nemesis = PowerLoss()
    with staged(tmp_path, [nemesis], without=("sync-before-promise",)) as world:
        assert any(lost(world, nemesis, share=0, name=f"{turn}") for turn in range(3))
