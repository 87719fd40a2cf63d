"""Real processes: a group grows, hands over, replaces and removes a replica, and survives the loss of its majority."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cli_world import Cli, Up, free_ports

from raftmem.cli.exits import Exit
from raftmem.cli.group import PEER_PORT_OFFSET
from raftmem.lifecycle.peer_credentials import FILE


class Machine:
    """Where replicas run that `raftmem up` does not know of. Replica nK has port + K - 1."""

    def __init__(self, path: Path, port: int) -> None:
        self.path = path
        self.port = port
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def addresses(self, name: str) -> tuple[str, str]:
        """(peer, REST)"""
        port = self.port + int(name.removeprefix("n")) - 1
        return f"127.0.0.1:{port + PEER_PORT_OFFSET}", f"127.0.0.1:{port}"

    def url(self, name: str) -> str:
        return f"http://{self.addresses(name)[1]}"

    def serve(self, name: str, *arguments: str, folder: str | None = None) -> subprocess.Popen[bytes]:
        peer, rest = self.addresses(name)
        secret = self.path / "up" / FILE
        settings = (
            "--peer-secret-file",
            str(secret),
            "--node-id",
            name,
            "--data",
            str(self.path / (folder or name)),
            "--peer",
            peer,
            "--rest",
            rest,
        )
        environ = {key: value for key, value in os.environ.items() if not key.startswith("RAFTMEM_")}
        with (self.path / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "raftmem", "serve", *settings, *arguments], stdout=log, stderr=log, env=environ
            )
        return self.running[name]

    def reached(self, name: str) -> httpx.Response:
        """Wait until it answers that it is ready."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                reply = httpx.get(f"{self.url(name)}/readyz", timeout=5)
                if reply.status_code == 200:
                    return reply
            except httpx.TransportError:
                time.sleep(0.05)  # its port is not open yet
        raise AssertionError((self.path / f"{name}.log").read_text())

    def end(self, name: str, number: int = signal.SIGKILL) -> int:
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(timeout=30)

    def close(self) -> None:
        for name in list(self.running):
            self.end(name)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path, free_ports(5))
    yield machine
    machine.close()


def member(machine: Machine, *command: str) -> tuple[str, ...]:
    """`raftmem member add|replace … ID`, with the addresses of that replica."""
    peer, rest = machine.addresses(command[-1])
    return ("member", *command, "--peer", peer, "--rest", f"http://{rest}", "--wait-s", "20")


def roles(cli: Cli, url: str) -> dict[str, str]:
    rows = cli("member", "list", "--url", url).out.splitlines()[1:]
    return {name: role for name, role, *_ in (row.split() for row in rows)}


@pytest.mark.slow
def test_group_grows_hands_over_and_lets_go(machine: Machine, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with Up(machine.path / "up", "--replicas", "1", "--port", str(machine.port)) as up:
        up.ready()
        first = machine.url("n1")
        monkeypatch.setenv("RAFTMEM_URL", first)
        assert cli("memory", "add", "before", "--id", "m1").code == 0
        for name in ("n2", "n3"):
            machine.serve(name, "--join", first)
            assert cli(*member(machine, "add", name)).code == 0
        assert roles(cli, first) == {"n1": "leader", "n2": "follower", "n3": "follower"}
        assert cli("memory", "get", "m1", "--url", machine.url("n3"), "--json").part("text") == "before"

        assert cli("leader", "transfer", "n3").code == 0
        assert cli("memory", "add", "after", "--id", "m2").code == 0

        machine.end("n2")
        machine.serve("n4", "--join", first)
        assert cli(*member(machine, "replace", "n2", "n4")).code == 0
        assert roles(cli, first) == {"n1": "follower", "n3": "leader", "n4": "follower"}
        wiped = machine.serve("n2", "--join", first, folder="wiped")
        assert wiped.wait(timeout=30) == Exit.STOPPED
        assert "n2 was removed" in (machine.path / "n2.log").read_text()

        leaving = machine.running["n4"]
        assert cli("member", "remove", "n4").code == 0
        assert leaving.wait(timeout=30) == Exit.STOPPED
        assert machine.serve("n4").wait(timeout=30) == Exit.STOPPED
        assert cli("memory", "get", "m2", "--json").part("text") == "after"


@pytest.mark.slow
def test_group_that_lost_its_majority_goes_on_from_one_folder(machine: Machine, cli: Cli) -> None:
    with Up(machine.path / "up", "--replicas", "1", "--port", str(machine.port)) as up:
        up.ready()
        first = machine.url("n1")
        machine.serve("n2", "--join", first)
        assert cli(*member(machine, "add", "n2"), "--url", first).code == 0
        assert cli("memory", "add", "kept", "--id", "m1", "--url", machine.url("n2")).code == 0
        machine.end("n2", signal.SIGTERM)
    file = machine.path / "new.toml"
    file.write_text(
        "".join(
            f'[[members]]\nid = "{name}"\npeer = "{machine.addresses(name)[0]}"\nrest_url = "{machine.url(name)}"\n'
            for name in ("n2", "n3")
        )
    )
    data = str(machine.path / "n2")
    assert "every survivor among n1" in cli("recover", "--data", data, "--members", str(file), "--plan").out
    assert cli("recover", "--data", data, "--members", str(file), "--yes").code == 0
    machine.serve("n2")
    machine.reached("n2")
    machine.serve("n3", "--join", machine.url("n2"))
    waited = cli(*member(machine, "add", "n3"), "--url", machine.url("n2"))
    assert waited.code == 0, waited.err
    reply = httpx.get(f"{machine.url('n3')}/v1/memories/m1")
    assert (reply.status_code, reply.headers["raftmem-cluster"].rpartition("/")[2]) == (200, "2")
    assert roles(cli, machine.url("n2")) == {"n2": "leader", "n3": "follower"}
