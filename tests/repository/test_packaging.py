"""sdist -> wheel -> clean environment -> console script from another folder, without a network."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from source_tree import FOLDERS, ROOT, copy_of_source

from raftmem import __version__

SETUPTOOLS_MIN = 77
pytestmark = pytest.mark.skipif(
    int(version("setuptools").partition(".")[0]) < SETUPTOOLS_MIN,
    reason=f"needs setuptools {SETUPTOOLS_MIN} of requirements.lock: use make test",
)


def run(*command: str | Path, cwd: Path) -> str:
    ended = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("sdist")
    source = copy_of_source(work / "source")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", work / "dist", source, cwd=work)
    return next((work / "dist").glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist alone, as an index would be given it."""
    work = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    unpacked = work / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work / "dist", unpacked, cwd=work)
    return next((work / "dist").glob("*.whl"))


def test_wheel_holds_every_module_as_a_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        links = [item.filename for item in archive.infolist() if item.external_attr >> 28 == 0xA]
    expected = {f"raftmem/{path.relative_to(ROOT)}" for name in FOLDERS[1:] for path in (ROOT / name).rglob("*.py")}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "raftmem").rglob("*.py")}
    assert inside == expected | {"raftmem/py.typed"}
    assert links == []


def test_wheel_names_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
        licence = next(name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: Apache-2.0" in text


def test_console_script_of_the_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    clean, elsewhere = tmp_path / "clean", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", clean, cwd=tmp_path)
    python = clean / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-index", "--no-deps", wheel),
        cwd=elsewhere,
    )
    site = next(clean.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # in place of a network
    assert run(clean / "bin" / "raftmem", "--version", cwd=elsewhere) == f"raftmem {__version__}\n"
    modules = "raftmem, raftmem.api.app, raftmem.storage.state.store, raftmem.node"
    where = run(python, "-c", f"import {modules}; print(raftmem.api.app.__file__)", cwd=elsewhere)
    assert Path(where.strip()) == site / "raftmem" / "api" / "app.py"
