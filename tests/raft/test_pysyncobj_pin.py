"""The library is pinned, and every private thing of it that is relied on is as it was read."""

import hashlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from pysyncobj import SyncObj

from raftmem.raft import pysyncobj_core
from raftmem.raft.pysyncobj_core import RELIED_ON, RUN_BELOW, VERSION

ROOT = Path(__file__).parents[2]
QUARANTINE = ROOT / "raftmem" / "raft" / "pysyncobj_core.py"
FOLDERS = ("raftmem", "api", "storage", "jepsen_like", "benchmarks")


def _digest(name: str) -> str | None:
    """sha256 of the source of a method upstream; None when there is no such method."""
    method = getattr(SyncObj, f"_SyncObj{name}" if name.startswith("__") and not name.endswith("__") else name, None)
    return None if method is None else hashlib.sha256(inspect.getsource(method).encode()).hexdigest()


def test_the_version_pin_is_the_one_that_was_read() -> None:
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert VERSION == "0.3.17"
    assert f"pysyncobj=={VERSION}" in pins
    assert version("pysyncobj") == VERSION


def test_every_private_name_that_is_used_is_listed() -> None:
    used = set(re.findall(r"_SyncObj(__\w+)", QUARANTINE.read_text()))
    assert used == set(RELIED_ON), f"not listed: {used - set(RELIED_ON)}; not used: {set(RELIED_ON) - used}"


def test_every_method_that_is_relied_on_is_unchanged_upstream() -> None:
    changed = [
        name for name, known in {**RELIED_ON, **RUN_BELOW}.items() if known is not None and _digest(name) != known
    ]
    assert not changed, f"changed or gone upstream; read them again before the hash is replaced: {changed}"


def test_what_is_listed_without_a_hash_is_a_plain_attribute_that_exists() -> None:
    source = inspect.getsource(SyncObj)
    methods = [name for name, known in RELIED_ON.items() if known is None and _digest(name) is not None]
    missing = [name for name, known in RELIED_ON.items() if known is None and f"self.{name} = " not in source]
    assert (methods, missing) == ([], [])


def test_the_patched_global_exists_and_is_put_back() -> None:
    assert callable(pysyncobj_core.upstream.createJournal)
    assert pysyncobj_core.upstream.createJournal.__module__ == "pysyncobj.journal"


def test_nothing_else_imports_the_library_or_names_its_private_parts() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.resolve() != QUARANTINE
        and re.search(r"_SyncObj__|^\s*(import|from) pysyncobj", path.read_text(), flags=re.MULTILINE)
    ]
    assert guilty == []
