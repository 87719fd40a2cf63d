"""Clients that write without pause while something is broken, and the check that all of it is there, once."""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cluster_command import command

from jepsen_like.cluster.client import Lost, Writer, together, until
from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.cluster.served import Served

CLIENTS = int(os.environ.get("RAFTMEM_TEST_CLIENTS", "6"))
INCREMENT = {"merge": {"value": {"op": "inc", "by": 1}}}


class Load:
    """Clients that add memories and count them, each write done once whatever happens, until they are told to end.

    `added`: texts whose ADD was acknowledged; `counted`: acknowledged increments; `unsure`: writes given up undecided;
    `longest_s`: that one write took until it was acknowledged, with all its attempts.
    """

    def __init__(self, group: LoopbackGroup, name: str, urls: Sequence[str]) -> None:
        self.name = name
        self._urls = urls
        self._group = group
        self._ending = threading.Event()
        self._deserting = threading.Event()
        self._lock = threading.Lock()
        self.added: list[str] = []
        self.counted = 0
        self.unsure = 0
        self.retried = 0
        self.longest_s = 0.0
        self.failure: BaseException | None = None

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
        until(lambda: self.acknowledged >= goal or self.failure, what=f"{count} more writes are acknowledged")
        assert self.failure is None, self.failure

    def run(self) -> None:
        try:
            together(CLIENTS, self._client)
        except (AssertionError, Lost) as error:
            self.failure = error
            self.desert()

    def _client(self, k: int) -> None:
        writer = self._group.writer(f"{self.name}-{k}", first=k, urls=self._urls)
        try:
            turn = 0
            while not self._ending.is_set():
                self._add(writer, f"memory {turn} of {self.name}-{k}")
                self._count(writer)
                turn += 1
        finally:
            with self._lock:
                self.retried += writer.retried
                self.longest_s = max(self.longest_s, writer.longest_s)
            writer.close()

    def _add(self, writer: Writer, text: str) -> None:
        body = {"text": text, "app_id": self.name}
        answer = writer.write("POST", "/v1/memories", body, give_up=self._deserting.is_set)
        with self._lock:
            if answer is None:
                self.unsure += 1
            else:
                assert answer.status == 201, answer
                self.added.append(text)

    def _count(self, writer: Writer) -> None:
        answer = writer.write("PATCH", f"/v1/memories/{self.name}", INCREMENT, give_up=self._deserting.is_set)
        with self._lock:
            if answer is None:
                self.unsure += 1
            else:
                assert answer.status == 200, answer
                self.counted += 1


@contextmanager
def load(group: LoopbackGroup, name: str = "load", *, urls: Sequence[str] = ()) -> Iterator[Load]:
    """Clients at work meanwhile; at the end every one has finished its last write, unless they deserted."""
    group.writer(f"setup-{name}").write("PUT", f"/v1/memories/{name}", {"value": 0})
    work = Load(group, name, urls)
    began = time.monotonic()
    running = threading.Thread(target=work.run)
    running.start()
    try:
        yield work
    finally:
        work.end()
        running.join()
        seconds = time.monotonic() - began
        print(f"{name}: {work.acknowledged / seconds:.0f} writes/s for {seconds:.0f} s, longest {work.longest_s:.2f} s")
    assert work.failure is None, work.failure


def check_kept(group: LoopbackGroup, work: Load) -> int:
    """Every acknowledged write is there once, nothing that nobody sent is, and the replicas agree; the index."""
    index = group.settle()
    found = Counter(str(row["text"]) for row in group.memories(f"app_id={work.name}"))
    missing = [text for text in work.added if found[text] == 0]
    twice = [text for text, count in found.items() if count > 1]
    assert not missing
    assert not twice
    counted = group.replicas[0].ask("GET", f"/v1/memories/{work.name}").integer("value")
    surplus = (len(found) - len(work.added)) + (counted - work.counted)
    assert counted >= work.counted
    assert 0 <= surplus <= work.unsure
    assert len(group.digests(index)) == 1
    return index


def kill_settled(group: LoopbackGroup) -> None:
    """All of them, and what they applied stays in their states: a kill takes back what a snapshot has not settled.

    Whoever is asked to end hands over the lead first, which is one more entry.
    """
    for replica in group.replicas:
        assert replica.ask("POST", "/v1/admin/snapshot").status in (200, 201)
    for replica in group.replicas:
        replica.kill()


def replayed(replica: Served) -> tuple[object, object]:
    """(index, digest) that its log alone comes to; it is stopped, and its stored digests agree."""
    done = command("replay", "--verify", "--json", "--data", replica.folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verified"] is True
    return report["index"], report["digest"]
