"""What one replica opens at its start: whose timing it is, which folder, and what of it is damaged or made again."""

import os
import shutil
from pathlib import Path

import pytest

from raftmem.errors import BadRequest, Corrupt
from raftmem.lifecycle.open_folder import Stores, open_stores
from raftmem.machine.run import step_entry
from raftmem.model import codec
from raftmem.runtime.system import SystemRandomness
from raftmem.settings import Settings, Voter
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry
from raftmem.storage.log.files import segment_path
from raftmem.storage.log.store import SegmentLogStore

CLUSTER = "5f2a9c01"
VOTER = Voter("n1", "127.0.0.1:9101", "http://127.0.0.1:8101", "f1")


def opened(data: Path, **more: object) -> Stores:
    settings: dict[str, object] = {
        "node_id": "n1",
        "data": data,
        "cluster_id": CLUSTER,
        "members": (VOTER,),
        "bootstrap": True,
        "folder_id": "f1",
        "map_bytes": 64 << 20,
    }
    return open_stores(Settings(**settings | more), SystemRandomness())  # type: ignore[arg-type]  # one of each kind


def test_new_folder_begins_with_its_membership_and_is_opened_again_as_it_is(tmp_path: Path) -> None:
    first = opened(tmp_path / "n1", election_timeout_ms=600, clock_drift_ppm=100)
    assert (first.first.index, first.state.head().index) == (1, 0)
    assert (first.members.election_timeout_ms, first.members.clock_drift_ppm) == (600, 100)
    first.close(clean=True)
    again = opened(tmp_path / "n1", bootstrap=False, members=(), folder_id=None)
    assert (again.members, again.first) == (first.members, first.first)
    assert again.folder.identity == first.folder.identity
    again.close(clean=True)


@pytest.mark.parametrize(
    ("settings", "parameter", "reason"),
    [
        ({"election_timeout_ms": 900}, "election_timeout_ms", "900, but the group runs with 600"),
        ({"clock_drift_ppm": 1}, "clock_drift_ppm", "1, but the group runs with 100"),
        ({"heartbeat_ms": 230}, "heartbeat_ms", "at most a third of the group's election_timeout_ms = 600"),
    ],
)
def test_one_timing_settings_that_differ_from_the_group_s_are_refused(
    settings: dict[str, object], parameter: str, reason: str, tmp_path: Path
) -> None:
    opened(tmp_path / "n1", election_timeout_ms=600, clock_drift_ppm=100).close(clean=True)
    with pytest.raises(BadRequest, match=reason) as refused:
        opened(tmp_path / "n1", **settings)
    assert refused.value.parameter == parameter
    opened(tmp_path / "n1").close(clean=True)  # nothing stayed open


def test_folder_that_the_members_do_not_name_is_no_voter_s(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="members gives n1 the folder f1, folder_id is f2"):
        opened(tmp_path / "n1", folder_id="f2")
    opened(tmp_path / "n1").close(clean=True)  # nothing was promised: the next attempt begins over again


def with_a_snapshot(data: Path) -> tuple[int, bytes]:
    """Where the state of a log that begins at 4 stands, of which there is a snapshot, and its digest."""
    disks = opened(data)
    rest = [LogEntry(k, 1, codec.no_op(time=k * 1_000_000, wall_ms=0)) for k in range(2, 9)]
    disks.log.commit([HardState(1, "n1"), Append(tuple(rest))])
    with disks.state.write() as writer:
        for entry in (disks.first, *rest[:5]):
            step_entry(writer, entry.index, entry.term, entry.data)
    disks.state.settle()
    meta = disks.snapshots.take(lambda _: disks.first, 0)
    disks.log.commit([Compact(4, disks.first)])
    digest = disks.state.head().digest
    disks.close(clean=True)
    return meta.index, digest


def test_state_that_its_log_cannot_make_again_comes_from_a_snapshot_or_not_at_all(tmp_path: Path) -> None:
    data = tmp_path / "n1"
    index, digest = with_a_snapshot(data)
    shutil.rmtree(data / "state")  # as after a stop of the machine: what was not synced is not trusted
    disks = opened(data)
    assert (disks.first.index, disks.state.head().index, disks.state.head().digest) == (4, index, digest)
    disks.close(clean=True)

    shutil.rmtree(data / "state")
    shutil.rmtree(data / "snapshots")
    with pytest.raises(Corrupt, match="no sound snapshot that it goes on from is here at index 4; this replica stops"):
        opened(data)


@pytest.mark.parametrize("kept", [0, 100, 4096, 20_000])
def test_state_that_was_cut_short_comes_from_a_snapshot_or_not_at_all(kept: int, tmp_path: Path) -> None:
    data = tmp_path / "n1"
    index, digest = with_a_snapshot(data)
    os.truncate(data / "state" / "data.mdb", kept)
    disks = opened(data)
    assert (disks.state.head().index, disks.state.head().digest) == (index, digest)
    disks.close(clean=True)

    os.truncate(data / "state" / "data.mdb", kept)
    shutil.rmtree(data / "snapshots")
    with pytest.raises(Corrupt, match="no sound snapshot that it goes on from is here"):
        opened(data)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (0, "is cut short: 0 bytes"),
        (30, "is cut short: 30 bytes"),
        (400, "is cut short: 400 bytes"),
    ],
)
def test_log_that_was_cut_short_is_refused(kept: int, words: str, tmp_path: Path) -> None:
    data = tmp_path / "n1"
    with_a_snapshot(data)
    file = segment_path(data / "log", 1)
    os.truncate(file, kept)
    for _ in range(2):  # it stays that way
        with pytest.raises(Corrupt, match=words):
            opened(data)
    assert os.stat(file).st_size == kept


def test_log_without_its_first_entry_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "n1"
    opened(data).close(clean=True)
    os.unlink(segment_path(data / "log", 1))
    SegmentLogStore(data / "log").close()
    with pytest.raises(Corrupt, match="log holds no entry"):
        opened(data)


def test_log_with_a_damaged_entry_is_refused_with_its_place_once(tmp_path: Path) -> None:
    data = tmp_path / "n1"
    with_a_snapshot(data)
    file = Path(segment_path(data / "log", 1))
    content = file.read_bytes()
    sixth = codec.no_op(time=6_000_000, wall_ms=0)
    assert content.count(sixth) == 1
    file.write_bytes(content.replace(sixth, sixth[:-1] + b"!"))
    with pytest.raises(Corrupt) as stopped:
        opened(data)
    assert str(stopped.value).startswith(f"{file}: entry has a wrong checksum at index 6; this replica stops")
    assert (str(stopped.value).count(str(file)), str(stopped.value).count("index 6")) == (1, 1)
    assert stopped.value.index == 6
