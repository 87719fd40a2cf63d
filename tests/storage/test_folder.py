"""Whose a data folder is, and who may write to it."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from raftmem.errors import Corrupt, FolderRefused
from raftmem.storage.folder import Folder, ReadLock, open_folder, read_identity
from raftmem.storage.log.contract import Append, LogEntry
from raftmem.storage.log.files import segment_path
from raftmem.storage.log.load import has_log
from raftmem.storage.log.store import SegmentLogStore


def bootstrap(path: Path, node_id: str = "n1", folder_id: str = "f0") -> Folder:
    return open_folder(path, node_id=node_id, cluster_id="c1", folder_id=folder_id, bootstrap=True)


def member(path: Path) -> None:
    """A bootstrap done to its end."""
    folder = bootstrap(path)
    log = SegmentLogStore(folder.log_path)
    log.commit([Append((LogEntry(1, 1, b"first"),))])
    log.close()
    folder.finish_bootstrap()
    folder.close()


def test_a_folder_that_was_bootstrapped_opens_as_it_was_made(tmp_path: Path) -> None:
    member(tmp_path / "data" / "n1")
    for cluster_id in (None, "c1"):
        open_folder(tmp_path / "data" / "n1", node_id="n1", cluster_id=cluster_id).close()
    folder = bootstrap(tmp_path / "data" / "n1", folder_id="of a second bootstrap")
    assert not folder.is_fresh
    assert (folder.identity.cluster_id, folder.identity.node_id, folder.identity.folder_id) == ("c1", "n1", "f0")
    log = SegmentLogStore(folder.log_path)
    assert log.last_index() == 1
    log.close()
    folder.close()


@pytest.mark.parametrize("exists", [False, True])
def test_an_empty_folder_makes_no_voter_by_itself(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "n1").mkdir()
    with pytest.raises(FolderRefused, match="bootstrap"):
        open_folder(tmp_path / "n1", node_id="n1", cluster_id="c1", folder_id="f0")
    assert not (tmp_path / "n1" / "folder.json").exists()


@pytest.mark.parametrize(("node_id", "cluster_id"), [("n2", None), ("n2", "c1"), ("n1", "c2")])
@pytest.mark.parametrize("explicit", [False, True])
def test_another_node_s_or_cluster_s_folder_is_refused(
    tmp_path: Path, node_id: str, cluster_id: str | None, explicit: bool
) -> None:
    member(tmp_path / "n1")
    with pytest.raises(FolderRefused, match="belongs to"):
        open_folder(tmp_path / "n1", node_id=node_id, cluster_id=cluster_id, folder_id="f1", bootstrap=explicit)
    open_folder(tmp_path / "n1", node_id="n1").close()


def test_a_bootstrap_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    folder = bootstrap(tmp_path / "n1", folder_id="first try")
    assert folder.is_fresh
    log = SegmentLogStore(folder.log_path)
    log.commit([Append((LogEntry(1, 1, b"of the first try"),))])
    log.close()
    folder.close()
    with pytest.raises(FolderRefused, match="did not finish"):
        open_folder(tmp_path / "n1", node_id="n1")
    folder = bootstrap(tmp_path / "n1", folder_id="second try")
    assert folder.is_fresh
    assert folder.identity.folder_id == "second try"
    log = SegmentLogStore(folder.log_path)
    assert log.last_index() == 0
    log.close()
    folder.close()


def test_a_log_without_an_identity_is_never_wiped(tmp_path: Path) -> None:
    member(tmp_path / "n1")
    (tmp_path / "n1" / "folder.json").unlink()
    for explicit in (False, True):
        with pytest.raises(FolderRefused):
            open_folder(tmp_path / "n1", node_id="n1", cluster_id="c1", folder_id="f1", bootstrap=explicit)
    assert has_log(tmp_path / "n1" / "log")


def test_a_member_without_its_log_is_a_stop_and_not_a_new_voter(tmp_path: Path) -> None:
    member(tmp_path / "n1")
    Path(segment_path(tmp_path / "n1" / "log", 1)).unlink()
    with pytest.raises(Corrupt, match="log is missing"):
        open_folder(tmp_path / "n1", node_id="n1")
    assert not has_log(tmp_path / "n1" / "log")


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1}', b"\xff"])
def test_an_identity_that_does_not_decode_is_corrupt(tmp_path: Path, content: bytes) -> None:
    member(tmp_path / "n1")
    (tmp_path / "n1" / "folder.json").write_bytes(content)
    with pytest.raises(Corrupt, match="does not decode"):
        open_folder(tmp_path / "n1", node_id="n1")


def test_another_format_is_refused(tmp_path: Path) -> None:
    member(tmp_path / "n1")
    file = tmp_path / "n1" / "folder.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(FolderRefused, match="format 2"):
        open_folder(tmp_path / "n1", node_id="n1")


HOLDER = """
    import sys
    from pathlib import Path
    from raftmem.storage.folder import open_folder

    folder = open_folder(Path(sys.argv[1]), node_id="n1")
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_with_the_pid_of_the_first_until_it_is_dead(tmp_path: Path) -> None:
    member(tmp_path / "n1")
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "n1")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(FolderRefused, match=f"process {holder.pid}"):
        open_folder(tmp_path / "n1", node_id="n1")
    with pytest.raises(FolderRefused, match=f"process {holder.pid}"):
        ReadLock(tmp_path / "n1")
    holder.kill()
    holder.communicate()
    open_folder(tmp_path / "n1", node_id="n1").close()


def test_readers_share_a_folder_and_keep_writers_away(tmp_path: Path) -> None:
    member(tmp_path / "n1")
    readers = [ReadLock(tmp_path / "n1"), ReadLock(tmp_path / "n1")]
    with pytest.raises(FolderRefused, match="in use"):
        open_folder(tmp_path / "n1", node_id="n1")
    for reader in readers:
        reader.close()
    open_folder(tmp_path / "n1", node_id="n1").close()


def test_a_refused_open_lets_go_of_the_lock(tmp_path: Path) -> None:
    member(tmp_path / "n1")
    with pytest.raises(FolderRefused):
        open_folder(tmp_path / "n1", node_id="n2")
    open_folder(tmp_path / "n1", node_id="n1").close()


def test_the_identity_is_replaced_whole(tmp_path: Path) -> None:
    member(tmp_path / "n1")
    before = os.stat(tmp_path / "n1" / "folder.json").st_ino
    folder = open_folder(tmp_path / "n1", node_id="n1")
    folder.finish_bootstrap()
    folder.close()
    assert os.stat(tmp_path / "n1" / "folder.json").st_ino != before
    assert read_identity(tmp_path / "n1") == folder.identity
    assert sorted(entry.name for entry in (tmp_path / "n1").iterdir()) == [
        "folder.json",
        "lock",
        "log",
        "snapshots",
        "state",
        "vectors",
    ]
