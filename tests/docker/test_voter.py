"""A folder may become a voter once: what `voter.py` allows, at each moment at which it may have been cut short."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from image import DOCKER

from raftmem.storage.folder import open_folder


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("voter", DOCKER / "voter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


voter = loaded()


class Volumes:
    def __init__(self, root: Path) -> None:
        self.group, self.data = root / "group", root / "n1"
        self.group.mkdir()
        self.data.mkdir()

    def allows(self) -> bool:
        allowed: bool = voter.may_bootstrap(self.group, self.data, "n1")
        return allowed

    def serve(self) -> None:
        """What a replica does to its folder."""
        folder = open_folder(self.data, node_id="n1", cluster_id="c0de5a1e", folder_id="f1", birth="b", bootstrap=True)
        folder.finish_bootstrap()
        folder.close()

    def empty(self, volume: Path) -> None:
        for path in sorted(volume.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(tmp_path)


def test_empty_folder_may_bootstrap_and_again_until_it_has(volumes: Volumes) -> None:
    assert volumes.allows()
    assert volumes.allows()
    volumes.serve()
    assert not volumes.allows()
    assert not (volumes.data / "bootstrap-permit").exists()


def test_emptied_folder_gets_no_second_permit(volumes: Volumes) -> None:
    assert volumes.allows()
    volumes.serve()
    volumes.empty(volumes.data)
    assert not volumes.allows()
    assert list(volumes.data.iterdir()) == []


def test_folder_emptied_before_it_served_gets_none_either(volumes: Volumes) -> None:
    assert volumes.allows()
    volumes.empty(volumes.data)
    assert not volumes.allows()


def test_start_cut_short_between_permit_and_mark_is_done_again(volumes: Volumes) -> None:
    assert volumes.allows()
    (volumes.group / "n1.began").unlink()
    assert volumes.allows()
    assert (volumes.group / "n1.began").exists()


def test_folder_with_data_goes_on_when_the_shared_volume_is_lost(volumes: Volumes) -> None:
    assert volumes.allows()
    volumes.serve()
    assert not volumes.allows()
    volumes.empty(volumes.group)
    assert not volumes.allows()
    volumes.empty(volumes.data)
    assert not volumes.allows()


def test_command_serves_with_the_flag_only_when_it_may(volumes: Volumes) -> None:
    environment = {"RAFTMEM_DATA": str(volumes.data), "RAFTMEM_NODE_ID": "n1"}
    first = voter.command([str(volumes.group), "serve"], environment)
    secret = ["--peer-secret-file", str(volumes.group / "peer.secret")]
    assert first[1:] == ["serve", *secret, "--bootstrap"]
    assert Path(first[0]).name == "raftmem"
    volumes.serve()
    assert voter.command([str(volumes.group), "serve"], environment)[1:] == ["serve", *secret]
