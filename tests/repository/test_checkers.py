"""The checkers look everywhere they should: a planted fault in each linked folder is found by each of them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import FOLDERS, ROOT, copy_of_source

BIN = Path(sys.executable).parent
FAULT = '"""A module."""\n\n\ndef planted() -> int:\n    """A type error."""\n    return "not an integer"\n'


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / command[0]), *command[1:]], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """The project's configuration, packages and links, without their modules: one with a type error is in each folder.

    A check of the whole source takes a minute, and says no more about where the checkers look.
    """
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    for name in ("raftmem", "api", "storage", "jepsen_like"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('"""A package."""\n')
        (tmp_path / name / "planted.py").write_text(FAULT)
    for name in FOLDERS[1:]:
        (tmp_path / "raftmem" / name).symlink_to(os.readlink(ROOT / "raftmem" / name))
    return tmp_path


def test_mypy_finds_a_type_error_in_each_folder_and_through_the_links(planted: Path) -> None:
    ended = run("mypy", cwd=planted)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    found = re.findall(r"^(\S+):\d+: error: Incompatible return value", ended.stdout, re.MULTILINE)
    linked = [f"raftmem/{name}/planted.py" for name in FOLDERS[1:]]
    assert sorted(found) == sorted([*linked, "raftmem/planted.py", "jepsen_like/planted.py"])


def test_pyright_finds_a_type_error_in_each_folder_and_through_the_links(planted: Path) -> None:
    ended = run("pyright", "--pythonpath", sys.executable, "--outputjson", cwd=planted)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    found = {Path(one["file"]) for one in json.loads(ended.stdout)["generalDiagnostics"] if one["severity"] == "error"}
    places = ("raftmem", "api", "storage", "jepsen_like", "raftmem/api", "raftmem/storage")
    assert found == {planted / place / "planted.py" for place in places}


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
