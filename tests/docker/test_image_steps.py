"""The steps of the Dockerfile, run one by one without an engine: folders of the image below a temporary one.

They fetch every package anew, so they run only where RAFTMEM_TEST_IMAGE_STEPS is `network`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from image import ROOT, Stage, dockerfile

pytestmark = pytest.mark.skipif(
    os.environ.get("RAFTMEM_TEST_IMAGE_STEPS") != "network",
    reason="fetches packages: set RAFTMEM_TEST_IMAGE_STEPS=network to run the steps of the Dockerfile",
)
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")
OF_THE_IMAGE = re.compile(r"(?<![\w./])/(src|wheels|opt/raftmem|raftmem)\b")


class Image:
    """`root`: what is / in the image. A `python` with pip stands in for that of the base."""

    def __init__(self, root: Path) -> None:
        self.root = root
        subprocess.run([sys.executable, "-m", "venv", str(root / "base")], check=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        self._environment = {**kept, "PATH": f"{root / 'base' / 'bin'}:{os.environ['PATH']}"}
        self._here = root

    def placed(self, text: str) -> str:
        return OF_THE_IMAGE.sub(lambda match: f"{self.root}/{match[1]}", text)

    def make(self, stage: Stage) -> None:
        for one in stage.instructions:
            match one.name:
                case "WORKDIR":
                    self._here = Path(self.placed(one.rest))
                    self._here.mkdir(parents=True, exist_ok=True)
                case "COPY" if not one.rest.startswith("--from"):
                    *sources, target = one.words
                    for source in sources:
                        self._copy(ROOT / source, target)
                case "RUN" if not re.search(r"apt-get|useradd|chown", one.rest):
                    self.run(self.placed(one.rest))

    def _copy(self, source: Path, target: str) -> None:
        """As COPY does: a folder's content, links kept; a file into a folder, or under the name given."""
        place = self._here / self.placed(target)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, ignore=LEFT_OUT)
        else:
            place = place / source.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)

    def run(self, script: str) -> str:
        ended = subprocess.run(
            ["/bin/sh", "-c", script], cwd=self._here, env=self._environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, f"{script}\n{ended.stdout}{ended.stderr}"
        return ended.stdout


def test_steps_make_an_environment_with_the_product_and_nothing_that_builds(tmp_path: Path) -> None:
    found = dockerfile()
    image = Image(tmp_path)
    image.make(found["build"])
    image.make(found["product"])
    binary = tmp_path / "opt" / "raftmem" / "bin"
    assert "raftmem" in image.run(f"{binary}/raftmem --version")
    image.run(f"{binary}/python -c 'import raftmem.api.app, raftmem.storage.state.store, raftmem.node'")
    installed = image.run(
        f"{binary}/python -c 'from importlib.metadata import distributions; print(*(d.name for d in distributions()))'"
    ).split()
    assert set(installed) & {"pip", "setuptools", "wheel", "pytest", "mypy", "ruff", "hypothesis"} == set()
    packages = next((tmp_path / "opt" / "raftmem" / "lib").glob("python3*/site-packages"))
    assert (packages / "raftmem" / "api" / "app.py").is_file()
    assert not (packages / "api").exists()
    assert not (packages / "jepsen_like").exists()
    image.make(found["jepsen"])
    assert "register" in image.run(f"{binary}/python -m jepsen_like list")
