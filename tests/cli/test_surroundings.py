"""Bytes that are no UTF-8, files of another encoding, outputs that cannot show, readers that leave: every command."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from cli_world import Cli, Up, free_ports, replicas, running
from scripted_group import ScriptedGroup

from raftmem.cli.exits import Exit

RAFTMEM = (sys.executable, "-m", "raftmem")
MEMORY = {"id": "m", "version": 1, "text": "Grüße — 東京", "tags": [], "value": None}
TWICE = '{"a": 1, "b": {"c": 1, "c": 2}}'


# --- what comes in ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("memory", "add", "\udcff\udcfe"), "argument 3 is not UTF-8: byte 1 of it, in line 1, is 0xff"),
        (("memory", "add", "fine\nso far \udce9", "--id", "i"), "argument 3 is not UTF-8: byte 13 of it, in line 2"),
        (("task", "add", "queue", "--id", "\udc80"), "argument 5 is not UTF-8"),
        (("log", "list", "--data", "folder-\udcff"), "argument 4 is not UTF-8: byte 8"),
        (("\udcff",), "argument 1 is not UTF-8"),
    ],
)
def test_argument_that_is_no_utf_8_is_a_usage_error_that_says_where(
    arguments: tuple[str, ...], where: str, cli: Cli
) -> None:
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert where in ended.err


def test_variable_that_is_no_utf_8_is_a_usage_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFTMEM_ACTOR", "agent/\udcff")
    ended = cli("memory", "list")
    assert (ended.code, "environment RAFTMEM_ACTOR is not UTF-8: byte 7" in ended.err) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a": "\xff"}', "is not UTF-8: byte 8 of it, in line 1, is 0xff"),
        (b'{"a":\n"caf\xe9"}', "is not UTF-8: byte 11 of it, in line 2, is 0xe9"),
        ('{"a": 1}'.encode("utf-16"), "it seems to be UTF-16"),
        ('{"a": 1}'.encode("utf-8-sig"), "begins with a byte order mark"),
        (TWICE.encode(), "the key 'c' stands twice"),
        (b'{"a": 1e999}', "not finite"),
        (b"{", "is not JSON"),
        (b"", "is empty"),
    ],
)
def test_file_that_is_no_strict_json_is_a_usage_error_that_says_where(
    raw: bytes, why: str, cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(raw)
    for arguments in (("memory", "add", "--value", f"@{file}"), ("txn", str(file))):
        ended = cli(*arguments)
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert why in ended.err
        assert str(file) in ended.err
    ended = cli("recover", "--data", str(tmp_path), "--members", str(file), "--plan")
    assert (ended.code, str(file) in ended.err, "a bug" in ended.err) == (Exit.USAGE, True, False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("memory", "add", "--value", TWICE),
        ("memory", "add", "t", "--metadata", TWICE),
        ("memory", "add", "t", "--embedding", TWICE),
        ("memory", "add", "t", "--guard", TWICE),
        ("memory", "update", "m", "--merge", f"value.a=append:{TWICE}"),
        ("memory", "list", "--filter", TWICE),
        ("memory", "search", "--embedding", "[1]", "--filter", TWICE),
        ("lock", "acquire", "l", "--owner", "o", "--metadata", TWICE),
        ("lock", "run", "l", "--metadata", TWICE, "--", "true"),
        ("task", "add", "q", TWICE),
        ("task", "complete", "t", "--token", "1", "--result", TWICE),
        ("task", "fail", "t", "--token", "1", "--error", TWICE),
        ("config", "show", "--node-id", "n", "--data", "d", "--members", f"[{TWICE}]"),
    ],
)
def test_json_with_a_key_twice_is_refused_wherever_a_command_takes_json(
    arguments: tuple[str, ...], cli: Cli, scripted: ScriptedGroup
) -> None:
    ended = cli(*arguments)
    assert (ended.code, ended.out, scripted.asked) == (Exit.USAGE, "", [])
    assert "the key 'c' stands twice" in ended.err


@pytest.mark.parametrize("name", ["n1\n", "..", ".", "n 1", "n\x1b[2J", "ñ", ""])
def test_name_that_a_log_line_or_a_path_cannot_hold_is_refused(name: str, cli: Cli) -> None:
    for given in (("--node-id", name), ("--node-id", "n1", "--folder-id", name)):
        ended = cli("config", "show", *given, "--data", "d")
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (Exit.USAGE, "", 1)


# --- what goes out ------------------------------------------------------------------------------------
def test_output_that_cannot_show_a_character_shows_a_replacement(
    scripted: ScriptedGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.replies["GET /v1/memories/m"] = (200, MEMORY)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:strict")
    shown = subprocess.run([*RAFTMEM, "memory", "get", "m"], capture_output=True, check=True)
    assert b"Gr??e ? ??" in shown.stdout
    plain = subprocess.run([*RAFTMEM, "memory", "get", "m", "--json"], capture_output=True, check=True)
    assert "Grüße — 東京" in plain.stdout.decode()  # JSON is UTF-8, whatever the locale


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("memory", "--help"),
        ("memory", "list"),
        ("memory", "list", "--json"),
        ("memory", "get", "m"),
        ("memory", "get", "none", "--json"),
        ("config", "show", "--node-id", "n", "--data", "d"),
        ("log", "list"),
    ],
)
def test_reader_that_leaves_ends_every_command_with_the_same_code(
    arguments: tuple[str, ...], scripted: ScriptedGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAFTMEM_DATA", str(tmp_path))
    scripted.replies["GET /v1/memories/m"] = (200, MEMORY)
    scripted.replies["GET /v1/memories?limit=100"] = (200, {"memories": [MEMORY] * 2000, "next_cursor": None})
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*RAFTMEM, *arguments], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    if arguments == ("log", "list"):  # it has nothing to print
        assert ended.returncode == Exit.USAGE
    else:
        assert (ended.returncode, ended.stderr) == (Exit.READER_LEFT, b"")


def test_reader_of_errors_that_leaves_changes_no_exit_code(scripted: ScriptedGroup) -> None:
    scripted.replies["GET /v1/memories/m"] = (200, MEMORY)
    reading, writing = os.pipe()
    os.close(reading)
    missing = subprocess.run([*RAFTMEM, "memory", "get", "none"], stdout=subprocess.PIPE, stderr=writing)
    assert (missing.returncode, missing.stdout) == (Exit.FAILED, b"")
    os.close(writing)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_stream_is_nowhere(closed: str, scripted: ScriptedGroup) -> None:
    scripted.replies["GET /v1/memories/m"] = (200, MEMORY)
    for arguments, code in (("memory get m", Exit.OK), ("memory get none", Exit.FAILED), ("--help", Exit.OK)):
        ended = subprocess.run(["sh", "-c", f"exec {sys.executable} -m raftmem {arguments} {closed}"])
        assert ended.returncode == code


def test_full_disk_behind_the_output_is_told(scripted: ScriptedGroup) -> None:
    scripted.replies["GET /v1/memories/m"] = (200, MEMORY)
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([*RAFTMEM, "memory", "get", "m"], stdout=full, stderr=subprocess.PIPE)
    assert (ended.returncode, b"No space left on device" in ended.stderr) == (Exit.FAILED, True)


# --- a group under `up` -------------------------------------------------------------------------------
def test_group_outlives_every_reader_of_its_supervisor_and_its_files_are_private(tmp_path: Path) -> None:
    data = tmp_path / "group"
    data.mkdir(mode=0o777)
    data.chmod(0o777)
    with Up(data, "--port", str(free_ports(3)), umask=0, stderr=subprocess.PIPE) as up:
        ready = up.ready()
        assert up.process.stdout is not None
        assert up.process.stderr is not None
        up.process.stdout.close()
        up.process.stderr.close()
        first = replicas(ready)[0]
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)  # its supervisor has something to say
        with httpx.Client(transport=httpx.HTTPTransport(retries=1000)) as http:
            while http.get(f"{first.url}/readyz").status_code != 200:
                pass
        found = {path: stat.S_IMODE(path.stat().st_mode) for path in [data, *data.rglob("*")]}
        assert {str(path): oct(mode) for path, mode in found.items() if mode & 0o077} == {}
        assert up.process.poll() is None
        assert up.stop() == Exit.OK


def test_group_serves_though_the_reader_of_its_supervisor_has_stopped_reading(tmp_path: Path) -> None:
    port, data = free_ports(1), tmp_path / "group"
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, b"." * 4096):  # until the pipe is full: nobody reads it
            pass
    os.set_blocking(writing, True)
    command = (*RAFTMEM, "up", "--replicas", "1", "--data", str(data), "--port", str(port))
    with running(*command, stdout=writing, stderr=writing) as up, httpx.Client(trust_env=False) as http:
        os.close(writing)
        until = threading.Event()
        while True:
            until.wait(0.05)
            try:
                if http.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                assert up.poll() is None
        added = http.post(f"http://127.0.0.1:{port}/v1/memories", json={"text": "x"})
        assert added.status_code == 201
        up.send_signal(signal.SIGINT)
        assert up.wait() == Exit.OK
    os.close(reading)
