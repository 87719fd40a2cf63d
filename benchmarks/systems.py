"""A measured system, and what it needs on this machine.

A system runs as long as its context. Its first address is the leader's, as of the last look.
"""

import base64
import random
import shutil
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import msgspec

VALUE_BYTES: Final = 256
KEYS: Final = 10_000
TEXTS: Final = 64
PEERS: Final = ("etcd", "redis")
RAFTMEM: Final = "raftmem"
# What a column needs, and the Debian package that has it.
_PROGRAMS: Final = {"etcd": ("etcd", "etcd-server"), "redis": ("redis-server", "redis-server"), "wrk": ("wrk", "wrk")}


class System(Protocol):
    """`pids` by process name; which of them leads is in `leader`."""

    @property
    def name(self) -> str: ...
    @property
    def urls(self) -> list[str]: ...
    @property
    def pids(self) -> Mapping[str, int]: ...
    @property
    def leader(self) -> str: ...


def is_there(name: str) -> bool:
    return shutil.which(_PROGRAMS[name][0]) is not None


def how_to_install(name: str) -> str:
    program, package = _PROGRAMS[name]
    return f"{program} is not installed (Debian: apt-get install {package})"


def missing_peers(wanted: Iterable[str]) -> dict[str, str]:
    """Of those that are wanted: what to say of each that is not there."""
    return {name: f"{how_to_install(name)}; its columns are left out" for name in wanted if not is_there(name)}


def values(count: int = TEXTS, size: int = VALUE_BYTES, *, seed: int = 1) -> list[str]:
    """Texts that compress no better than what people write in base64 would; ASCII, nothing that JSON escapes."""
    draw = random.Random(seed)
    return [base64.b64encode(draw.randbytes(size)).decode()[:size] for _ in range(count)]


def encoded(text: str) -> str:
    """As etcd's gateway wants keys and values."""
    return base64.b64encode(text.encode()).decode()


def ask_json(url: str, body: object = None, *, timeout_s: float = 10.0) -> dict[str, object]:
    """One request outside of any measurement. Raises: OSError."""
    data = None if body is None else msgspec.json.encode(body)
    asked = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"} if data else {})
    with urllib.request.urlopen(asked, timeout=timeout_s) as reply:
        answer: dict[str, object] = msgspec.json.decode(reply.read())
    return answer
