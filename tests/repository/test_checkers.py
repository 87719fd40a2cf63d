"""The checkers look everywhere they should: a planted fault in each linked folder is found by each of them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT, copy_of_source

BIN = Path(sys.executable).parent
FAULT = '\n\ndef planted() -> int:\n    """A type error."""\n    return "not an integer"\n'
PLACES = ("api/http/times.py", "storage/state/clean_mark.py")


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / command[0]), *command[1:]], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    source = copy_of_source(tmp_path / "source")
    for place in PLACES:
        with (source / place).open("a") as file:
            file.write(FAULT)
    return source


def test_mypy_finds_a_type_error_in_each_linked_folder(planted: Path) -> None:
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", planted / ".mypy_cache")  # saves most of the time
    ended = run("mypy", "-p", "raftmem", cwd=planted)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert [place for place in PLACES if f"raftmem/{place}" not in ended.stdout] == []


def test_pyright_finds_a_type_error_in_each_linked_folder(planted: Path) -> None:
    ended = run("pyright", "--pythonpath", sys.executable, cwd=planted)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert [place for place in PLACES if str(planted / place) not in ended.stdout] == []


@pytest.mark.parametrize(
    ("statement", "code"), [("import api", "TID251"), ("from storage import log", "TID251"), ("import os", "F401")]
)
def test_ruff_refuses_the_bare_names(statement: str, code: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    (tmp_path / "module.py").write_text(f"{statement}\n")
    ended = run("ruff", "check", "--no-cache", "--select", "TID,F", "module.py", cwd=tmp_path)
    assert ended.returncode == 1
    assert code in ended.stdout


def test_imports_point_downwards_and_each_library_has_one_home() -> None:
    ended = run("lint-imports", "--no-cache", cwd=ROOT)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("place", "statement", "contract"),
    [
        ("storage/state/clean_mark.py", "import raftmem.replica.apply_loop", "imports point downwards only"),
        ("raftmem/replica/apply_loop.py", "import raftmem.raft.consensus", "imports point downwards only"),
        ("raftmem/machine/run.py", "import time", "the machine is pure"),
        ("api/http/times.py", "import lmdb", "lmdb has one home"),
        ("raftmem/node.py", "import pysyncobj", "pysyncobj has one home"),
        ("raftmem/service/interface.py", "import fastapi", "frameworks stay at the edges"),
    ],
)
def test_import_that_breaks_a_contract_is_found(place: str, statement: str, contract: str, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path / "source")
    (source / "jepsen_like").symlink_to(ROOT / "jepsen_like")
    with (source / place).open("a") as file:
        file.write(f"\n{statement}\n")
    ended = run("lint-imports", "--no-cache", cwd=source)
    assert ended.returncode == 1, ended.stdout
    verdict = re.search(rf"{contract}((?! KEPT).)* BROKEN", " ".join(ended.stdout.split()))  # long names are broken up
    assert verdict is not None, ended.stdout
