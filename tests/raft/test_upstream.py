"""The reports to PySyncObj say what the stock library does: every script, listing and quoted line is checked."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pysyncobj
import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "upstream.md").read_text("utf-8")
LIBRARY = Path(pysyncobj.__file__).parent
SCRIPTS = sorted(path.stem for path in (DOCS / "upstream").glob("v*.py"))
QUOTED = re.compile(r"`(\w+\.py):(\d+)`\s+`([^`]+)`")


def run(script: str, library: Path = LIBRARY) -> subprocess.CompletedProcess[str]:
    """The script by itself, with the library that lies in this folder."""
    environment = {**os.environ, "PYTHONPATH": str(library.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(DOCS / "upstream" / f"{script}.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_shows_its_defect_in_the_words_of_the_page(script: str) -> None:
    ended = run(script)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("DEFECT SHOWN: ")
    section = PAGE.split(f"(upstream/{script}.py)")[1].split("<a id=")[0]
    assert f"```\n{ended.stdout}```\n" in section


def test_repaired_library_is_noticed(tmp_path: Path) -> None:
    copy = tmp_path / "pysyncobj"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = (copy / "syncobj.py").read_text("utf-8")
    wrong = "elif pos + batchSizeBytes >= len(entries[0][0]):"
    assert source.count(wrong) == 1
    (copy / "syncobj.py").write_text(source.replace(wrong, "elif pos + batchSizeBytes >= len(entry):"), "utf-8")
    ended = run("v13_command_split_wrongly", copy)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.splitlines()[-1].startswith("NOT SHOWN: ")


def test_every_script_has_a_report_and_every_report_a_script() -> None:
    linked = re.findall(r"^PySyncObj 0\.3\.17 · .*\(upstream/(\w+)\.py\)", PAGE, re.MULTILINE)
    assert sorted(linked) == SCRIPTS
    assert len(linked) == PAGE.count("**Actual") == PAGE.count("**Suggested repair.**") == PAGE.count('<a id="')
    assert set(re.findall(r"\(#(\w+)\)", PAGE)) == set(re.findall(r'<a id="(\w+)">', PAGE))


def test_every_quoted_line_stands_where_the_page_says() -> None:
    lines = {path.name: path.read_text("utf-8").splitlines() for path in LIBRARY.glob("*.py")}
    quoted = QUOTED.findall(PAGE)
    assert len(quoted) == len(re.findall(r"`\w+\.py:\d+`", PAGE)) > 40
    assert [(file, line) for file, line, code in quoted if code not in lines[file][int(line) - 1]] == []


def test_scripts_use_the_stock_library_and_nothing_of_ours() -> None:
    imports = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)
    used = {name for path in (DOCS / "upstream").glob("*.py") for name in imports.findall(path.read_text("utf-8"))}
    assert "pysyncobj" in used
    assert used & {"raftmem", "socket", "threading", "asyncio", "time", "multiprocessing"} == set()
