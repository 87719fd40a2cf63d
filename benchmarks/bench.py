"""One run of the suite: its options, the systems (started when they are first needed), the races between them,
progress.

A race runs its systems in turns, round by round. The rule: a system that is not available is reported once and left
out. A failure in a race is reported, leaves the figures of the others standing, and makes the run end with an error
code.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TextIO

import msgspec
from msgspec import Struct

from benchmarks import etcd_group, raftmem_group, wrk
from benchmarks.etcd_group import EtcdGroup
from benchmarks.etcd_group import etcd_group as start_etcd
from benchmarks.measures import LOAD, At, Point, Results, Sample, per_operation
from benchmarks.processes import NotStarted, cpu_seconds, since
from benchmarks.raftmem_group import RaftmemGroup
from benchmarks.raftmem_group import raftmem_group as start_raftmem
from benchmarks.redis_group import RedisGroup
from benchmarks.redis_group import redis_group as start_redis
from benchmarks.systems import KEYS, VALUE_BYTES, System, missing_peers

WARM_UP_S: Final = 1
# Of a system, or of its load.
FAILURES: Final = (
    *(OSError, NotStarted, wrk.Failed, subprocess.SubprocessError),
    *(AssertionError, ValueError, LookupError, msgspec.MsgspecError),
)
Run = Callable[[], Sample]


class Options(Struct, frozen=True, kw_only=True):
    """The parts of a run, and how long each is measured."""

    is_full: bool = False
    seconds: int = 2
    rounds: int = 3
    peers: tuple[str, ...] = ()
    clients: tuple[int, ...] = (1, 16, 64, 256)


class Bench:
    """Closed by `close`, which ends all that was started."""

    def __init__(self, options: Options, *, out: TextIO = sys.stderr) -> None:
        self.options = options
        self.results = Results()
        self.notes: list[str] = []
        self.failures: list[str] = []
        self._out = out
        self._stack = ExitStack()
        self._began = time.monotonic()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="raftmem-bench-")))
        missing = missing_peers(options.peers)
        self.peers = [peer for peer in options.peers if peer not in missing]
        for said in missing.values():
            self.note(said)
        if file_system(self.folder) == "tmpfs":
            self.note(f"{self.folder} is in memory (tmpfs): nothing is really synced; set TMPDIR to a folder on a disk")
        self._raftmem: RaftmemGroup | None = None
        self._etcd: EtcdGroup | None = None
        self._redis: RedisGroup | None = None
        self._files: dict[str, Path] = {}
        self.last_index = 0  # of the memories that `raftmem` holds from the start

    def close(self) -> None:
        self._stack.close()

    # --- what is said ----------------------------------------------------------------------------------
    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", file=self._out, flush=True)

    def note(self, text: str) -> None:
        """Said now, and in the report."""
        self.notes.append(text)
        self.say(text)

    def fail(self, what: str, error: Exception) -> None:
        self.failures.append(f"{what}: {error!r}")
        self.say(f"failed: {self.failures[-1]}")

    # --- systems ---------------------------------------------------------------------------------------
    @property
    def raftmem(self) -> RaftmemGroup:
        """Three replicas with 10,000 memories."""
        if self._raftmem is None:
            self.say("starting raftmem, and storing 10,000 memories")
            self._raftmem = self._stack.enter_context(start_raftmem(self.folder))
            self.last_index = raftmem_group.store(self._raftmem, 0, KEYS, size=VALUE_BYTES)
        return self._raftmem

    @property
    def etcd(self) -> EtcdGroup | None:
        """Three nodes with 10,000 keys."""
        if self._etcd is None and "etcd" in self.peers:
            self.say("starting etcd, and storing 10,000 keys")
            self._etcd = self._stack.enter_context(start_etcd(self.folder))
            etcd_group.store(self._etcd, 0, KEYS, size=VALUE_BYTES)
        return self._etcd

    @property
    def redis(self) -> RedisGroup | None:
        if self._redis is None and "redis" in self.peers:
            self.say("starting Redis")
            self._redis = self._stack.enter_context(start_redis(self.folder))
        return self._redis

    def refresh(self) -> None:
        """Find who leads, before races are run on the leaders."""
        if self._raftmem is not None:
            self._raftmem.settle()
        if self._etcd is not None:
            etcd_group.settle(self._etcd)

    def fewer(self, rounds: int) -> int:
        """At most so many in the short form."""
        return self.options.rounds if self.options.is_full else min(rounds, self.options.rounds)

    # --- races -----------------------------------------------------------------------------------------
    def point(
        self,
        work: str,
        clients: int,
        at: At,
        unit: str = "operations",
        *,
        compared: str = "per_second",
        counted: str = "clients",
    ) -> Point:
        point = Point(work=work, clients=clients, at=at, unit=unit, compared=compared, counted=counted)
        return self.results.add(point)

    def race(
        self, point: Point, runs: Mapping[str, Run], *, rounds: int | None = None, once: Collection[str] = ()
    ) -> None:
        """A B A B …; what each of `runs` returns goes to the point under its name. `once`: only in the first round."""
        for number in range(rounds or self.options.rounds):
            told = []
            for name, run in runs.items():
                if number and name in once:
                    continue
                try:
                    sample = run()
                except FAILURES as error:
                    self.fail(f"{point.work}, {point.clients:,} {point.counted}, {name}", error)
                    continue
                point.samples.setdefault(name, []).append(msgspec.structs.replace(sample, round=number))
                told.append(f"{name} {told_of(sample)}")
            self.say(
                f"{point.work}, {point.clients:,} {point.counted}, {point.at}, round {number + 1}: {'; '.join(told)}"
            )

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A folder for one part, whose disk is free again after it."""
        folder = self.folder / name
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def file(self, name: str, requests: Callable[[], Sequence[wrk.Request]]) -> Path:
        """Requests for wrk, written once a run."""
        if name not in self._files:
            self._files[name] = wrk.write_requests(self.folder / f"{name}.requests", requests())
        return self._files[name]

    def wrk_run(self, system: System, requests: Path, *, clients: int, at: At, seconds: int | None = None) -> Run:
        """The first time with a warm-up before it."""
        is_warm = False

        def run() -> Sample:
            nonlocal is_warm
            urls = system.urls[:1] if at == "leader" else system.urls
            if not is_warm:
                wrk.run(urls, requests, clients=clients, seconds=WARM_UP_S)
                is_warm = True
            return by_wrk(system, urls, requests, clients=clients, seconds=seconds or self.options.seconds)

        return run


def by_wrk(system: System, urls: Sequence[str], requests: Path, *, clients: int, seconds: int) -> Sample:
    pids = roles(system)
    before = cpu_seconds(pids)
    outcome = wrk.run(urls, requests, clients=clients, seconds=seconds)
    used = {**since(before, cpu_seconds(pids)), LOAD: outcome.cpu_s}
    return Sample(
        operations=outcome.requests - min(outcome.requests, outcome.errors),
        seconds=outcome.seconds,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        p999_ms=outcome.p999_ms,
        worst_ms=outcome.worst_ms,
        cpu=per_operation(used, outcome.requests),
        errors=outcome.errors,
    )


def told_of(sample: Sample) -> str:
    """In a word, while a run goes on."""
    found = [f"{sample.per_second:,.0f}/s"] if sample.operations else []
    found += [f"{name} {sample.more[name]:.2f}" for name in ("gap_s", "ready_s") if name in sample.more]
    return ", ".join(found) + (f" ({sample.errors} errors)" if sample.errors else "")


def roles(system: System) -> dict[str, int]:
    """Process ids under what each of them is, so that rounds with different leaders can be put together."""
    others = [pid for node, pid in system.pids.items() if node != system.leader]
    named = {f"follower {place}": pid for place, pid in enumerate(others, start=1)}
    return {"leader": system.pids[system.leader], **named}


def file_system(folder: Path) -> str:
    """Its type, by the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    place = os.path.realpath(folder)
    above = [(at, kind) for at, kind in mounts if at == "/" or place == at or place.startswith(f"{at}/")]
    return max(above, key=lambda mount: len(mount[0]))[1]
