"""What a data folder remembers of its group: how it joined, which group it is of, that it was removed."""

from pathlib import Path

import msgspec
import pytest

from raftmem.errors import FolderRefused
from raftmem.storage.folder import Folder, genesis_of, open_folder, read_identity
from raftmem.storage.log.contract import Append, LogEntry
from raftmem.storage.log.store import SegmentLogStore


def join(path: Path, *, folder_id: str = "f4", birth: str = "b4", node_id: str = "n4") -> Folder:
    return open_folder(path, node_id=node_id, cluster_id="c1", folder_id=folder_id, birth=birth, joining=True)


def finish(folder: Folder) -> None:
    log = SegmentLogStore(folder.log_path)
    log.commit([Append((LogEntry(0, 0, b"first"),))])
    log.close()
    folder.finish_bootstrap(genesis="9e", incarnation=2)


def test_join_cut_short_goes_on_under_the_ids_that_it_began_with(tmp_path: Path) -> None:
    first = join(tmp_path / "n4")
    (first.log_path / "half").write_text("of an entry")
    first.close()
    again = join(tmp_path / "n4", folder_id="another", birth="another")
    assert (again.identity.folder_id, again.identity.birth, again.is_fresh) == ("f4", "b4", True)
    assert list(again.log_path.iterdir()) == []
    finish(again)
    again.close()
    opened = open_folder(tmp_path / "n4", node_id="n4")
    assert (opened.identity.genesis, opened.identity.incarnation) == ("9e", 2)
    assert (opened.identity.joining, opened.is_fresh) == (False, False)
    opened.close()
    ready = join(tmp_path / "n4", folder_id="another")
    assert (ready.identity.folder_id, ready.is_fresh) == ("f4", False)
    ready.close()


def test_join_cut_short_opens_for_nothing_else(tmp_path: Path) -> None:
    join(tmp_path / "n4").close()
    with pytest.raises(FolderRefused, match="left by a join that did not finish"):
        open_folder(tmp_path / "n4", node_id="n4")
    with pytest.raises(FolderRefused, match="belongs to node n4, not n5"):
        join(tmp_path / "n4", node_id="n5")


def test_abandoned_join_leaves_a_folder_for_anybody(tmp_path: Path) -> None:
    folder = join(tmp_path / "n4")
    folder.abandon()
    folder.close()
    assert read_identity(tmp_path / "n4") is None
    other = join(tmp_path / "n4", node_id="n5", folder_id="f5")
    assert other.identity.folder_id == "f5"
    finish(other)
    with pytest.raises(ValueError, match="is a member's"):
        other.abandon()
    other.close()


@pytest.mark.parametrize("joining", [False, True])
def test_folder_of_a_removed_replica_is_never_opened_again(tmp_path: Path, joining: bool) -> None:
    folder = join(tmp_path / "n4")
    finish(folder)
    folder.mark_removed()
    folder.close()
    with pytest.raises(FolderRefused, match="was removed from the group and never comes back under that id"):
        open_folder(tmp_path / "n4", node_id="n4", cluster_id="c1", folder_id="f", joining=joining)


def test_folder_of_an_older_version_learns_its_group(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "n1", node_id="n1", cluster_id="c1", folder_id="f", bootstrap=True)
    folder.finish_bootstrap()
    assert folder.identity.genesis == ""
    folder.remember_genesis(genesis_of(b"first entry"))
    folder.close()
    found = read_identity(tmp_path / "n1")
    assert found is not None
    assert len(bytes.fromhex(found.genesis)) == 32
    assert found.ready


def test_folder_that_enters_another_incarnation_forgets_whom_it_knew_and_stays_itself(tmp_path: Path) -> None:
    folder = join(tmp_path / "n4")
    finish(folder)
    (tmp_path / "n4" / "acquaintances.json").write_text('{"n1": "b"}')
    before = folder.identity
    for _ in range(2):
        folder.enter_incarnation(3, genesis="a0")
    folder.close()
    found = read_identity(tmp_path / "n4")
    assert found == folder.identity == msgspec.structs.replace(before, incarnation=3, genesis="a0")
    assert not (tmp_path / "n4" / "acquaintances.json").exists()


def test_folder_without_an_incarnation_is_of_the_first(tmp_path: Path) -> None:
    finish(join(tmp_path / "n4"))
    path = tmp_path / "n4" / "folder.json"
    written = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    del written["incarnation"]
    path.write_bytes(msgspec.json.encode(written))
    found = read_identity(tmp_path / "n4")
    assert found is not None
    assert found.incarnation == 1
