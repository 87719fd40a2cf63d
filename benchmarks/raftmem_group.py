"""Replicas of raftmem by `raftmem up`, from this checkout, with default settings; and the requests that they take."""

import json
import random
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.processes import NotStarted, children, free_ports, started, until
from benchmarks.systems import KEYS, RAFTMEM, ask_json, values
from benchmarks.wrk import Request

BATCH: Final = 1000  # of events in one request, the most there may be
LOADERS: Final = 4
TAGS: Final = 16


class RaftmemGroup:
    """A running group."""

    name = RAFTMEM

    def __init__(self, replicas: list[dict[str, object]], leader: str, folder: Path, supervisor: int) -> None:
        self.folder = folder
        self.leader = leader
        self._urls = {str(replica["id"]): str(replica["url"]) for replica in replicas}
        self._supervisor = supervisor

    @property
    def pids(self) -> dict[str, int]:
        """Of now: the supervisor starts a replica again that was killed."""
        settings = {f"{node}.toml": node for node in self._urls}
        found = {settings.get(Path(word).name): pid for pid, words in children(self._supervisor) for word in words}
        return {node: found[node] for node in sorted(self._urls) if node in found}

    @property
    def urls(self) -> list[str]:
        return [self._urls[node] for node in sorted(self._urls, key=lambda node: (node != self.leader, node))]

    def look(self) -> dict[str, object]:
        """The group as one that answers sees it; who leads is taken over from there."""
        for url in self.urls:
            try:
                seen = ask_json(f"{url}/v1/cluster", timeout_s=2.0)
            except OSError:
                continue
            if seen.get("leader"):
                self.leader = str(seen["leader"])
                return seen
        raise NotStarted("no replica of raftmem names a leader")

    def is_whole(self) -> bool:
        """Every replica runs, is ready, and names the same leader."""
        leaders = set()
        for url in self._urls.values():
            try:
                if not ask_json(f"{url}/readyz", timeout_s=2.0).get("ready"):
                    return False
                leaders.add(ask_json(f"{url}/v1/cluster", timeout_s=2.0).get("leader"))
            except OSError:
                return False
        self.leader = str(next(iter(leaders)))
        return len(leaders) == 1 and self.leader in self._urls and len(self.pids) == len(self._urls)

    def settle(self, *, seconds: float = 60.0) -> None:
        """Raises: NotStarted."""
        until(self.is_whole, seconds=seconds, what="raftmem")

    @property
    def term(self) -> int:
        return int(str(self.look()["term"]))


@contextmanager
def raftmem_group(folder: Path, *, replicas: int = 3) -> Iterator[RaftmemGroup]:
    """Raises: NotStarted."""
    port, log = free_ports(replicas, offsets=(0, 1000)), folder / "raftmem.txt"
    command = [sys.executable, "-m", "raftmem", "up", "--data", str(folder / "raftmem"), "--port", str(port)]
    with started([*command, "--replicas", str(replicas), "--json"], log=log, end_with=signal.SIGINT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                ready = json.loads(line)
                if ready.get("ready"):
                    yield RaftmemGroup(ready["replicas"], str(ready["leader"]), folder / "raftmem", process.pid)
                    return
        raise NotStarted(f"raftmem up ended before it was ready:\n{log.read_text()[-2000:]}")


# --- requests -------------------------------------------------------------------------------------------
def add_fields(number: int, text: str) -> dict[str, object]:
    return {"text": text, "app_id": "bench", "tags": [f"t{number % TAGS}"]}


def body(value: object) -> str:
    return msgspec.json.encode(value).decode()


def add_requests() -> list[Request]:
    return [Request("POST", "/v1/memories", body(add_fields(n, text))) for n, text in enumerate(values())]


def key(number: int) -> str:
    return f"m{number:07}"


def some_keys(count: int, *, among: int = KEYS, seed: int = 7) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(among) for _ in range(count)]


def get_requests(query: str = "", *, among: int = KEYS) -> list[Request]:
    return [Request("GET", f"/v1/memories/{key(number)}{query}") for number in some_keys(KEYS, among=among)]


def batch_body(texts: Sequence[str], *, numbers: Iterable[int] | None = None) -> str:
    """ADDs in one entry; `numbers` give them their keys."""
    events = [{"op": "ADD", **add_fields(n, text)} for n, text in enumerate(texts)]
    if numbers is not None:
        events = [{**event, "id": key(number)} for event, number in zip(events, numbers, strict=True)]
    return body({"events": events})


def store(group: RaftmemGroup, start: int, stop: int, *, size: int, batch: int = BATCH) -> int:
    """Memories under the keys `start`..`stop`; the index of the last entry."""
    texts = values(size=size)

    def one(first: int) -> int:
        numbers = range(first, min(first + batch, stop))
        sent = batch_body([texts[number % len(texts)] for number in numbers], numbers=numbers)
        answer = ask_json(f"{group.urls[0]}/v1/events", msgspec.Raw(sent.encode()), timeout_s=60.0)
        return int(str(answer["index"]))

    with ThreadPoolExecutor(LOADERS) as pool:
        return max(pool.map(one, range(start, stop, batch)))
