"""What one replica opens at its start: whose timing it is, which folder, and a state that its log cannot make again."""

import shutil
from pathlib import Path

import pytest

from raftmem import codec
from raftmem.disks import Disks, open_disks
from raftmem.errors import BadRequest, Corrupt
from raftmem.machine.run import step_entry
from raftmem.runtime import SystemRandomness
from raftmem.settings import Settings, Voter
from raftmem.storage.contracts import Append, Compact, HardState, LogEntry

CLUSTER = "5f2a9c01"
VOTER = Voter("n1", "127.0.0.1:9101", "http://127.0.0.1:8101", "f1")


def opened(data: Path, **more: object) -> Disks:
    settings: dict[str, object] = {
        "node_id": "n1",
        "data": data,
        "cluster_id": CLUSTER,
        "members": (VOTER,),
        "bootstrap": True,
        "folder_id": "f1",
        "map_bytes": 64 << 20,
    }
    return open_disks(Settings(**settings | more), SystemRandomness())  # type: ignore[arg-type]  # one of each kind


def test_new_folder_begins_with_its_membership_and_is_opened_again_as_it_is(tmp_path: Path) -> None:
    first = opened(tmp_path / "n1", election_timeout_ms=800, clock_drift_ppm=100)
    assert (first.first.index, first.state.head().index) == (1, 0)
    assert (first.members.election_timeout_ms, first.members.clock_drift_ppm) == (800, 100)
    first.close(clean=True)
    again = opened(tmp_path / "n1", bootstrap=False, members=(), folder_id=None)
    assert (again.members, again.first) == (first.members, first.first)
    assert again.folder.identity == first.folder.identity
    again.close(clean=True)


@pytest.mark.parametrize(
    ("settings", "parameter", "reason"),
    [
        ({"election_timeout_ms": 900}, "election_timeout_ms", "900, but the group runs with 800"),
        ({"clock_drift_ppm": 1}, "clock_drift_ppm", "1, but the group runs with 100"),
        ({"heartbeat_ms": 300}, "heartbeat_ms", "at most a third of the group's election_timeout_ms = 800"),
    ],
)
def test_one_timing_settings_that_differ_from_the_group_s_are_refused(
    settings: dict[str, object], parameter: str, reason: str, tmp_path: Path
) -> None:
    opened(tmp_path / "n1", election_timeout_ms=800, clock_drift_ppm=100).close(clean=True)
    with pytest.raises(BadRequest, match=reason) as refused:
        opened(tmp_path / "n1", **settings)
    assert refused.value.parameter == parameter
    opened(tmp_path / "n1").close(clean=True)  # nothing stayed open


def test_folder_that_the_members_do_not_name_is_no_voter_s(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="members gives n1 the folder f1, folder_id is f2"):
        opened(tmp_path / "n1", folder_id="f2")
    opened(tmp_path / "n1").close(clean=True)  # nothing was promised: the next attempt begins over again


def test_state_that_its_log_cannot_make_again_comes_from_a_snapshot_or_not_at_all(tmp_path: Path) -> None:
    data = tmp_path / "n1"
    disks = opened(data)
    rest = [LogEntry(k, 1, codec.no_op(time=k * 1_000_000, wall_ms=0)) for k in range(2, 9)]
    disks.log.commit([HardState(1, "n1"), Append(tuple(rest))])
    with disks.state.write() as writer:
        for entry in (disks.first, *rest[:5]):
            step_entry(writer, entry.index, entry.term, entry.data)
    meta = disks.snapshots.take(lambda _: disks.first, 0)
    disks.log.commit([Compact(4, disks.first)])
    digest = disks.state.head().digest
    disks.close(clean=True)

    shutil.rmtree(data / "state")  # as after a stop of the machine: what was not synced is not trusted
    disks = opened(data)
    assert (disks.first.index, disks.state.head().index, disks.state.head().digest) == (4, meta.index, digest)
    disks.close(clean=True)

    shutil.rmtree(data / "state")
    shutil.rmtree(data / "snapshots")
    with pytest.raises(Corrupt, match="no sound snapshot that it goes on from is here at index 4; this replica stops"):
        opened(data)
