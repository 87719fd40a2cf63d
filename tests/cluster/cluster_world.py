"""A real group for tests: one process a replica on loopback, ended by its pid, its folder under the test's own.

The processes watch a pipe of ours, so that they end with us however we end. Ports lie below the range that the kernel
gives to outgoing connections, and a block of them is claimed for the life of the group.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cluster_client import PATIENCE_S, Answer, Client, Lost, Writer, once, until

from raftmem.cli.group import Group, Replica, settings_text
from raftmem.cli.ports import is_free
from raftmem.cli.supervisor import serve_argv

PORTS = range(12_000, 28_000, 8)


class Served:
    """One replica: its folder, and its process while there is one."""

    def __init__(self, replica: Replica, settings: Path, folder: Path) -> None:
        self.id = replica.id
        self.url = replica.rest_url
        self.settings = settings
        self.folder = folder
        self.output = settings.with_suffix(".output")
        self._process: subprocess.Popen[bytes] | None = None
        self._held: int | None = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, bootstrap: bool = False) -> None:
        """Not ready yet when this returns."""
        assert not self.runs, f"{self.id} runs already"
        self._let_go()
        watched, self._held = os.pipe()
        try:
            with self.output.open("ab") as output:
                self._process = subprocess.Popen(
                    serve_argv(str(self.settings), parent_fd=watched, bootstrap=bootstrap),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(watched,),
                    start_new_session=True,
                )
        finally:
            os.close(watched)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, *, seconds: float = PATIENCE_S) -> int:
        """The exit code, once there is one."""
        assert self._process is not None
        code = self._process.wait(seconds)
        self._let_go()
        return code

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL

    def stop(self) -> None:
        """Ask it to end, as an operator does."""
        self.send(signal.SIGTERM)
        assert self.ended() == 0, self.said()

    def clean_up(self) -> None:
        """Gone, in whatever state it was."""
        if self._process is not None and self.runs:
            self._process.kill()
            self._process.wait(PATIENCE_S)
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def said(self) -> str:
        """Everything the process has written."""
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""

    def ask(self, method: str, target: str, body: object = None, **headers: str) -> Answer:
        """One request. Raises: Lost."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return once(self.url, method, target, body, headers=named)

    def look(self, target: str) -> Answer | None:
        """A read that may fail: None then."""
        try:
            answer = self.ask("GET", target)
        except Lost:
            return None
        return answer if answer.status == 200 else None


class LoopbackGroup:
    """Three replicas in one folder. `extra`: lines of settings for every replica."""

    def __init__(self, data: Path, *, base: int, extra: str = "", names_folders: bool = True) -> None:
        self.data = data
        described = tuple(
            Replica(f"n{k + 1}", secrets.token_hex(16), rest_port=base + k, peer_port=base + 4 + k) for k in range(3)
        )
        self._group = Group(secrets.token_hex(4), described)
        self._names_folders = names_folders
        self.replicas = [Served(one, data / f"{one.id}.toml", data / one.id) for one in described]
        self.configure(extra)

    def configure(self, extra: str) -> None:
        """Write the settings; they hold from each replica's next start."""
        for described in self._group.replicas:
            text = settings_text(self._group, described)
            if not self._names_folders:
                text = "\n".join(line for line in text.splitlines() if not line.startswith("folder_id"))
            (self.data / f"{described.id}.toml").write_text(f"{extra}\n{text}\n")

    def __getitem__(self, name: str) -> Served:
        return next(replica for replica in self.replicas if replica.id == name)

    @property
    def urls(self) -> list[str]:
        return [replica.url for replica in self.replicas]

    def others(self, one: Served) -> list[Served]:
        return [replica for replica in self.replicas if replica is not one]

    # --- life ---------------------------------------------------------------------------------------
    def start(self, *, bootstrap: bool = False) -> None:
        """Every replica that does not run; ready when this returns."""
        for replica in self.replicas:
            if not replica.runs:
                replica.start(bootstrap=bootstrap)
        self.wait_ready()

    def wait_ready(self, replicas: Sequence[Served] | None = None) -> None:
        for replica in self.replicas if replicas is None else replicas:
            until(lambda one=replica: _readiness(one), what=f"{replica.id} is ready")

    def clean_up(self) -> None:
        for replica in self.replicas:
            replica.clean_up()

    # --- looking ------------------------------------------------------------------------------------
    def leader(self, *, but: Served | None = None) -> Served:
        """The replica that leads by its own word and another's, as soon as there is one. `but`: not this one."""

        def find() -> Served | None:
            seen = [(one, one.look("/v1/cluster")) for one in self.replicas if one.runs and one is not but]
            words = [(one, answer.at("term"), answer.at("leader")) for one, answer in seen if answer is not None]
            for one, term, named in words:
                if one.id == named and sum((t, n) == (term, named) for _, t, n in words) > 1:
                    return one
            return None

        return until(find, what="a leader is elected")

    def settle(self) -> int:
        """The index that every running replica has applied, once there is nothing more to apply."""

        def find() -> int | None:
            applied: set[object] = set()
            for replica in (one for one in self.replicas if one.runs):
                answer = replica.look("/v1/cluster")
                if answer is None:
                    return None
                applied.add(answer.at("commit_index"))
                applied |= {row["applied_index"] for row in answer.rows("members") if row["id"] == replica.id}
            only = next(iter(applied))
            return only if len(applied) == 1 and isinstance(only, int) else None

        return until(find, what="every replica has applied everything")

    def digests(self, index: int) -> set[str]:
        """Of every running replica at one index: a single one when they agree."""
        return {
            replica.ask("GET", f"/v1/state/digest?at={index}").text("digest")
            for replica in self.replicas
            if replica.runs
        }

    def memories(self, query: str) -> list[dict[str, object]]:
        """All pages of a list, read from the first running replica."""
        client = Client(next(one for one in self.replicas if one.runs).url)
        found: list[dict[str, object]] = []
        cursor = ""
        try:
            while True:
                page = client.ask("GET", f"/v1/memories?limit=1000&{query}{cursor}")
                assert page.status == 200, page
                found += page.rows("memories")
                if page.at("next_cursor") is None:
                    return found
                cursor = f"&cursor={page.text('next_cursor')}"
        finally:
            client.close()

    def writer(self, name: str, *, first: int = 0) -> Writer:
        return Writer(self.urls, name=name, first=first % len(self.replicas))


def _readiness(replica: Served) -> bool:
    assert replica.runs, f"{replica.id} has ended:\n{replica.said()[-2000:]}"
    return replica.look("/readyz") is not None


@contextlib.contextmanager
def claimed_ports() -> Iterator[int]:
    """The first port of a block that is free and nobody else's who asks here; let go at the end."""
    with socket.socket(socket.AF_UNIX) as claim:
        for base in secrets.SystemRandom().sample(PORTS, len(PORTS)):
            if not all(is_free(base + k) for k in range(PORTS.step)):
                continue
            try:
                claim.bind(f"\0raftmem-test-{base}")
            except OSError:
                continue
            yield base
            return
    raise AssertionError("no free block of ports")


@contextlib.contextmanager
def new_group(data: Path, *, extra: str = "", names_folders: bool = True) -> Iterator[LoopbackGroup]:
    """A group that has just been made, ready; all its processes are gone afterwards."""
    with claimed_ports() as base:
        group = LoopbackGroup(data, base=base, extra=extra, names_folders=names_folders)
        try:
            group.start(bootstrap=True)
            yield group
        finally:
            group.clean_up()
            for replica in group.replicas:  # shown by pytest when the test has failed
                print(f"--- {replica.id} ({replica.url}) said, at the end:\n{replica.said()[-3000:]}")


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "raftmem", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
