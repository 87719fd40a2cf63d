"""Restart and memory: how long one replica with a long log takes to readiness, and what it holds in memory.

    python benchmarks/restart.py [--entries 1000000] [--text-bytes 256]

The folder is made first, by the same code that a replica runs, without HTTP. Prints seconds to /readyz 200, resident
memory (anonymous, which is what is not page cache), and bytes on disk.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from single import free_ports

from raftmem import codec
from raftmem.commands import Actor, Add, Content, Draft, Fields, Header, Member, Members
from raftmem.replica import Replica
from raftmem.storage.contracts import Append, HardState, LogEntry
from raftmem.storage.folder import open_folder
from raftmem.storage.log import SegmentLogStore
from raftmem.storage.memory_vectors import MemoryVectorIndex
from raftmem.storage.state import LmdbStateStore

GROUP = 1000
CLUSTER = "00be4c40"


def fill(folder: Path, port: int, entries: int, text_bytes: int) -> None:
    """A single voter's folder with that many ADDs, cleanly closed."""
    held = open_folder(folder, node_id="n1", cluster_id=CLUSTER, folder_id="00" * 8, bootstrap=True)
    log = SegmentLogStore(held.log_path)
    voter = Member("n1", f"127.0.0.1:{port + 1000}", f"http://127.0.0.1:{port}", "00" * 8)
    first = LogEntry(1, 0, codec.membership(Members(CLUSTER, 1, (voter,), 1000, 500), time=0, wall_ms=0))
    log.commit([Append((first,)), HardState(1, "n1")])
    held.finish_bootstrap()
    state = LmdbStateStore(held.state_path, mark=held.state_mark())
    replica = Replica(state, MemoryVectorIndex())
    replica.apply([first])
    for start in range(2, entries + 1, GROUP):
        batch = [entry(index, text_bytes) for index in range(start, min(start + GROUP, entries + 1))]
        log.commit([Append(tuple(batch))])
        replica.apply(batch)
        if start % 100_000 < GROUP:
            print(f"  {start} entries", end="\r", flush=True)
    state.close(clean=True)
    log.close()
    held.close()


def entry(index: int, text_bytes: int) -> LogEntry:
    operation = Add(f"memory-{index}", Fields(app_id="bench", tags=(f"t{index % 16}",)))
    text = f"{index} " + "x" * (text_bytes - len(str(index)) - 1)
    draft = Draft(Header(Actor("agent", "bench"), f"r{index}", (operation,)), (Content(text=text),))
    return LogEntry(index, 1, codec.seal(codec.encode_draft(draft, os.urandom), time=index, wall_ms=index))


def seconds_to_ready(url: str, process: "subprocess.Popen[bytes]") -> float:
    began = time.perf_counter()
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as reply:
                if reply.status == 200:
                    return time.perf_counter() - began
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise SystemExit(f"the replica ended with {process.returncode}")


def resident(pid: int) -> dict[str, int]:
    """Anonymous and file-backed resident memory, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith(("RssAnon", "RssFile"))
    }


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--text-bytes", type=int, default=256)
    arguments = parser.parse_args()
    port = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="raftmem-bench-") as name:
        folder = Path(name) / "n1"
        began = time.perf_counter()
        fill(folder, port, arguments.entries, arguments.text_bytes)
        print(f"made {arguments.entries} entries in {time.perf_counter() - began:.0f} s")
        command = [sys.executable, "-m", "raftmem", "serve", "--node-id", "n1", "--data", str(folder)]
        command += ["--cluster-id", CLUSTER, "--rest", f"127.0.0.1:{port}", "--peer", f"127.0.0.1:{port + 1000}"]
        for clean in ("after a clean stop", "after kill -9"):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL if not os.environ.get("BENCH_LOG") else None)
            try:
                ready = seconds_to_ready(f"http://127.0.0.1:{port}", process)
                memory = resident(process.pid)
                print(
                    f"{clean}: ready in {ready:.2f} s, RssAnon {memory['RssAnon']} MB, RssFile {memory['RssFile']} MB"
                )
            finally:
                process.kill()
                process.wait()
        print(f"on disk: {disk_bytes(folder) / arguments.entries:.0f} bytes an entry")


if __name__ == "__main__":
    main()
