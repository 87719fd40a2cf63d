"""A consumer of the log whose replica is killed again and again sees what the log says: no gap, no repeat, in order.

RAFTMEM_TEST_WATCH_KILLS=20 kills so many times (3 if not set).
"""

import http.client
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from cluster_load import load

from jepsen_like.cluster.client import PAUSE_S, Client, until
from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.cluster.served import Served

KILLS = int(os.environ.get("RAFTMEM_TEST_WATCH_KILLS", "3"))
Json = dict[str, object]


class Consumer:
    """Reads one stream after the other, each from where the last one broke off.

    `covered`: everything up to here has come. `before`: what each item said came before it.
    """

    def __init__(self, group: LoopbackGroup, query: str) -> None:
        self._group = group
        self._query = query
        self._ending = threading.Event()
        self.serving: Served | None = None
        self.streams = 0
        self.covered = 0
        self.events: list[Json] = []
        self.indexes: list[int] = []
        self.before: list[int | None] = []
        self.last_words: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for replica in itertools.cycle(self._group.replicas):
                if self._ending.is_set():
                    return
                self._read(replica)
                time.sleep(PAUSE_S)
        except BaseException as error:
            self.failure = error
            raise

    def _read(self, replica: Served) -> None:
        """One stream, until it breaks off. Every other one is resumed as a browser does it."""
        connection = http.client.HTTPConnection(urlsplit(replica.url).netloc, timeout=20)
        by_event = self.streams % 2 == 1
        headers = {"Last-Event-ID": str(self.covered)} if by_event else {"Accept": "application/x-ndjson"}
        start = "" if by_event else f"&from={self.covered + 1}"
        try:
            connection.request("GET", f"/v1/watch?{self._query}{start}", headers=headers)
            reply = connection.getresponse()
            if reply.status != 200:
                assert reply.status in (503, 504), reply.read()  # it knows no leader yet, or leaves
                return
            self.streams += 1
            self.serving = replica
            for line in reply:
                if not line.endswith(b"\n"):  # cut in the middle
                    return
                if by_event and not line.startswith(b"data: "):
                    continue
                self._take(json.loads(line.removeprefix(b"data: ")))
                if self._ending.is_set():
                    return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            self.serving = None
            connection.close()

    def _take(self, item: Json) -> None:
        index = item["index"]
        assert isinstance(index, int)
        match item["type"]:
            case "entry":
                assert isinstance(item["events"], list)
                self.indexes.append(index)
                self.before.append(item["prev_index"])  # type: ignore[arg-type]  # by the contract
                self.events += item["events"]
            case "bookmark":
                assert index >= self.covered
            case word:
                self.last_words.append(str(word))
        self.covered = max(self.covered, index)

    def check_equal(self) -> None:
        """What came is the log, so far as it goes."""
        assert self.failure is None, self.failure
        listed = listing(self._group, f"{self._query}&to={self.covered}")
        assert [(event["index"], event["seq"]) for event in self.events] == [
            (event["index"], event["seq"]) for event in listed
        ]
        assert self.events == listed
        assert self.before == [None, *self.indexes[:-1]]

    def end(self) -> None:
        self._ending.set()


@contextmanager
def consumer(group: LoopbackGroup, query: str) -> Iterator[Consumer]:
    one = Consumer(group, query)
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield one
        until(lambda: one.serving is not None or one.failure, what="the consumer reads")
    finally:
        one.end()
        once_more = Client(group.urls[0], actor="agent/closing")
        try:
            once_more.ask("POST", "/v1/memories", {"text": "the last entry ends the reading"})
        finally:
            once_more.close()
        thread.join(30)


def listing(group: LoopbackGroup, query: str) -> list[Json]:
    client, found, cursor = Client(next(one for one in group.replicas if one.runs).url), list[Json](), ""
    while True:
        page = client.ask("GET", f"/v1/events?{query}&limit=1000{cursor}")
        assert page.status == 200, page
        found += page.rows("events")
        if page.at("next_cursor") is None:
            client.close()
            return found
        cursor = f"&cursor={page.text('next_cursor')}"


@pytest.mark.slow
def test_a_consumer_whose_replica_is_killed_again_and_again_sees_what_the_log_says(group: LoopbackGroup) -> None:
    with consumer(group, "include=internal") as everything, consumer(group, "op=UPDATE&outcome=applied") as updates:
        with load(group) as work:
            for _ in range(KILLS):
                serving = until(lambda: everything.serving, what="a replica serves the consumer")
                work.wait_for_more(60)
                serving.kill()
                work.wait_for_more(60)
                serving.start()
                group.wait_ready([serving])
        last = group.settle()
        until(lambda: everything.covered >= last or everything.failure, what="the consumer has seen everything")
        counted = int(str(listing(group, "op=UPDATE&outcome=applied")[-1]["index"]))
        until(lambda: updates.covered >= counted or updates.failure, what="the other consumer has seen everything")
    assert everything.streams > KILLS
    everything.check_equal()
    updates.check_equal()
    assert len(everything.events) >= work.acknowledged


def test_a_replica_that_is_stopped_says_goodbye_and_is_gone_soon(group: LoopbackGroup) -> None:
    with consumer(group, "include=internal") as one:
        serving = until(lambda: one.serving, what="a replica serves the consumer")
        began = time.monotonic()
        serving.stop()
        took = time.monotonic() - began
        until(lambda: one.streams > 1 or one.failure, what="the consumer goes on elsewhere")
        serving.start()
        group.wait_ready([serving])
        last = group.settle()
        until(lambda: one.covered >= last or one.failure, what="the consumer has seen everything")
    assert one.last_words[0] == "goodbye"
    assert took < 15
    one.check_equal()
