"""Replicas that die, stop, lag or freeze at any moment: what was acknowledged stays, once, and nobody needs help.

RAFTMEM_TEST_BACKLOG=100000 makes the follower that was down miss so many entries (2,000 if not set).
"""

import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from cluster_client import Answer, Client, Lost, Writer, together, until
from cluster_world import LoopbackGroup, Served, command

CLIENTS = 6
BACKLOG = int(os.environ.get("RAFTMEM_TEST_BACKLOG", "2000"))
INCREMENT = {"merge": {"value": {"op": "inc", "by": 1}}}


class Load:
    """Clients that add memories and count them, each write done once whatever happens, until they are told to end.

    `added`: texts whose ADD was acknowledged; `counted`: acknowledged increments; `unsure`: writes given up undecided.
    """

    def __init__(self, group: LoopbackGroup) -> None:
        self._group = group
        self._ending = threading.Event()
        self._deserting = threading.Event()
        self._lock = threading.Lock()
        self.added: list[str] = []
        self.counted = 0
        self.unsure = 0
        self.retried = 0

    def end(self) -> None:
        """After the write that each is at."""
        self._ending.set()

    def desert(self) -> None:
        """Undecided writes are left as they are."""
        self._ending.set()
        self._deserting.set()

    @property
    def acknowledged(self) -> int:
        return len(self.added) + self.counted

    def wait_for_more(self, count: int) -> None:
        goal = self.acknowledged + count
        until(lambda: self.acknowledged >= goal, what=f"{count} more writes are acknowledged")

    def run(self, k: int) -> None:
        writer = self._group.writer(f"loader-{k}", first=k)
        try:
            turn = 0
            while not self._ending.is_set():
                self._add(writer, f"memory {turn} of {k}")
                self._count(writer)
                turn += 1
        finally:
            self.retried += writer.retried
            writer.close()

    def _add(self, writer: Writer, text: str) -> None:
        body = {"text": text, "app_id": "load"}
        answer = writer.write("POST", "/v1/memories", body, give_up=self._deserting.is_set)
        with self._lock:
            if answer is None:
                self.unsure += 1
            else:
                assert answer.status == 201, answer
                self.added.append(text)

    def _count(self, writer: Writer) -> None:
        answer = writer.write("PATCH", "/v1/memories/count", INCREMENT, give_up=self._deserting.is_set)
        with self._lock:
            if answer is None:
                self.unsure += 1
            else:
                assert answer.status == 200, answer
                self.counted += 1


@contextmanager
def load(group: LoopbackGroup) -> Iterator[Load]:
    """Clients at work meanwhile; at the end every one has finished its last write, unless they deserted."""
    group.writer("setup").write("PUT", "/v1/memories/count", {"value": 0})
    work = Load(group)
    running = threading.Thread(target=lambda: failures.extend(_tried(work)))
    failures: list[BaseException] = []
    running.start()
    try:
        yield work
    finally:
        work.end()
        running.join()
    assert not failures, failures


def _tried(work: Load) -> list[BaseException]:
    try:
        together(CLIENTS, work.run)
    except (AssertionError, Lost) as error:
        work.desert()
        return [error]
    return []


def check_kept(group: LoopbackGroup, work: Load) -> int:
    """Every acknowledged write is there once, nothing that nobody sent is, and the replicas agree; the index."""
    index = group.settle()
    found = Counter(str(row["text"]) for row in group.memories("app_id=load"))
    missing = [text for text in work.added if found[text] == 0]
    twice = [text for text, count in found.items() if count > 1]
    assert not missing
    assert not twice
    counted = group.replicas[0].ask("GET", "/v1/memories/count").integer("value")
    surplus = (len(found) - len(work.added)) + (counted - work.counted)
    assert counted >= work.counted
    assert 0 <= surplus <= work.unsure
    assert len(group.digests(index)) == 1
    return index


class Replayed(NamedTuple):
    index: int
    digest: str


def replayed(replica: Served) -> Replayed:
    """What its log alone comes to; it is stopped, and its stored digests agree."""
    done = command("replay", "--verify", "--json", "--data", replica.folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verified"] is True
    return Replayed(report["index"], report["digest"])


def test_a_leader_killed_under_load_loses_and_doubles_nothing(group: LoopbackGroup) -> None:
    with load(group) as work:
        for _ in range(3):
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
    stopped = group.leader()
    stored = stopped.ask("GET", f"/v1/state/digest?at={index}").text("digest")
    stopped.stop()
    assert replayed(stopped) == (index, stored)


def test_a_follower_killed_again_and_again_under_load_comes_back_equal(group: LoopbackGroup) -> None:
    with load(group) as work:
        for _ in range(4):
            follower = group.others(group.leader())[0]
            work.wait_for_more(30)
            follower.kill()
            work.wait_for_more(30)
            follower.start()
            group.wait_ready([follower])
    assert work.unsure == 0
    check_kept(group, work)


def test_all_killed_at_once_during_writes_keep_what_was_acknowledged(group: LoopbackGroup) -> None:
    for _ in range(2):
        with load(group) as work:
            work.wait_for_more(150)
            for replica in group.replicas:
                replica.send(signal.SIGKILL)
            assert [replica.ended() for replica in group.replicas] == [-signal.SIGKILL] * 3
            work.desert()
        group.start()
        index = check_kept(group, work)
        answer = group.writer(f"cleaner-{index}").write("DELETE", "/v1/memories/count", None)
        assert answer is not None
        assert answer.status == 200
        clear(group)
    for replica in group.replicas:
        replica.kill()
    assert len({replayed(replica) for replica in group.replicas}) == 1


def clear(group: LoopbackGroup) -> None:
    """Leave no memory of a load behind."""
    ids = [row["id"] for row in group.memories("app_id=load")]
    for start in range(0, len(ids), 500):
        events = [{"op": "DELETE", "memory_id": one} for one in ids[start : start + 500]]
        assert group.replicas[0].ask("POST", "/v1/events", {"events": events}).status == 200


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
        body = {"id": f"m{turn}", "value": turn, "embedding": [1.0, float(turn)]}
        assert group.replicas[turn % 3].ask("POST", "/v1/memories", body).status == 201
    index = group.settle()
    (before,) = group.digests(index)
    for replica in group.replicas:
        replica.stop()
        assert f"{replica.id} stops" in replica.said()
        assert replayed(replica) == (index, before)
    group.start()
    for replica in group.replicas:
        assert f"applied index {index} of {index}, vectors caught up from index {index}" in replica.said()
    assert group.digests(index) == {before}
    found = group["n2"].ask("POST", "/v1/memories/search", {"embedding": [0.0, 1.0], "top_k": 1})
    assert found.at("results", 0, "memory", "id") == "m299"


def test_sigterm_of_the_leader_under_load_loses_nothing(group: LoopbackGroup) -> None:
    with load(group) as work:
        work.wait_for_more(60)
        leader = group.leader()
        leader.stop()
        work.wait_for_more(60)
        leader.start()
        group.wait_ready([leader])
    assert work.unsure == 0
    check_kept(group, work)


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
