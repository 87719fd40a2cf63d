"""The repository, and copies of it in which a test may plant what must be found."""

import shutil
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("raftmem", "api", "storage")
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.egg-info")


def copy_of_source(target: Path) -> Path:
    """What is built and checked, links kept as links."""
    target.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=_LEFT_OUT)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def python_files() -> list[Path]:
    """Every source file of the project, each once, tests included."""
    folders = (*FOLDERS, "tests", "benchmarks", "jepsen_like")
    found = (path for name in folders for path in sorted((ROOT / name).rglob("*.py")))
    return [path for path in found if not any((ROOT / "raftmem" / link) in path.parents for link in FOLDERS[1:])]
