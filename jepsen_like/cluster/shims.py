"""Small libraries of ours, loaded before the C library of a replica: compiled when needed, and only on Linux."""

import shutil
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

from jepsen_like.cluster.client import Trouble

_NO_COMPILER = "no C compiler: install gcc, or another that is called cc"


def missing() -> str | None:
    """The parts that this machine lacks for such a library; nothing is tried yet."""
    if not sys.platform.startswith("linux"):
        return f"works by LD_PRELOAD on Linux, this is {sys.platform}"
    return None if _compiler() else _NO_COMPILER


def compiled(source: Path, target: Path) -> None:
    """`target` is made from the C file. Raises: Trouble with the compiler's first line."""
    compiler = _compiler()
    if compiler is None:
        raise Trouble(_NO_COMPILER)
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(target), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise Trouble(f"{source.name} does not compile here: {lines[0] if lines else done.returncode}")


def put_before(environment: MutableMapping[str, str], library: Path) -> None:
    """A process with this environment loads it, once, before those that were named so far."""
    path = str(library.resolve())
    loaded = [one for one in environment.get("LD_PRELOAD", "").split(":") if one and one != path]
    environment["LD_PRELOAD"] = ":".join([path, *loaded])


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
