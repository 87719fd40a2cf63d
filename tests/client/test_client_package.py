"""The package: what it imports, and that both clients have the same names and parameters."""

import inspect
import subprocess
import sys

import httpx
import pytest

from raftmem.client import AsyncRaftmemClient, RaftmemClient

URL = "http://127.0.0.1:1"
GROUPS = ("memories", "locks", "owners", "tasks", "gates")


def test_import_brings_nothing_of_the_service() -> None:
    code = "import sys, raftmem.client; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = (
        "faiss",
        "lmdb",
        "pysyncobj",
        "fastapi",
        "numpy",
        "uvicorn",
        "uvloop",
        "raftmem.service.interface",
        "raftmem.api",
    )
    ended = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def public(row: object) -> set[str]:
    return {name for name in dir(row) if not name.startswith("_")}


@pytest.mark.parametrize("group", GROUPS)
def test_groups_have_the_same_methods_with_the_same_parameters(group: str) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200))
    blocking = getattr(RaftmemClient(URL, transport=transport), group)
    awaited = getattr(AsyncRaftmemClient(URL, transport=transport), group)
    assert public(blocking) == public(awaited)
    for name in public(blocking):
        one, other = (inspect.signature(getattr(found, name)) for found in (blocking, awaited))
        assert list(one.parameters) == list(other.parameters), name
        assert [p.default for p in one.parameters.values()] == [p.default for p in other.parameters.values()], name


def test_clients_have_the_same_methods() -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200))
    shared = {*GROUPS, "batch", "close", "cluster", "events", "incarnation", "index", "owner", "txn", "watch"}
    assert shared <= public(RaftmemClient(URL, transport=transport))
    assert shared <= public(AsyncRaftmemClient(URL, transport=transport))
