"""The time from the start of one replica with a long log to /readyz 200, after a clean stop and after kill -9.

The folder is made first, by the code that a replica runs, without HTTP: every entry is one ADD of 256 bytes, and none
is compacted. A load of ADDs runs before each kill, so that the kill comes in the middle of work.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import raftmem_group, wrk
from benchmarks.bench import Bench, Run
from benchmarks.measures import Sample
from benchmarks.processes import NotStarted, disk_bytes, end, free_ports, resident_mb, started
from benchmarks.systems import RAFTMEM, VALUE_BYTES, values
from raftmem.model import codec
from raftmem.model.commands import Actor, Add, Content, Draft, Fields, Header, Member, Members
from raftmem.replica.apply_loop import Replica
from raftmem.storage.folder import open_folder
from raftmem.storage.log.contract import Append, HardState, LogEntry
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.state.store import LmdbStateStore
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex

RESTART: Final = "restart"
CLUSTER: Final = "00be4c40"
GROUP: Final = 1000
ENTRIES: Final = 1_000_000
ENTRIES_SHORT: Final = 50_000
ROUNDS: Final = 3
READY_S: Final = 300.0


def restarts(bench: Bench) -> None:
    entries = ENTRIES if bench.options.is_full else ENTRIES_SHORT
    port = free_ports(1, offsets=(0, 1000))
    with bench.scratch("restart") as folder:
        began = time.perf_counter()
        fill(folder / "n1", port, entries, say=bench.say)
        bench.say(f"made {entries:,} entries in {time.perf_counter() - began:.0f} s")
        # Each is measured at the start that follows the other's end.
        runs: dict[str, Run] = {
            "raftmem, clean stop before": partial(_start, bench, folder, port, entries, end_with=signal.SIGKILL),
            RAFTMEM: partial(_start, bench, folder, port, entries, end_with=signal.SIGTERM),
        }
        point = bench.point(RESTART, entries, "one", compared="ready_s", counted="entries")
        bench.race(point, runs, rounds=ROUNDS if bench.options.is_full else 1)


def _start(bench: Bench, folder: Path, port: int, entries: int, *, end_with: int) -> Sample:
    """Start it, measure until it is ready, and end it as it is to be found by the next."""
    command = [sys.executable, "-m", "raftmem", "serve", "--node-id", "n1", "--data", str(folder / "n1")]
    command += ["--cluster-id", CLUSTER, "--rest", f"127.0.0.1:{port}", "--peer", f"127.0.0.1:{port + 1000}"]
    with started(command, log=folder / "n1.txt") as process:
        ready = seconds_to_ready(f"http://127.0.0.1:{port}", process)
        memory = resident_mb(process.pid)
        if end_with == signal.SIGKILL:
            file = bench.file("raftmem-add", raftmem_group.add_requests)
            wrk.run([f"http://127.0.0.1:{port}"], file, clients=8, seconds=1)
        end(process, end_with)
    more = {"ready_s": ready, "disk_bytes_an_entry": disk_bytes(folder / "n1") / entries, **memory}
    return Sample(operations=0, seconds=ready, more=more)


def seconds_to_ready(url: str, process: "subprocess.Popen[str]") -> float:
    """Raises: NotStarted."""
    began = time.perf_counter()
    while process.poll() is None and time.perf_counter() < began + READY_S:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as reply:
                if reply.status == 200:
                    return time.perf_counter() - began
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise NotStarted(f"the replica ended with {process.poll()}, or was not ready within {READY_S:g} s")


def fill(folder: Path, port: int, entries: int, *, say: Callable[[str], None]) -> None:
    """A single voter's folder with that many ADDs, cleanly closed."""
    held = open_folder(folder, node_id="n1", cluster_id=CLUSTER, folder_id="00" * 8, bootstrap=True)
    log = SegmentLogStore(held.log_path)
    first = first_entry(port)
    log.commit([Append((first,)), HardState(1, "n1")])
    held.finish_bootstrap()
    state = LmdbStateStore(held.state_path, mark=held.state_mark())
    replica = Replica(state, InMemoryVectorIndex())
    replica.apply([first])
    texts = values(size=VALUE_BYTES)
    for start in range(2, entries + 1, GROUP):
        batch = [entry(at, texts[at % len(texts)]) for at in range(start, min(start + GROUP, entries + 1))]
        log.commit([Append(tuple(batch))])
        replica.apply(batch)
        if (start + GROUP) % 100_000 < GROUP:
            say(f"{replica.applied:,} entries")
    state.close(clean=True)
    log.close()
    held.close()


def first_entry(port: int) -> LogEntry:
    """The bootstrap of a group of one."""
    voter = Member("n1", f"127.0.0.1:{port + 1000}", f"http://127.0.0.1:{port}", "00" * 8)
    return LogEntry(1, 0, codec.membership(Members(CLUSTER, 1, (voter,), 1000, 500), time=0, wall_ms=0))


def entry(index: int, text: str) -> LogEntry:
    operation = Add(f"memory-{index}", Fields(app_id="bench", tags=(f"t{index % 16}",)))
    draft = Draft(Header(Actor("agent", "bench"), f"r{index}", (operation,)), (Content(text=text),))
    return LogEntry(index, 1, codec.seal(codec.encode_draft(draft, os.urandom), time=index, wall_ms=index))
