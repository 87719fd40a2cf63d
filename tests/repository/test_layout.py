"""The fixed layout: two real folders, two relative links, names that cannot collide, modules of one idea."""

import os
import subprocess
import sys

import pytest
from source_tree import ROOT, python_files

LINES_MAX = 400


@pytest.mark.parametrize("name", ["api", "storage"])
def test_subpackage_is_a_relative_link_to_its_folder(name: str) -> None:
    link = ROOT / "raftmem" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    assert (ROOT / name).is_dir()
    assert not (ROOT / name).is_symlink()


@pytest.mark.parametrize("name", ["api", "storage"])
def test_bare_import_is_refused_with_the_right_name(name: str) -> None:
    ended = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"ImportError: import raftmem.{name}, not {name}" in ended.stderr


def test_no_module_outgrows_one_idea() -> None:
    product = [path for path in python_files() if "tests" not in path.parts]
    lengths = {str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n") for path in product}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_every_module_of_the_product_says_what_it_is() -> None:
    product = [path for path in python_files() if "tests" not in path.parts]
    silent = [str(path.relative_to(ROOT)) for path in product if not path.read_text("utf-8").lstrip().startswith('"""')]
    assert silent == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in python_files() if "tests" in path.parts and path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_lock_file_has_hashes_and_no_index_address() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    pins = [line for line in text.splitlines() if line and line[0].isalnum()]
    assert len(pins) > 30
    assert all("==" in line and line.endswith("\\") for line in pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text
    assert "--index" not in text
