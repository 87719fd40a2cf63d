"""A group whose members change while it works: it grows and shrinks, hands over, and refuses what would harm it.

RAFTMEM_TEST_GROWTHS=20 grows and shrinks so often (once if not set), RAFTMEM_TEST_HANDOVERS=50 ends so many leaders
(2); RAFTMEM_TEST_CLIENTS=32 writes with so many clients (6).
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster_load import Load, check_kept, load

from jepsen_like.cluster.client import Answer, Client, Lost, until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.cluster.served import Served
from raftmem.cli.exits import Exit

GROWTHS = int(os.environ.get("RAFTMEM_TEST_GROWTHS", "1"))
HANDOVERS = int(os.environ.get("RAFTMEM_TEST_HANDOVERS", "2"))
MEMBERS = "/v1/cluster/members"


@pytest.fixture
def single(tmp_path: Path) -> Iterator[LoopbackGroup]:
    """A group of one, to begin with."""
    with new_group(tmp_path, count=1) as group:
        yield group


def grow(group: LoopbackGroup, newcomers: list[Served]) -> None:
    """They vote when this returns."""
    for newcomer in newcomers:
        newcomer.start()
    group.wait_ready(newcomers)
    names = {newcomer.id for newcomer in newcomers}
    until(lambda: names <= {name for name, role in group.roles().items() if role != "learner"}, what=f"{names} vote")


def remove(gone: Served, *, asked: Served) -> Answer:
    """The answer; the replica has ended when this returns."""
    answer = asked.ask("DELETE", f"{MEMBERS}/{gone.id}?timeout_ms=20000")
    assert answer.status == 200, answer.body
    assert (answer.at("member", "id"), answer.at("member", "role")) == (gone.id, "removed")
    assert gone.ended() == Exit.STOPPED, gone.said()
    assert f"{gone.id} was removed from th" in gone.said().splitlines()[-1]
    return answer


def last_line(refused: Served) -> str:
    """What it says when it refuses to start."""
    refused.start()
    assert refused.ended() == Exit.STOPPED, refused.said()
    return refused.said().rstrip().splitlines()[-1]


# --- coming and going ---------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_group_grows_to_five_and_shrinks_to_one_under_load_without_losing_a_write(single: LoopbackGroup) -> None:
    group = single
    newcomers = [group.newcomer(group.replicas[0]) for _ in range(4)]
    left: list[Served] = []
    with load(group, urls=group.every_url) as work:
        for growth in range(GROWTHS):
            if growth:
                newcomers = [group.newcomer(group.replicas[0]) for _ in range(4)]
            grow(group, newcomers[:2])
            grow(group, newcomers[2:])
            assert len(group.roles()) == 5
            work.wait_for_more(60)
            left += [shrink(group, work) for _ in range(4)]
    assert work.unsure == 0
    check_kept(group, work)
    for gone in left[-2:]:
        assert f"{gone.id} was removed from the group and never comes back" in last_line(gone)


def shrink(group: LoopbackGroup, work: Load) -> Served:
    """By the replica that leads, which gives way first."""
    leader = group.leader()
    remove(leader, asked=group.others(leader)[0])
    group.part_with(leader)
    work.wait_for_more(30)
    return leader


def test_two_that_join_at_once_come_in_one_after_the_other(single: LoopbackGroup) -> None:
    group = single
    newcomers = [group.newcomer(group["n1"]) for _ in range(2)]
    grow(group, newcomers)
    group.settle()  # a membership is in force before its entry is committed
    log = group["n1"].ask("GET", "/v1/events?include=internal&op=MEMBER&limit=1000").rows("events")
    changes = [(event["change"], event["member_id"]) for event in log]
    assert sorted(changes) == [("add", "n2"), ("add", "n3"), ("promote", "n2"), ("promote", "n3")]
    assert len({event["index"] for event in log}) == 4
    assert len(group.digests(group.settle())) == 1


# --- what is refused ----------------------------------------------------------------------------------
def refused(asked: Served, method: str, target: str, body: object = None) -> str:
    """The detail of a 409."""
    answer = asked.ask(method, target, body)
    assert (answer.status, answer.at("code")) == (409, "wrong-state"), answer.body
    return answer.text("detail")


def test_a_removal_that_would_lose_the_live_majority_is_refused_with_the_reason(group: LoopbackGroup) -> None:
    down, leaving = group.others(group.leader())
    down.kill()
    leader = group.leader()
    until(lambda: not is_heard(leader, down), what="the silence is noticed")
    for asked in (leader, leaving):
        detail = refused(asked, "DELETE", f"{MEMBERS}/{leaving.id}")
        assert f"only {leader.id} answers" in detail
        assert "2 of 2 are needed" in detail
    remove_dead = leaving.ask("DELETE", f"{MEMBERS}/{down.id}")
    assert remove_dead.status == 200, remove_dead.body
    assert "was removed" in last_line(down)
    group.part_with(down)
    remove(leaving, asked=leader)
    group.part_with(leaving)
    assert "at least one" in refused(leader, "DELETE", f"{MEMBERS}/{leader.id}")
    assert leader.ask("POST", "/v1/memories", {"text": "alone"}).status == 201


def is_heard(leader: Served, other: Served) -> bool:
    """Within an election timeout."""
    answer = leader.ask("GET", "/v1/cluster")
    row = next(row for row in answer.rows("members") if row["id"] == other.id)
    age = row["contact_age_ms"]
    return isinstance(age, int) and age < 1000


def test_a_used_id_a_strange_cluster_and_a_taken_address_are_refused_with_the_reason(single: LoopbackGroup) -> None:
    group = single
    first = group["n1"]
    stranger = group.newcomer(first, extra='cluster_id = "00000000"')
    assert f"is of cluster {group.cluster_id}, not 00000000" in last_line(stranger)
    assert not (stranger.folder / "folder.json").exists()
    group.part_with(stranger)
    assert group.roles() == {"n1": "leader"}
    learner = {"id": "n9", "peer_url": "127.0.0.1:9", "rest_url": "http://127.0.0.1:8"}
    assert first.ask("POST", MEMBERS, learner).status == 201
    assert "has the peer address" in refused(first, "POST", MEMBERS, {**learner, "id": "n8"})
    assert first.ask("DELETE", f"{MEMBERS}/n9").status == 200
    assert "an id is used once" in refused(first, "POST", MEMBERS, learner)


# --- handing over ----------------------------------------------------------------------------------------
class Watched:
    """A client that asks one replica for writes on one connection until it is gone; what it was answered, when."""

    def __init__(self, replica: Served) -> None:
        self.codes: list[str] = []
        self._client = Client(replica.url)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        turn = 0
        try:
            while True:
                answer = self._client.ask("PUT", "/v1/memories/watched?timeout_ms=3000", {"value": turn})
                self.codes.append("" if answer.status < 300 else answer.text("code"))
                turn += 1
        except Lost:
            self._client.close()

    def join(self) -> list[str]:
        self._thread.join()
        return self.codes


def queue_up(pool: ThreadPoolExecutor, replica: Served, lock: str) -> Future[Answer]:
    """A client waits at this replica for a lock that another owner holds: for its answer."""

    def acquire(owner: str, wait_ms: int) -> Answer:
        client = Client(replica.url, timeout_s=90)
        try:
            body = {"owner": owner, "ttl_ms": 60_000, "wait_ms": wait_ms}
            return client.ask("POST", f"/v1/locks/{lock}/acquire", body)
        finally:
            client.close()

    held = acquire("holder", 0)
    assert held.status == 200, held
    waiting = pool.submit(acquire, "waiter", 50_000)
    until(lambda: replica.ask("GET", f"/v1/locks/{lock}").rows("queue"), what="it waits in the queue")
    return waiting


def test_sigterm_of_the_leader_hands_over_at_once_and_is_answered_with_shutting_down(group: LoopbackGroup) -> None:
    with load(group) as work, ThreadPoolExecutor(1) as pool:
        for turn in range(HANDOVERS):
            work.wait_for_more(30)
            leader = group.leader()
            waiting = queue_up(pool, leader, f"handed/{turn}")
            term = leader.ask("GET", "/v1/cluster").integer("term")
            watched = Watched(leader)
            until(lambda w=watched: len(w.codes) > 3, what="it is written to")
            began = time.monotonic()
            leader.send(signal.SIGTERM)
            heir = group.leader(but=leader)
            print(f"{heir.id} leads after {time.monotonic() - began:.3f} s")
            assert leader.ended() == 0, leader.said()
            assert set(watched.join()) <= {"", "shutting-down"}
            assert waiting.result().text("code") == "shutting-down"
            assert heir.ask("GET", "/v1/cluster").integer("term") == term + 1
            assert "without having handed over" not in leader.said()
            leader.start()
            group.wait_ready([leader])
    assert work.unsure == 0
    print(f"longest write {work.longest_s:.3f} s")
    check_kept(group, work)
