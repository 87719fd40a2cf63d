"""The machine and the versions on which a run was made."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks import etcd_group, redis_group
from benchmarks.systems import is_there
from raftmem import __version__

_PACKAGES: Final = ("uvloop", "httptools", "uvicorn", "msgspec", "lmdb", "faiss-cpu", "pysyncobj")


class Machine(Struct, frozen=True):
    """`disk`: the type of the file system under the data."""

    cpus: int
    cpu: str
    memory_gb: float
    disk: str
    kernel: str
    versions: dict[str, str]


def this_machine(disk: str) -> Machine:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Machine(len(os.sched_getaffinity(0)), cpu, memory, disk, platform.release(), _versions())


def _versions() -> dict[str, str]:
    found = {"raftmem": __version__}
    if is_there("etcd"):
        found["etcd"] = etcd_group.version()
    if is_there("redis"):
        found["Redis"] = redis_group.version()
    found["Python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
