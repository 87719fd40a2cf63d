"""The command line against a running group and against its folders, each command a process of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import msgspec
import pytest
from cluster_command import command

from jepsen_like.cluster.client import PATIENCE_S, Lost, once, until
from jepsen_like.cluster.group import LoopbackGroup, claimed_ports
from jepsen_like.cluster.served import Served
from raftmem.cli.exits import Exit
from raftmem.cli.group import Group, Layout

Row = dict[str, object]


def answered(*arguments: str | Path) -> Row:
    """What a command prints with --json."""
    done = command(*arguments, "--json")
    assert done.returncode == Exit.OK, done.stderr
    return msgspec.json.decode(done.stdout, type=Row)


def lines_of(*arguments: str | Path) -> list[Row]:
    done = command(*arguments, "--json")
    assert done.returncode == Exit.OK, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_memory_commands_write_read_and_search_through_any_replica(shared_group: LoopbackGroup) -> None:
    urls = shared_group.urls
    all_urls = ",".join(urls)
    scope = ("--app", "command-line")
    added = command(
        *("memory", "add", "Prod deploys are frozen", "--id", "cli-1", "--tag", "deploy", "--embedding", "[1, 0]"),
        *(*scope, "--actor", "agent/planner-7", "--url", urls[0]),
    )
    assert added.returncode == Exit.OK, added.stderr
    assert added.stdout.startswith("ADD cli-1 version 1 at index ")
    update = ("memory", "update", "cli-1", "--merge", 'value=set:{"n":1}', "--url", urls[1])
    assert command(*update, "--if-version", "1").returncode == Exit.OK
    refused = command(*update, "--if-version", "1")
    assert refused.returncode == Exit.PRECONDITION
    assert "version 2" in refused.stderr
    found = answered("memory", "get", "cli-1", "--url", urls[2])
    assert (found["version"], found["value"], found["text"]) == (2, {"n": 1}, "Prod deploys are frozen")
    then = answered("memory", "get", "cli-1", "--at", str(found["created_index"]), "--url", all_urls)
    assert (then["version"], then["value"]) == (1, None)
    listed = command("memory", "list", *scope, "--url", all_urls)
    assert listed.returncode == Exit.OK
    assert "cli-1" in listed.stdout
    hits = answered("memory", "search", "--embedding", "[2, 0]", *scope, "--url", all_urls)["results"]
    assert isinstance(hits, list)
    assert [(hit["memory"]["id"], hit["score"]) for hit in hits] == [("cli-1", 1.0)]
    assert command("memory", "delete", "cli-1", "--url", all_urls).returncode == Exit.OK
    assert command("memory", "get", "cli-1", "--url", all_urls).returncode == Exit.FAILED
    told = answered("memory", "history", "cli-1", "--url", all_urls)["events"]
    assert isinstance(told, list)
    assert [(event["op"], event["outcome"]) for event in told] == [
        ("ADD", "applied"),
        ("UPDATE", "applied"),
        ("UPDATE", "refused"),
        ("DELETE", "applied"),
    ]


def test_status_shows_who_leads_and_every_member(shared_group: LoopbackGroup) -> None:
    leader = shared_group.leader()
    shown = command("status", "--url", shared_group.urls[2])
    assert shown.returncode == Exit.OK, shown.stderr
    assert f"leader {leader.id}" in shown.stdout
    assert all(url in shown.stdout for url in shared_group.urls)
    members = answered("status", "--url", shared_group.urls[0])["members"]
    assert isinstance(members, list)
    assert {member["id"]: member["role"] for member in members} == {
        replica.id: "leader" if replica is leader else "follower" for replica in shared_group.replicas
    }


def test_digest_of_all_replicas_is_one(shared_group: LoopbackGroup) -> None:
    done = command("digest", "--json", "--url", ",".join(shared_group.urls))
    assert done.returncode == Exit.OK, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 3
    assert len({(row["index"], row["digest"]) for row in rows}) == 1


@pytest.mark.slow
def test_without_a_majority_a_write_ends_with_no_leader_or_unknown_and_status_says_so(group: LoopbackGroup) -> None:
    left = group.replicas[0]
    for other in group.others(left):
        other.kill()
    until(lambda: leaderless(left), what="the last replica knows that nobody leads")
    add = command("memory", "add", "nobody hears this", "--timeout-ms", "200", "--url", left.url)
    assert add.returncode == Exit.NO_LEADER, add.stderr
    assert command("status", "--url", left.url).returncode == Exit.NO_LEADER
    eventual = command("memory", "list", "--consistency", "eventual", "--url", left.url)
    assert eventual.returncode == Exit.OK, eventual.stderr


def leaderless(replica: Served) -> bool:
    answer = replica.look("/v1/cluster")
    return answer is not None and answer.at("leader") is None


@pytest.mark.slow
def test_log_list_shows_who_did_what_when_and_with_which_outcome(group: LoopbackGroup) -> None:
    written = group["n2"].ask("POST", "/v1/memories", {"id": "m", "text": "one"}, Raftmem_Actor="agent/planner-7")
    stale = group["n3"].ask(
        "PATCH", "/v1/memories/m", {"text": "two"}, If_Match='"9"', Raftmem_Actor="user/mia", X_Request_Id="req-9"
    )
    assert (written.status, stale.status) == (201, 412)
    index = group.settle()
    follower = group.others(group.leader())[0]  # a leader that ends hands over first, and hears of its heir
    folder = follower.folder
    in_use = command("log", "list", "--data", folder)
    assert in_use.returncode == Exit.FAILED
    assert "--live" in in_use.stderr
    live = lines_of("log", "list", "--live", "--data", folder)
    (digest,) = group.digests(index)
    follower.stop()
    offline = lines_of("log", "list", "--data", folder)
    assert offline == live
    assert [event["op"] for event in offline[:2]] == ["RAFT", "RAFT"]
    add, update = [event for event in offline if event.get("memory_id") == "m"]
    assert (add["index"], add["op"], add["outcome"]) == (written.index, "ADD", "applied")
    assert add["actor"] == {"type": "agent", "id": "planner-7", "role": None}
    assert add["time"] == written.at("event", "time")
    assert (update["index"], update["op"], update["outcome"]) == (stale.index, "UPDATE", "refused")
    assert (update["code"], update["request_id"]) == ("precondition-failed", "req-9")
    assert update["actor"] == {"type": "user", "id": "mia", "role": None}
    shown = command("log", "list", "--data", folder, "--memory", "m").stdout
    for word in ("agent/planner-7", "user/mia", "ADD", "UPDATE", "applied", "refused", "precondition-failed"):
        assert word in shown
    entry = answered("log", "show", str(written.index), "--data", folder)
    assert entry["applied"] is True
    assert answered("log", "verify", "--data", folder) == {"sound": True, "last_index": index, "problems": []}
    assert answered("state", "digest", "--data", folder) == {"index": index, "digest": digest}
    assert answered("state", "get", "m", "--at", str(written.index), "--data", folder) == written.at("memory")
    replay = answered("replay", "--verify", "--data", folder)
    assert (replay["index"], replay["digest"], replay["verified"]) == (index, digest, True)


def test_up_starts_a_group_restarts_what_is_killed_stops_cleanly_and_resumes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with claimed_ports() as port:
        first = begin_up(data, port)
        try:
            ready = announced(first)
            pids = {row["id"]: row["pid"] for row in ready}
            one = str(ready[0]["url"])
            assert command("memory", "add", "kept", "--id", "kept", "--url", one).returncode == Exit.OK
            victim = pids["n2"]
            assert isinstance(victim, int)
            subprocess.run(["kill", "-9", str(victim)], check=True)
            url = str(ready[1]["url"])
            until(lambda: looked(url), what="the killed replica is back")
        finally:
            ended = end_up(first)
        assert ended == Exit.OK
        second = begin_up(data)
        try:
            assert {str(row["url"]) for row in announced(second)} == {str(row["url"]) for row in ready}
            assert answered("memory", "get", "kept", "--url", one)["text"] == "kept"
        finally:
            assert end_up(second) == Exit.OK
    group = msgspec.json.decode((data / "cluster.json").read_bytes(), type=Group)
    assert command("replay", "--verify", "--data", Layout(data).folder(group.replicas[1])).returncode == Exit.OK


def looked(url: str) -> bool:
    try:
        return once(url, "GET", "/v1/memories/kept").status == 200
    except Lost:
        return False


def begin_up(data: Path, port: int | None = None) -> "subprocess.Popen[bytes]":
    arguments = ["up", "--json", "--data", str(data), *([] if port is None else ["--port", str(port)])]
    with data.with_suffix(".output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "raftmem", *arguments], stdout=subprocess.PIPE, stderr=output, start_new_session=True
        )


def announced(process: "subprocess.Popen[bytes]") -> list[Row]:
    stream: IO[bytes] | None = process.stdout
    assert stream is not None
    line = stream.readline()
    assert line, f"`up` has ended with {process.wait(PATIENCE_S)}"
    rows = msgspec.json.decode(line, type=Row)["replicas"]
    assert isinstance(rows, list)
    return rows


def end_up(process: "subprocess.Popen[bytes]") -> int:
    """As Ctrl-C does."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(PATIENCE_S)
    finally:
        if process.poll() is None:
            process.kill()
        if process.stdout is not None:
            process.stdout.close()
