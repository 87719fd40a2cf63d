"""Disks that are full, damaged or lost: the replica concerned says so and promises nothing, the others go on."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cluster_command import command
from cluster_load import check_kept, kill_settled, load, replayed

from jepsen_like.cluster.client import Answer, until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.cluster.served import Served
from raftmem.cli.exits import Exit
from raftmem.storage.log.files import segment_path

LOW = "disk_low_bytes = 4000000000000000000"  # more than any disk has
SMALL_DISK_MIB = 80
SMALL_DISK_LOW = f"disk_low_bytes = {32 << 20}"
BRIEF = "timeout_ms=1000"


def restart(group: LoopbackGroup, *, extra: str) -> None:
    for replica in group.replicas:
        replica.stop()
    group.configure(extra)
    group.start()


def test_on_a_low_disk_new_writes_are_507_while_reads_and_deletes_go_on(group: LoopbackGroup) -> None:
    for name in ("a", "b", "c", "d"):
        assert group["n1"].ask("POST", "/v1/memories", {"id": name, "text": name}).status == 201
    restart(group, extra=LOW)
    before = group.settle()
    delete = {"op": "DELETE", "memory_id": "d"}
    for replica, doomed in zip(group.replicas, "abc", strict=True):
        refused = [
            replica.ask("POST", "/v1/memories", {"text": "new"}),
            replica.ask("PATCH", f"/v1/memories/{doomed}", {"text": "newer"}),
            replica.ask("PUT", f"/v1/memories/{doomed}", {"text": "newest"}),
            replica.ask("POST", "/v1/events", {"events": [delete, {"op": "ADD", "text": "new"}]}),
        ]
        for answer in refused:
            assert (answer.status, answer.at("code")) == (507, "no-space")
            assert (answer.at("outcome"), answer.at("retryable")) == ("not_applied", True)
            assert "retry-after" in answer.headers
        assert replica.ask("GET", f"/v1/memories/{doomed}").at("text") == doomed
        assert replica.ask("DELETE", f"/v1/memories/{doomed}").status == 200
    assert group["n2"].ask("POST", "/v1/events", {"events": [delete]}).status == 200
    assert group.settle() == before + 4, "what was refused entered no log"
    restart(group, extra="")
    assert group["n2"].ask("POST", "/v1/memories", {"id": "e", "text": "space is back"}).status == 201
    assert [row["id"] for row in group.memories("status=active")] == ["e"]


# --- disks that are really full ------------------------------------------------------------------------
@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MIB}m", "raftmem-test", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def small_group(tmp_path: Path) -> Iterator[LoopbackGroup]:
    """Each replica on a disk of its own that a test can fill."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    with ExitStack() as stack:
        for name in ("n1", "n2", "n3"):
            stack.enter_context(small_disk(tmp_path / name))
        yield stack.enter_context(new_group(tmp_path, extra=SMALL_DISK_LOW))


def fill(replica: Served) -> None:
    """Not one byte is left."""
    with (replica.folder / "ballast").open("ab", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12):
            try:
                while ballast.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    assert os.statvfs(replica.folder).f_bavail == 0


def free(replica: Served) -> None:
    (replica.folder / "ballast").unlink()


def test_when_every_disk_is_full_writes_are_507_or_503_and_go_on_when_space_returns(
    small_group: LoopbackGroup,
) -> None:
    group = small_group
    with load(group) as work:
        work.wait_for_more(60)
        for replica in group.replicas:
            fill(replica)
        for replica in group.replicas * 3:
            refused = replica.ask("POST", f"/v1/memories?{BRIEF}", {"text": "too much", "app_id": "refused"})
            assert refused.status in (503, 507), refused
            assert refused.at("outcome") == "not_applied"
            eventual = replica.ask("GET", "/v1/memories/load?consistency=eventual")
            assert eventual.status == 200
        for replica in group.replicas:
            free(replica)
        work.wait_for_more(60)
    assert work.unsure == 0
    check_kept(group, work)
    assert group.memories("app_id=refused") == []
    kill_settled(group)
    assert len({replayed(replica) for replica in group.replicas}) == 1


def test_followers_without_room_hold_the_group_up_and_it_goes_on_when_space_returns(
    small_group: LoopbackGroup,
) -> None:
    group = small_group
    leader = group.leader()
    with load(group) as work:
        work.wait_for_more(60)
        for replica in group.others(leader):
            fill(replica)
        stuck = until(lambda: failing_write(leader), what="a write finds no majority with room")
        assert stuck.status in (503, 504, 507)
        for replica in group.replicas:
            assert replica.runs
            assert replica.ask("GET", "/v1/memories/load?consistency=eventual").status == 200
        for replica in group.others(leader):
            free(replica)
        work.wait_for_more(60)
    assert work.unsure == 0
    check_kept(group, work)
    for replica in group.replicas:
        replica.kill()
    group.start()
    check_kept(group, work)


def has_met(replica: Served, other: Served) -> bool:
    """Whether it knows the birth of the other's folder: from then on it tells an emptied one from it."""
    known = replica.folder / "acquaintances.json"
    return known.exists() and other.id in json.loads(known.read_text())


def failing_write(replica: Served) -> Answer | None:
    answer = replica.ask("PUT", f"/v1/memories/probe?{BRIEF}", {"value": bytes(4000).hex()})
    return answer if answer.status >= 500 else None


# --- damage and loss ------------------------------------------------------------------------------------
def segment(replica: Served) -> Path:
    """The only one of its log."""
    return Path(segment_path(replica.folder / "log", 1))


def damage(file: Path, marker: bytes) -> None:
    """Flip one bit of every copy of the marker in a file."""
    content = bytearray(file.read_bytes())
    at = content.find(marker)
    assert at >= 0
    while at >= 0:
        content[at + 3] ^= 0x10
        at = content.find(marker, at + 1)
    with file.open("r+b") as out:
        out.write(content)


def test_a_corrupt_log_record_stops_that_replica_with_index_and_file_and_the_others_go_on(
    group: LoopbackGroup,
) -> None:
    marker = "a marker that will be damaged"
    written = group["n1"].ask("POST", "/v1/memories", {"text": marker})
    for turn in range(50):
        assert group["n1"].ask("POST", "/v1/memories", {"value": turn}).status == 201
    group.settle()
    sick = group.others(group.leader())[0]
    sick.stop()
    file = segment(sick)
    damage(file, marker.encode())
    sick.start()
    assert sick.ended() == Exit.STOPPED
    last_line = sick.said().rstrip().splitlines()[-1]
    assert str(file) in last_line
    assert f"index {written.index}" in last_line
    assert "checksum" in last_line
    assert last_line.count(str(file)) == 1
    found = command("log", "verify", "--json", "--data", sick.folder)
    assert found.returncode == Exit.FAILED
    assert f'"index":{written.index}' in found.stdout.replace(" ", "")
    for replica in group.others(sick):
        answer = replica.ask("POST", "/v1/memories", {"text": f"{replica.id} goes on"})
        assert answer.status == 201
        assert replica.ask("GET", f"/v1/memories/{written.text('memory', 'id')}").at("text") == marker


@pytest.mark.slow
def test_a_log_that_was_cut_short_stops_its_replica_and_a_state_is_made_again(group: LoopbackGroup) -> None:
    for turn in range(50):
        assert group["n1"].ask("POST", "/v1/memories", {"id": f"m{turn}", "text": "x" * 900}).status == 201
    group.settle()
    sick = group.others(group.leader())[0]
    sick.stop()
    state, logged = sick.folder / "state" / "data.mdb", segment(sick)
    os.truncate(state, state.stat().st_size // 2)
    sick.start()
    group.wait_ready([sick])
    group.settle()
    assert f"{state}: is cut short" in sick.said()
    kill_settled(group)
    assert len({replayed(replica) for replica in group.replicas}) == 1
    length = logged.read_bytes().rfind(b"RMok") // 2  # behind its newest mark there is only room
    os.truncate(logged, length)
    looked = command("log", "verify", "--data", sick.folder)
    assert (looked.returncode, f"{logged}: is cut short" in looked.stderr) == (Exit.FAILED, True)
    for replica in group.replicas:
        replica.start()
    assert sick.ended() == Exit.STOPPED
    assert f"{logged}: is cut short: {length} bytes" in sick.said().rstrip().splitlines()[-1]
    assert logged.stat().st_size == length
    group.wait_ready(group.others(sick))
    for replica in group.others(sick):
        assert replica.ask("GET", "/v1/memories/m49").status == 200


def wipe(replica: Served) -> None:
    shutil.rmtree(replica.folder)
    replica.folder.mkdir()


def test_a_voter_whose_folder_was_wiped_refuses_to_start_and_the_others_go_on(group: LoopbackGroup) -> None:
    assert group["n1"].ask("POST", "/v1/memories", {"id": "kept", "text": "kept"}).status == 201
    lost = group.others(group.leader())[0]
    lost.kill()
    wipe(lost)
    lost.start()
    assert lost.ended() == Exit.STOPPED
    assert "belongs to no replica yet" in lost.said().rstrip().splitlines()[-1]
    assert not (lost.folder / "folder.json").exists()
    for replica in group.others(lost):
        assert replica.ask("PATCH", "/v1/memories/kept", {"confidence": 0.5}).status == 200


@pytest.mark.slow
@pytest.mark.parametrize("names_folders", [False, True], ids=["a new folder id", "the same folder id"])
def test_a_wiped_folder_that_is_made_a_voter_again_is_refused_by_the_others_and_elects_nobody(
    tmp_path: Path, names_folders: bool
) -> None:
    with new_group(tmp_path, names_folders=names_folders) as group:
        assert group["n1"].ask("POST", "/v1/memories", {"id": "kept", "text": "kept"}).status == 201
        group.settle()
        lost = group.others(group.leader())[0]
        until(lambda: all(has_met(other, lost) for other in group.others(lost)), what="everybody has met it")
        lost.kill()
        wipe(lost)
        lost.start(bootstrap=True)
        until(lambda: "refuses this replica" in lost.said(), what="the wiped replica is refused")
        assert any(f"no connection with {lost.id}" in other.said() for other in group.others(lost))
        assert group.leader().ask("PATCH", "/v1/memories/kept", {"confidence": 0.5}).status == 200
        gone, left = group.others(lost)
        gone.kill()
        for replica in (left, lost):  # one voter that remembers is no majority
            answer = replica.ask("PATCH", f"/v1/memories/kept?{BRIEF}", {"confidence": 0.9})
            assert answer.status in (503, 504), answer
        assert lost.ask("GET", "/v1/memories/kept?consistency=eventual").status == 404
        gone.start()
        group.wait_ready([gone, left])
        read = left.ask("GET", "/v1/memories/kept")
        assert read.status == 200
        last_start = lost.said().rpartition(" serves ")[2]
        assert "leads term" not in last_start
        assert "does not decode" not in last_start
