"""`raftmem up` end to end: three real replicas, the commands against them, death, stop, resume, offline."""

import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cli_world import Cli, Up, free_ports, replicas, running

from raftmem.cli.exits import Exit
from raftmem.cli.group import PEER_PORT_OFFSET


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / "group"


@pytest.fixture(scope="module")
def group(folder: Path) -> Iterator[Up]:
    with Up(folder, "--port", str(free_ports(3))) as up:
        yield up


@pytest.fixture(scope="module")
def ready(group: Up) -> dict[str, object]:
    return group.ready()


@pytest.fixture
def urls(ready: dict[str, object]) -> list[str]:
    return [replica.url for replica in replicas(ready)]


def test_ready_group_names_its_replicas_and_leader(ready: dict[str, object], folder: Path) -> None:
    assert ready["ready"] is True
    assert ready["leader"] in ("n1", "n2", "n3")
    assert [replica.data for replica in replicas(ready)] == [str(folder / name) for name in ("n1", "n2", "n3")]
    assert not any((folder / name / "bootstrap-permit").exists() for name in ("n1", "n2", "n3"))


def test_memory_written_on_one_replica_is_read_and_changed_on_the_others(cli: Cli, urls: list[str]) -> None:
    first, second, third = urls
    added = cli(
        *("memory", "add", "Prod deploys are frozen", "--id", "freeze", "--value", '{"seen": 1}', "--tag", "deploy"),
        *("--app", "shop", "--embedding", "[0.8, 0.6]", "--actor", "agent/planner-7", "--url", first),
    )
    assert (added.code, added.out.split()[:4]) == (0, ["ADD", "freeze", "version", "1"]), added.err
    changed = cli("memory", "update", "freeze", "--merge", "value.seen=inc:1", "--url", second, "--json")
    assert changed.part("memory", "value") == {"seen": 2}
    for level in ("lease", "linearizable"):
        found = cli("memory", "get", "freeze", "--consistency", level, "--url", third, "--json")
        assert (found.code, found.json()["version"]) == (0, 2)
    hits = cli("memory", "search", "--embedding", "[0.6, 0.8]", "--app", "shop", "--url", third, "--json")
    assert hits.part("results", 0, "memory", "id") == "freeze"
    assert "deploy" in cli("memory", "list", "--tag", "deploy", "--url", second).out


def test_precondition_that_is_false_is_code_4(cli: Cli, urls: list[str]) -> None:
    cli("memory", "add", "one", "--id", "guarded", "--url", urls[0])
    ended = cli("memory", "update", "guarded", "--text", "two", "--if-version", "7", "--url", urls[0], "--json")
    assert ended.code == Exit.PRECONDITION
    assert ended.json()["code"] == "precondition-failed"
    assert "version 1, not 7" in ended.err


def test_same_idempotency_key_is_applied_once(cli: Cli, urls: list[str]) -> None:
    write = ("memory", "add", "once", "--idempotency-key", "k-1")
    first, again = cli(*write, "--url", urls[0], "--json"), cli(*write, "--url", urls[1], "--json")
    assert first.part("event") == again.part("event")


def test_deleted_memory_stays_in_its_history_and_at_its_index(cli: Cli, urls: list[str]) -> None:
    index = cli("memory", "add", "gone soon", "--id", "brief", "--url", urls[0], "--json").part("event", "index")
    cli("memory", "delete", "brief", "--url", urls[1])
    assert cli("memory", "get", "brief", "--url", urls[0]).code == Exit.FAILED
    assert cli("memory", "get", "brief", "--at", str(index), "--url", urls[2]).code == 0
    history = cli("memory", "history", "brief", "--url", urls[0]).out
    assert "ADD" in history
    assert "DELETE" in history


def test_status_and_digest_agree_on_every_replica(cli: Cli, urls: list[str], ready: dict[str, object]) -> None:
    for url in urls:
        status = cli("status", "--json", "--url", url)
        assert status.code == 0
        members = json.loads(status.out)["members"]
        assert all(member["match_index"] and member["applied_index"] for member in members), "as the leader sees them"
    status = cli("status", "--url", urls[0])
    assert status.code == 0
    assert f"leader {ready['leader']}" in status.out
    digests = cli("digest", "--url", ",".join(urls))
    assert digests.code == 0, digests.err


@pytest.mark.usefixtures("ready")
def test_second_up_on_the_folder_is_refused(folder: Path, cli: Cli) -> None:
    ended = cli("up", "--data", str(folder))
    assert ended.code == Exit.FAILED
    assert "another `raftmem up`" in ended.err


def test_busy_port_is_told(urls: list[str], tmp_path: Path, cli: Cli) -> None:
    port = urls[0].rpartition(":")[2]
    ended = cli("up", "--data", str(tmp_path / "other"), "--port", port)
    assert ended.code == Exit.FAILED
    assert f"port {port} (REST of n1) is in use" in ended.err


@pytest.mark.usefixtures("ready")
def test_folder_in_use_is_read_only_with_live(folder: Path, cli: Cli) -> None:
    refused = cli("log", "list", "--data", str(folder / "n1"))
    assert refused.code == Exit.FAILED
    assert "--live" in refused.err
    assert cli("log", "list", "--live", "--data", str(folder / "n1")).code == 0


def test_killed_replica_comes_back_by_itself(ready: dict[str, object], urls: list[str], group: Up) -> None:
    victim = replicas(ready)[1]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    assert is_ready_again(urls[1])
    assert "n2 | died with SIGKILL" in group.log.read_text()


def is_ready_again(url: str) -> bool:
    """Ask until it is; a refused connection answers at once, so this is bounded by time."""
    deadline = time.monotonic() + 30
    with httpx.Client(timeout=5) as client:
        while time.monotonic() < deadline:
            try:
                if client.get(f"{url}/readyz").status_code == 200:
                    return True
            except httpx.TransportError:
                continue
    return False


def test_stopped_group_can_be_read_offline_and_resumed(urls: list[str], folder: Path, group: Up, cli: Cli) -> None:
    cli("memory", "add", "kept", "--id", "kept", "--actor", "agent/planner-7", "--url", urls[0])
    cli("memory", "update", "kept", "--text", "never", "--if-version", "7", "--url", urls[0])
    assert group.stop(signal.SIGTERM) == 0
    data = ("--data", str(folder / "n1"))
    listing = cli("log", "list", *data)
    assert "agent/planner-7" in listing.out
    assert "refused: precondition-failed" in listing.out
    assert cli("log", "verify", *data).code == 0
    assert cli("state", "get", "kept", *data, "--json").json()["text"] == "kept"
    digest = cli("state", "digest", *data, "--json").json()
    verified = cli("replay", "--verify", *data, "--json").json()
    assert (verified["verified"], verified["digest"]) == (True, digest["digest"])
    with Up(folder) as again:
        assert [replica.id for replica in replicas(again.ready())] == ["n1", "n2", "n3"]


def test_wiped_folder_is_not_made_a_voter_again(tmp_path: Path) -> None:
    data = tmp_path / "group"
    with Up(data, "--port", str(free_ports(3))) as up:
        up.ready()
        up.stop()
    shutil.rmtree(data / "n2")
    with Up(data) as up:
        up.ready()
        up.stop()
        assert "n2 | raftmem: " in up.log.read_text()
        assert "left down" in up.log.read_text()
    assert not (data / "n2").exists()


def test_replicas_end_when_their_up_is_killed(tmp_path: Path) -> None:
    with Up(tmp_path / "group", "--replicas", "1", "--port", str(free_ports(1))) as up:
        (replica,) = replicas(up.ready())
        assert replica.pid is not None
        watch = os.pidfd_open(replica.pid)
        up.stop(signal.SIGKILL)
        readable, _, _ = select.select([watch], [], [], 20)  # a descriptor of a process turns readable at its end
        os.close(watch)
    assert readable


def test_first_screen_shows_every_address_whole_however_narrow_the_terminal(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    port, data = free_ports(3), tmp_path / "a-folder-with-a-long-name"
    with running(sys.executable, "-m", "raftmem", "up", "--data", str(data), "--port", str(port)) as up:
        assert up.stdout is not None
        said: list[str] = []
        while not said or "stop: Ctrl-C" not in said[-1]:
            said.append(up.stdout.readline().decode())
            assert said[-1], said
        up.send_signal(signal.SIGINT)
        assert up.wait() == 0
    for k in range(3):
        rest, peer = f"http://127.0.0.1:{port + k}", f"127.0.0.1:{port + PEER_PORT_OFFSET + k}"
        assert [line for line in said if f"{rest}  peers {peer}  {data / f'n{k + 1}'}" in line] != []
    assert [line for line in said if "WARNING" in line] == []
    first = cli("log", "list", "--data", str(data / "n1")).out.splitlines()[1].split()
    assert first[:5] == ["1", "0", "-", "system/raft", "RAFT"]
