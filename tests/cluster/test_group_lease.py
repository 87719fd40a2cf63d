"""A leader that stands still while another takes over: what waits in its connections never gets a stale answer.

RAFTMEM_TEST_LEASE_ROUNDS=200 freezes so many leaders (5 if not set), RAFTMEM_TEST_SEED=7 for the same lengths again.
"""

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jepsen_like.cluster.client import Answer, Client, Lost, until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.cluster.links import Links
from jepsen_like.cluster.served import Served

ROUNDS = int(os.environ.get("RAFTMEM_TEST_LEASE_ROUNDS", "5"))
SEED = int(os.environ.get("RAFTMEM_TEST_SEED", secrets.randbelow(10**6)))
ELECTION_S = 0.3  # a lease is a little shorter
READERS = 8
TARGET = "/v1/memories/truth"


@pytest.fixture
def links() -> Iterator[Links]:
    made = Links()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def quick_group(tmp_path: Path, links: Links) -> Iterator[LoopbackGroup]:
    """It elects quickly, over links that can be held."""
    with new_group(tmp_path, extra=f"election_timeout_ms = {int(ELECTION_S * 1000)}\nheartbeat_ms = 30") as group:
        group.leader().ask("PUT", TARGET, {"value": 0})
        for replica in group.replicas:
            replica.stop()
        group.relay(links)
        group.start()
        yield group


class Truth:
    """A memory that one thread writes through whichever replica takes it.

    `acknowledged`: index of its newest write that was answered; whoever reads from now on must see that one or a later.
    An unanswered write may still come behind an answered one: so indexes tell what is newer, and values do not.
    """

    def __init__(self, group: LoopbackGroup) -> None:
        self.acknowledged = 0
        self.frozen: Served | None = None
        self.failure: AssertionError | None = None
        self._group = group
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        clients = {one: Client(one.url, timeout_s=2.0) for one in self._group.replicas}
        turn = 0
        try:
            while not self._ending.is_set():
                turn += 1
                one = self._group.replicas[turn % len(clients)]
                if one is not self.frozen:
                    self._write(clients[one], turn)
        except AssertionError as error:
            self.failure = error
        finally:
            for client in clients.values():
                client.close()

    def _write(self, client: Client, value: int) -> None:
        try:
            answer = client.ask("PUT", f"{TARGET}?timeout_ms=300", {"value": value})
        except Lost:
            return
        assert answer.status in (200, 503, 504), answer.body
        if answer.status == 200:
            self.acknowledged = answer.index

    def end(self) -> None:
        self._ending.set()
        self._thread.join()
        assert self.failure is None, self.failure


@dataclass(frozen=True)
class Seen:
    """A lease read. `known`: index of the newest write that was acknowledged before it was sent."""

    known: int
    answer: Answer

    @property
    def is_stale(self) -> bool:
        return self.answer.status == 200 and self.answer.integer("updated_index") < self.known


class Reader:
    """One connection to one replica, open all the time, and a thread that reads on it whenever it is told to."""

    def __init__(self, replica: Served, truth: Truth) -> None:
        self.seen: list[Seen] = []
        self.failure: BaseException | None = None
        self.may_read = threading.Event()
        self._truth = truth
        self._client = Client(replica.url)
        self._ending = False
        self._read()  # the connection is open now
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ending:
                self.may_read.wait()
                self._read()
        except (Lost, AssertionError) as error:
            self.failure = error

    def _read(self) -> None:
        known = self._truth.acknowledged
        answer = self._client.ask("GET", f"{TARGET}?timeout_ms=500")
        assert answer.status in (200, 503, 504), answer.body
        assert answer.status != 200 or answer.headers["raftmem-consistency"] == "lease"
        self.seen.append(Seen(known, answer))

    def end(self) -> None:
        self._ending = True
        self.may_read.set()
        self._thread.join()
        self._client.close()
        assert self.failure is None, self.failure


def test_a_leader_frozen_for_twice_its_lease_never_answers_a_lease_read_with_a_stale_value(
    quick_group: LoopbackGroup, links: Links
) -> None:
    group, dice = quick_group, random.Random(SEED)
    print(f"RAFTMEM_TEST_SEED={SEED}")
    answered = refused = 0
    truth = Truth(group)
    try:
        for turn in range(ROUNDS):
            seen = freeze_and_read(group, links, truth, dice)
            stale = [one for one in seen if one.is_stale]
            assert not stale, f"round {turn}: {stale[0]}"
            answered += sum(one.answer.status == 200 for one in seen)
            refused += sum(one.answer.status != 200 for one in seen)
    finally:
        truth.end()
    print(f"{answered} reads of frozen leaders answered, {refused} refused, up to index {truth.acknowledged}")
    assert answered > 0
    assert len(group.digests(group.settle())) == 1


def freeze_and_read(group: LoopbackGroup, links: Links, truth: Truth, dice: random.Random) -> list[Seen]:
    """Every read that was asked of the frozen leader, most of them while it was.

    It hears of the others a moment after it goes on, so that nothing but its clock can tell it that its lease is over.
    """
    old = group.leader()
    readers = [Reader(old, truth) for _ in range(READERS)]
    try:
        for reader in readers[: READERS // 2]:  # some are under way at whatever instant it freezes
            reader.may_read.set()
        time.sleep(dice.random() * 0.05)
        truth.frozen = old
        began = time.monotonic()
        with links.held(old.id):
            old.send(signal.SIGSTOP)
            try:
                for reader in readers[READERS // 2 :]:  # others ask after writes that it has not heard of
                    before = truth.acknowledged
                    until(lambda n=before: truth.acknowledged > n, what="the others go on")
                    reader.may_read.set()
                time.sleep(max(0.0, began + 2 * ELECTION_S - time.monotonic()))
            finally:
                old.send(signal.SIGCONT)
            time.sleep(dice.random() * ELECTION_S / 2)
        truth.frozen = None
        wanted = {id(reader): len(reader.seen) + 3 for reader in readers}
        until(lambda: all(len(r.seen) >= wanted[id(r)] or r.failure for r in readers), what="it answers")
    finally:
        truth.frozen = None
        for reader in readers:
            reader.end()
    return [one for reader in readers for one in reader.seen]
