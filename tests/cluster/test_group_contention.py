"""Many clients and one lock: their critical sections do not overlap, whoever is stopped in one is kept from writing,
and who waits is served in order. What happened is read from the log.

RAFTMEM_TEST_SECTION_CLIENTS=50 RAFTMEM_TEST_SECTIONS=5000 counts in a plain file with so many processes (6, 150 if not
set); RAFTMEM_TEST_PAUSES=100 RAFTMEM_TEST_PAUSED_CLIENTS=12 stops so many times (5), each time one of so many (5).
"""

import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from client_process import Program, Programs, programs
from lock_history import MutexHistory, mutex_history

from jepsen_like.cluster.client import until
from jepsen_like.cluster.group import LoopbackGroup
from raftmem.client import Actor, Event, RaftmemClient

CLIENTS = int(os.environ.get("RAFTMEM_TEST_SECTION_CLIENTS", "6"))
SECTIONS = int(os.environ.get("RAFTMEM_TEST_SECTIONS", "150"))
PAUSES = int(os.environ.get("RAFTMEM_TEST_PAUSES", "5"))
PAUSED_CLIENTS = int(os.environ.get("RAFTMEM_TEST_PAUSED_CLIENTS", "5"))
TTL_S = 1.0  # of the clients that are stopped


@pytest.fixture
def looking(shared_group: LoopbackGroup) -> Iterator[RaftmemClient]:
    """To look at the log with."""
    with RaftmemClient(shared_group.urls, actor="agent/tester") as client:
        yield client


def test_counter_in_a_plain_file_guarded_by_nothing_but_the_lock_is_exact(
    shared_group: LoopbackGroup, looking: RaftmemClient, tmp_path: Path
) -> None:
    file = tmp_path / "counter"
    file.write_text("0")
    each = SECTIONS // CLIENTS
    with programs(shared_group) as clients:
        for _ in range(CLIENTS):
            clients.begin("file_counter", "counting/file", file, each, 30)
        for one in clients.begun:
            one.wait_said("ready")
        began = time.monotonic()
        for one in clients.begun:
            one.tell("go")
        assert [one.ended(seconds=60 + SECTIONS / 10) for one in clients.begun] == [0] * CLIENTS
        seconds = time.monotonic() - began
        longest = max(one.wait_said("done").seconds for one in clients.begun)
    print(f"{each * CLIENTS} sections of {CLIENTS} clients: {seconds:.1f} s, longest wait {longest:.2f} s")
    assert file.read_text() == str(each * CLIENTS)

    history = mutex_history(looking.events(lock="counting/file", page_size=1000))
    assert len(history.granted) == each * CLIENTS
    assert history.expired == []
    assert history.served > each  # there was contention
    assert (history.token, history.queue) == (0, [])


@pytest.mark.slow
def test_counter_behind_the_guard_is_exact_though_clients_are_stopped_past_their_time(
    shared_group: LoopbackGroup, looking: RaftmemClient
) -> None:
    """Every second one is stopped inside its section, the others wherever they are."""
    looking.memories.put("counting-guarded", value={"n": 0, "token": 0})
    with programs(shared_group) as clients:
        for _ in range(PAUSED_CLIENTS):
            clients.begin("guarded_counter", "counting/guarded", "counting-guarded", TTL_S)
        for one in clients.begun:
            one.wait_said("in")
        began, turn = time.monotonic(), 0
        while turn < PAUSES or (turn < 4 * PAUSES and not count_of(clients, "refused")):
            stop_past_its_time(clients, random.choice(clients.begun), inside=turn % 2 == 0)
            turn += 1
        for one in clients.begun:
            one.tell("end")
        assert [one.ended() for one in clients.begun] == [0] * PAUSED_CLIENTS
        seconds = time.monotonic() - began
        acknowledged, unknown, refused, lost = (
            [one.token for client in clients.begun for one in client.said(what)]
            for what in ("written", "unknown", "refused", "lost")
        )

    history, written, denied = MutexHistory(), list[int](), list[int]()
    writes = looking.events(memory_id="counting-guarded", op="UPDATE", page_size=1000).all()
    locking = looking.events(lock="counting/guarded", page_size=1000).all()
    for event in sorted([*writes, *locking], key=lambda event: (event.index, event.seq)):
        if event.lock is not None:
            history.take(event)
        else:
            token = token_of(event)
            assert event.applied == (token == history.token), f"{history.token} is in force: {event}"
            (written if event.applied else denied).append(token)
            assert event.applied or event.code == "precondition-failed"
    print(
        f"{turn} pauses in {seconds:.1f} s: {len(written)} written, {len(denied)} refused, {len(unknown)} unknown, "
        f"{len(history.expired)} ran out, {len(lost)} were told lost, longest stall {longest_gap(writes):.2f} s"
    )
    assert looking.memories.get("counting-guarded").value == {"n": len(written), "token": written[-1]}
    assert len(set(written)) == len(written)
    assert set(acknowledged) <= set(written) <= {*acknowledged, *unknown}
    assert set(refused) <= set(denied) <= {*refused, *unknown}
    assert set(refused) <= set(history.expired)
    assert set(refused) <= set(lost)
    assert refused


def stop_past_its_time(clients: Programs, victim: Program, *, inside: bool) -> None:
    """The others go on meanwhile: whatever it held has run out."""
    if inside:
        victim.wait_said("in", len(victim.said("in")) + 1)
    victim.send(signal.SIGSTOP)
    began, written = time.monotonic(), count_of(clients, "written")

    def over() -> bool:
        return time.monotonic() > began + 1.5 * TTL_S and count_of(clients, "written") > written + 1

    until(over, what="the others go on without the one that is stopped")
    victim.send(signal.SIGCONT)


def count_of(clients: Programs, what: str) -> int:
    return sum(len(one.said(what)) for one in clients.begun)


def token_of(event: Event) -> int:
    """What the writer wrote of its own token."""
    payload = event.payload
    assert isinstance(payload, dict)
    token = payload["value"]["token"]
    assert isinstance(token, int)
    return token


def longest_gap(events: list[Event]) -> float:
    """Between two that were applied, in seconds."""
    times = [event.time for event in events if event.applied]
    return max((after - before).total_seconds() for before, after in itertools.pairwise(times))


@pytest.mark.parametrize("taken", [True, False], ids=["taken by another", "free"])
def test_client_stopped_past_its_time_has_its_write_refused_and_is_told_that_the_lease_is_lost(
    taken: bool, shared_group: LoopbackGroup, looking: RaftmemClient
) -> None:
    lock = f"late/{taken}"
    with programs(shared_group) as clients:
        late = clients.begin("late_writer", lock, 1.0)
        token = late.wait_said("holding").token
        late.send(signal.SIGSTOP)
        if taken:
            grant = looking.locks.acquire(lock, owner="other", ttl=60, wait=30)
            assert (grant.event.op, grant.token > token) == ("LOCK_GRANT", True)
        expired = looking.events(token, lock=lock, op="LOCK_EXPIRE", wait=30).all()
        assert [event.token for event in expired] == [token]
        late.send(signal.SIGCONT)
        late.tell("write")
        assert late.ended() == 0
        came = [(said.what, said.text) for said in late.heard[1:]]
    assert [what for what, _ in came] == ["refused", "lost", "lost"]
    assert came[1:] == [("lost", "check"), ("lost", "end")]
    assert (f"not {token}" in came[0][1]) == taken, came[0]
    assert [event.code for event in looking.events(actor_id="late", op="ADD", outcome="refused")][-1:] == [
        "precondition-failed"
    ]


# --- the judge itself ---------------------------------------------------------------------------------
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def told(story: str) -> list[Event]:
    """`1 ACQUIRE a`, `2 WAIT b`, `3 RELEASE a 1` … as events; the index is the first number, a token the last."""
    found = []
    for line in story.split(", "):
        index, op, owner, *token = line.split()
        event = Event(
            index=int(index),
            seq=0,
            term=1,
            time=WHEN,
            op=f"LOCK_{op}",
            actor=Actor("agent", "a"),
            outcome="applied",
            lock="l",
            owner=owner,
            token=int(index) if op in ("ACQUIRE", "GRANT") else int(token[0]) if token else None,
        )
        found.append(event)
    return found


@pytest.mark.parametrize(
    ("story", "complaint"),
    [
        ("1 ACQUIRE a, 2 ACQUIRE b", "a holds it with 1"),
        ("1 ACQUIRE a, 2 WAIT b, 3 GRANT b", "a holds it with 1"),
        ("1 ACQUIRE a, 2 WAIT b, 3 WAIT c, 4 WAIT b, 5 RELEASE a 1, 5 GRANT c", "not the first of"),
        ("1 ACQUIRE a, 2 WAIT b, 3 LEAVE b, 4 RELEASE a 1, 4 GRANT b", "not the first of"),
        ("1 ACQUIRE a, 2 WAIT b, 3 EXPIRE a 1, 4 ACQUIRE c", "wait, and it goes to another"),
        ("1 ACQUIRE a, 2 RELEASE a 1, 3 RENEW a 1", "renewed, and 0 is in force"),
        ("1 ACQUIRE a, 2 EXPIRE a 1, 3 ACQUIRE b, 4 RELEASE a 1", "ended, and 3 is in force"),
    ],
)
def test_history_that_breaks_a_rule_is_found(story: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        mutex_history(told(story))


def test_history_that_keeps_the_rules_is_passed() -> None:
    waits = "1 ACQUIRE a, 2 WAIT b, 3 WAIT c, 4 WAIT d, 5 WAIT b, 6 RENEW a 1"
    ends = "7 LEAVE c, 8 EXPIRE a 1, 8 GRANT b, 9 EXPIRE d, 10 RELEASE b 8, 11 ACQUIRE a"
    history = mutex_history(told(f"{waits}, {ends}"))
    assert (history.granted, history.served, history.expired) == ({1: "a", 8: "b", 11: "a"}, 1, [1])
