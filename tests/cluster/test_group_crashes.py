"""Replicas that die, stop, lag or freeze at any moment: what was acknowledged stays, once, and nobody needs help.

RAFTMEM_TEST_BACKLOG=100000 makes the follower that was down miss so many entries (5,000 if not set).
"""

import json
import os
import signal
import socket
from urllib.parse import urlsplit

import pytest
from cluster_load import Load, check_kept, kill_settled, load, replayed

from jepsen_like.cluster.client import Answer, Client, together
from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.cluster.served import Served

BACKLOG = int(os.environ.get("RAFTMEM_TEST_BACKLOG", "5000"))


def test_a_leader_killed_under_load_loses_and_doubles_nothing(group: LoopbackGroup) -> None:
    with load(group) as work:
        for _ in range(2):
            work.wait_for_more(60)
            leader = group.leader()
            leader.kill()
            assert group.leader() is not leader
            work.wait_for_more(60)
            leader.start()
            group.wait_ready([leader])
        work.wait_for_more(60)
    assert work.retried > 0
    assert work.unsure == 0
    index = check_kept(group, work)
    stopped = group.others(group.leader())[0]  # a leader that is stopped hands over, with an entry more
    stored = stopped.ask("GET", f"/v1/state/digest?at={index}").text("digest")
    stopped.stop()
    assert replayed(stopped) == (index, stored)


def test_a_follower_killed_again_and_again_under_load_comes_back_equal(group: LoopbackGroup) -> None:
    with load(group) as work:
        for _ in range(2):
            follower = group.others(group.leader())[0]
            work.wait_for_more(30)
            follower.kill()
            work.wait_for_more(30)
            follower.start()
            group.wait_ready([follower])
    assert work.unsure == 0
    check_kept(group, work)


@pytest.mark.slow
def test_all_killed_at_once_during_writes_keep_what_was_acknowledged(group: LoopbackGroup) -> None:
    loads: list[Load] = []
    for turn in range(2):
        with load(group, f"load-{turn}") as work:
            work.wait_for_more(150)
            for replica in group.replicas:
                replica.send(signal.SIGKILL)
            assert [replica.ended() for replica in group.replicas] == [-signal.SIGKILL] * 3
            work.desert()
        loads.append(work)
        group.start()
        for each in loads:
            check_kept(group, each)
    kill_settled(group)
    assert len({replayed(replica) for replica in group.replicas}) == 1


def test_a_follower_that_missed_many_entries_catches_up_while_writes_go_on(group: LoopbackGroup) -> None:
    follower = group.others(group.leader())[0]
    follower.kill()
    before = group.settle()
    backlog(group, BACKLOG)
    missed = group.settle() - before
    assert missed >= BACKLOG
    with load(group) as work:
        work.wait_for_more(20)
        follower.start()
        group.wait_ready([follower])
        work.wait_for_more(20)
    assert work.unsure == 0
    check_kept(group, work)


def backlog(group: LoopbackGroup, entries: int) -> None:
    """So many entries, over the replicas that run."""
    urls = [replica.url for replica in group.replicas if replica.runs]

    def agent(k: int) -> None:
        client = Client(urls[k % len(urls)])
        for turn in range(k, entries, 16):
            answer = client.ask("PUT", f"/v1/memories/backlog-{turn % 1000}?timeout_ms=60000", {"value": turn})
            assert answer.status in (200, 201), answer
        client.close()

    together(16, agent)


def test_sigterm_ends_a_replica_cleanly_and_it_resumes_where_it_was(group: LoopbackGroup) -> None:
    for turn in range(300):
        body = {"id": f"m{turn}", "value": turn, "embedding": [1.0, turn / 10]}
        assert group.replicas[turn % 3].ask("POST", "/v1/memories", body).status == 201
    index = group.settle()
    (before,) = group.digests(index)
    leader = group.leader()
    for replica in (*group.others(leader), leader):  # the leader last: it has nobody to hand over to
        replica.stop()
        assert f"{replica.id} stops" in replica.said()
    assert replayed(group.replicas[0]) == (index, before)
    group.start()
    for replica in group.replicas:
        assert f"applied index {index} of {index}, vectors caught up from index {index}" in replica.said()
    assert group.digests(index) == {before}
    found = group["n2"].ask("POST", "/v1/memories/search", {"embedding": [1.0, 0.0], "top_k": 1})
    assert found.at("results", 0, "memory", "id") == "m0"


def queued_read(replica: Served, target: str) -> socket.socket:
    """A read that waits in the socket of a frozen replica."""
    address = urlsplit(replica.url)
    waiting = socket.create_connection((address.hostname or "", address.port or 0), timeout=60)
    waiting.sendall(f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
    return waiting


def answer_of(waiting: socket.socket) -> Answer:
    with waiting, waiting.makefile("rb") as stream:
        raw = stream.read()
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return Answer(int(lines[0].split()[1]), headers, json.loads(body))


def test_a_leader_that_was_frozen_serves_no_stale_read_under_its_old_lease(group: LoopbackGroup) -> None:
    group.replicas[0].ask("PUT", "/v1/memories/truth", {"value": 0})
    for turn in range(1, 4):
        old = group.leader()
        old.send(signal.SIGSTOP)
        try:
            new = group.leader(but=old)
            written = new.ask("PUT", "/v1/memories/truth?timeout_ms=30000", {"value": turn})
            assert written.status == 200
            queries = ("", "?consistency=linearizable", f"?consistency=session&min_index={written.index}")
            reads = [queued_read(old, f"/v1/memories/truth{query}") for query in queries * 4]
        finally:
            old.send(signal.SIGCONT)
        answers = [answer_of(waiting) for waiting in reads]
        assert {answer.status for answer in answers} <= {200, 503, 504}
        assert {answer.at("value") for answer in answers if answer.status == 200} <= {turn}
        group.wait_ready()
        assert old.ask("GET", "/v1/memories/truth").at("value") == turn
    assert len(group.digests(group.settle())) == 1
