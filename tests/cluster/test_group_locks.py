"""Locks of a real group: who waits is served or out of the queue, and a lease that is renewed outlives leaders.

RAFTMEM_TEST_HOLDERS=1000 keeps so many locks while leaders are killed (60 if not set).
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jepsen_like.cluster.client import Answer, Client, Lost, together, until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.cluster.served import Served

HOLDERS = int(os.environ.get("RAFTMEM_TEST_HOLDERS", "60"))
RENEWERS = 12
TTL_MS = 6000


@pytest.fixture
def quick_group(tmp_path: Path) -> Iterator[LoopbackGroup]:
    """It elects quickly."""
    with new_group(tmp_path, extra="election_timeout_ms = 500\nheartbeat_ms = 50") as group:
        yield group


def acquire(replica: Served, name: str, owner: str, *, ttl_ms: int = 60_000, wait_ms: int = 0) -> Answer:
    body = {"owner": owner, "ttl_ms": ttl_ms, "wait_ms": wait_ms}
    client = Client(replica.url, timeout_s=90)
    try:
        return client.ask("POST", f"/v1/locks/{name}/acquire", body)
    finally:
        client.close()


@contextlib.contextmanager
def asked(replica: Served, target: str, body: object) -> Iterator[None]:
    """A client that sends a request, and hangs up at the end of the block without having read the answer."""
    content = json.dumps(body).encode()
    where = urlsplit(replica.url)
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\n" % target.encode())
        connection.sendall(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        yield


def token_of(answer: Answer) -> int:
    assert answer.status == 200, answer
    return answer.integer("token")


def release(replica: Served, name: str, owner: str, token: int) -> None:
    answer = replica.ask("POST", f"/v1/locks/{name}/release", {"owner": owner, "token": token})
    assert answer.status == 200, answer


def queue(replica: Served, name: str) -> list[object]:
    answer = replica.look(f"/v1/locks/{name}")
    return [] if answer is None else [row["owner"] for row in answer.rows("queue")]


def wait_queue(replica: Served, name: str, *owners: str) -> None:
    until(lambda: queue(replica, name) == list(owners), what=f"{owners} wait for {name}")


def test_a_waiting_acquire_whose_connection_is_dropped_leaves_the_queue(shared_group: LoopbackGroup) -> None:
    leader = shared_group.leader()
    token = token_of(acquire(leader, "dropped", "holder"))
    for replica in shared_group.replicas:
        with asked(replica, "/v1/locks/dropped/acquire", {"owner": "b", "ttl_ms": 60_000, "wait_ms": 60_000}):
            wait_queue(leader, "dropped", "b")
        wait_queue(leader, "dropped")
    release(leader, "dropped", "holder", token)
    assert token_of(acquire(leader, "dropped", "c")) > token


def test_a_holder_that_dies_is_expired_and_those_who_wait_are_served_in_order(shared_group: LoopbackGroup) -> None:
    leader = shared_group.leader()
    token_of(acquire(leader, "dead", "dead", ttl_ms=1500))
    began, served = time.monotonic(), list[tuple[str, int, float]]()

    def wait(place: int) -> None:
        owner = f"w{place}"
        mine = token_of(acquire(shared_group.replicas[place % 3], "dead", owner, wait_ms=30_000))
        served.append((owner, mine, time.monotonic() - began))
        release(leader, "dead", owner, mine)

    with ThreadPoolExecutor(5) as pool:
        waits = []
        for place in range(5):
            waits.append(pool.submit(wait, place))
            if place < 3:  # the dead holder's time must not run out over this
                wait_queue(leader, "dead", *(f"w{k}" for k in range(place + 1)))
        for one in waits:
            one.result()
    assert [owner for owner, _, _ in served[:3]] == ["w0", "w1", "w2"]
    tokens = [token for _, token, _ in served]
    assert tokens == sorted(tokens)
    assert served[0][2] > 1.3


def test_a_wait_at_a_follower_is_granted_through_the_death_of_the_leader(quick_group: LoopbackGroup) -> None:
    leader = quick_group.leader()
    token = token_of(acquire(leader, "l", "holder"))
    one, other = quick_group.others(leader)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(acquire, one, "l", "b", wait_ms=50_000)
        wait_queue(one, "l", "b")
        leader.kill()
        quick_group.leader(but=leader)
        release(other, "l", "holder", token)
        granted = waiting.result()
    assert token_of(granted) > token
    assert granted.text("event", "op") == "LOCK_GRANT"


def test_a_replica_that_is_asked_to_end_lets_its_waits_go_on_elsewhere(quick_group: LoopbackGroup) -> None:
    leader = quick_group.leader()
    token = token_of(acquire(leader, "l", "holder"))
    one, other = quick_group.others(leader)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(acquire, one, "l", "b", wait_ms=50_000)
        wait_queue(leader, "l", "b")
        second = pool.submit(acquire, leader, "l", "c", wait_ms=50_000)
        wait_queue(leader, "l", "b", "c")
        one.stop()
        ended = first.result()
        assert (ended.status, ended.text("code"), ended.text("outcome")) == (503, "shutting-down", "unknown")
        again = pool.submit(acquire, other, "l", "b", wait_ms=50_000)
        until(lambda: len(_events(leader, "LOCK_WAIT")) == 3, what="b has asked again")
        release(leader, "l", "holder", token)
        mine = token_of(again.result())
        release(leader, "l", "b", mine)
        assert token_of(second.result()) > mine


def _events(replica: Served, op: str) -> list[dict[str, object]]:
    answer = replica.look(f"/v1/events?op={op}&limit=1000")
    return [] if answer is None else answer.rows("events")


def test_renewals_over_three_replicas_share_entries(shared_group: LoopbackGroup) -> None:
    leader = shared_group.leader()
    tokens = [token_of(acquire(leader, f"r{k}", f"o{k}")) for k in range(24)]

    def renew(k: int) -> list[int]:
        client, indexes = Client(shared_group.replicas[k % 3].url), list[int]()
        try:
            for _ in range(20):
                answer = client.ask("POST", f"/v1/locks/r{k}/renew", {"owner": f"o{k}", "token": tokens[k]})
                assert (answer.status, answer.integer("token")) == (200, tokens[k]), answer
                assert answer.text("event", "lock") == f"r{k}"
                indexes.append(answer.index)
        finally:
            client.close()
        return indexes

    indexes = [index for mine in together(24, renew) for index in mine]
    assert len(indexes) == 480
    assert len(set(indexes)) < 240


@pytest.mark.slow
def test_nobody_who_renews_loses_a_lease_while_leaders_are_killed(quick_group: LoopbackGroup) -> None:
    """Every holder renews each third of its time to live, wherever it is answered; none may ever be told of a stale
    token, and the log may not expire any."""
    leader = quick_group.leader()
    tokens: dict[str, int] = {}
    for number in range(HOLDERS):
        tokens[f"k{number}"] = token_of(acquire(leader, f"k{number}", "o", ttl_ms=TTL_MS))
    over, renewed = threading.Event(), [0] * RENEWERS

    def keep(renewer: int) -> None:
        mine = [name for place, name in enumerate(tokens) if place % RENEWERS == renewer]
        clients = [Client(url, timeout_s=3) for url in quick_group.urls]
        turn = renewer
        while not over.is_set():
            began = time.monotonic()
            for name in mine:
                target, body = f"/v1/locks/{name}/renew?timeout_ms=1500", {"owner": "o", "token": tokens[name]}
                while True:
                    try:
                        answer = clients[turn % len(clients)].ask("POST", target, body)
                    except Lost:
                        answer = None
                    if answer is not None and answer.status == 200:
                        break
                    assert answer is None or answer.status in (503, 504), answer
                    turn += 1
                    time.sleep(0.02)
                renewed[renewer] += 1
            over.wait(max(0.0, began + TTL_MS / 3000 - time.monotonic()))
        for client in clients:
            client.close()

    with ThreadPoolExecutor(RENEWERS) as pool:
        keeping = [pool.submit(keep, renewer) for renewer in range(RENEWERS)]
        try:
            for _ in range(2):
                killed = quick_group.leader()
                killed.kill()
                quick_group.leader(but=killed)
                goal = [done + 2 * HOLDERS // RENEWERS for done in renewed]
                until(lambda goal=goal: all(map(int.__ge__, renewed, goal)), what="everybody has renewed twice")
                killed.start()
                quick_group.wait_ready([killed])
        finally:
            over.set()
        for one in keeping:
            one.result()
    assert _events(quick_group.leader(), "LOCK_EXPIRE") == []
