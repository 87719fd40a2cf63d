"""Three nodes of etcd with default settings, and the requests that its HTTP/JSON gateway takes."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.processes import end, free_ports, started, until
from benchmarks.systems import KEYS, ask_json, encoded, values
from benchmarks.wrk import Request

NODES: Final = ("m1", "m2", "m3")
READY_S: Final = 30.0
COMPACT_BYTES: Final = 600_000_000
COMPACT_S: Final = 300.0
LEASE_S: Final = 3600  # none runs out, and burdens what is measured later, while a run goes on


class EtcdGroup:
    """A running group."""

    name = "etcd"

    def __init__(self, folder: Path, port: int, stack: ExitStack) -> None:
        self.folder = folder
        self.leader = NODES[0]
        self._stack = stack
        self._client = {node: f"http://127.0.0.1:{port + place}" for place, node in enumerate(NODES)}
        self._peer = {node: f"http://127.0.0.1:{port + 1000 + place}" for place, node in enumerate(NODES)}
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def start(self, node: str) -> None:
        """Also again, after a kill: its folder is there."""
        command = ["etcd", "--name", node, "--data-dir", str(self.folder / node)]
        command += ["--listen-client-urls", self._client[node], "--advertise-client-urls", self._client[node]]
        command += ["--listen-peer-urls", self._peer[node], "--initial-advertise-peer-urls", self._peer[node]]
        command += ["--initial-cluster", ",".join(f"{name}={url}" for name, url in self._peer.items())]
        process = started(command, log=self.folder / f"{node}.txt")
        self._processes[node] = self._stack.enter_context(process)

    def kill(self, node: str) -> None:
        self._processes[node].kill()
        end(self._processes[node])

    @property
    def pids(self) -> dict[str, int]:
        return {node: process.pid for node, process in self._processes.items()}

    @property
    def urls(self) -> list[str]:
        return [self._client[node] for node in sorted(NODES, key=lambda node: (node != self.leader, node))]

    def look(self) -> bool:
        """True if every node answers and names the same leader. Remembers that leader."""
        leaders, ids = set(), {}
        for node, url in self._client.items():
            try:
                told = ask_json(f"{url}/v3/maintenance/status", {}, timeout_s=2.0)
            except OSError:
                return False
            header = told["header"]
            assert isinstance(header, dict)
            ids[str(header["member_id"])] = node
            leaders.add(str(told.get("leader", "0")))
        if len(leaders) != 1 or (leader := leaders.pop()) not in ids:
            return False
        self.leader = ids[leader]
        return True


@contextmanager
def etcd_group(folder: Path) -> Iterator[EtcdGroup]:
    """Raises: NotStarted."""
    (folder / "etcd").mkdir()
    with ExitStack() as stack:
        group = EtcdGroup(folder / "etcd", free_ports(len(NODES), offsets=(0, 1000)), stack)
        for node in NODES:
            group.start(node)
        until(group.look, seconds=READY_S, what="etcd")
        yield group


def version() -> str:
    printed = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True).stdout
    return printed.splitlines()[0].removeprefix("etcd Version: ")


# --- requests -------------------------------------------------------------------------------------------
def key(number: int) -> str:
    return encoded(f"bench/{number:07}")


def put_body(number: int, value: str) -> str:
    return json.dumps({"key": key(number), "value": value})


def put_requests(*, keys: int = KEYS) -> list[Request]:
    texts = [encoded(text) for text in values()]
    return [Request("POST", "/v3/kv/put", put_body(number, texts[number % len(texts)])) for number in range(keys)]


def range_body(number: int, *, serializable: bool) -> str:
    return json.dumps({"key": key(number), **({"serializable": True} if serializable else {})})


def range_requests(numbers: Sequence[int], *, serializable: bool) -> list[Request]:
    return [Request("POST", "/v3/kv/range", range_body(number, serializable=serializable)) for number in numbers]


def puts_body(puts: Sequence[tuple[int, str]]) -> str:
    """In one transaction without conditions; `value` is encoded already."""
    return json.dumps({"success": [{"requestPut": {"key": key(number), "value": value}} for number, value in puts]})


def store(group: EtcdGroup, start: int, stop: int, *, size: int) -> None:
    """Values under the keys `start`..`stop`, a hundred a transaction."""
    texts = [encoded(text) for text in values(size=size)]
    for first in range(start, stop, 100):
        puts = [(number, texts[number % len(texts)]) for number in range(first, min(first + 100, stop))]
        ask_json(f"{group.urls[0]}/v3/kv/txn", msgspec.Raw(puts_body(puts).encode()))


def settle(group: EtcdGroup) -> None:
    """Whole, and with room: a store that keeps every revision ends at its quota of 2 GB.

    What an operator's compaction does is done here between measurements, and only in long runs.
    """
    until(group.look, seconds=READY_S, what="etcd")
    status = ask_json(f"{group.urls[0]}/v3/maintenance/status", {})
    if int(str(status["dbSize"])) > COMPACT_BYTES:
        compact(group, status)
    time.sleep(0.2)


def compact(group: EtcdGroup, status: dict[str, object]) -> None:
    """The answer comes once it is done on disk. The store reuses the freed room."""
    header = status["header"]
    assert isinstance(header, dict)
    asked = {"revision": header["revision"], "physical": True}
    ask_json(f"{group.urls[0]}/v3/kv/compaction", asked, timeout_s=COMPACT_S)
