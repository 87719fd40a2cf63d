"""Leases while leaders are killed: who renews in time keeps its locks, and who died loses them soon all the same.

RAFTMEM_TEST_HOLDING_CLIENTS=20 RAFTMEM_TEST_HOLDS_EACH=50 RAFTMEM_TEST_LEADER_KILLS=15 is the full form: 1,000 holds of
clients that each renew their own by one heartbeat (4, 15, 3 if not set).
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_process import Program, programs

from jepsen_like.cluster.client import until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from raftmem.client import Event, RaftmemClient

CLIENTS = int(os.environ.get("RAFTMEM_TEST_HOLDING_CLIENTS", "4"))
EACH = int(os.environ.get("RAFTMEM_TEST_HOLDS_EACH", "15"))
KILLS = int(os.environ.get("RAFTMEM_TEST_LEADER_KILLS", "3"))
KILL_EVERY_S = 2.0
TTL_S = 6.0  # of those who renew: some elections may come between
DYING_TTL_S = 3.0  # of those who die: several leaders come and go meanwhile
SOON_S = 5.0  # an election or two, on a loaded machine
CLOCKS = 0.02  # by which the wall clock and log time may differ


@pytest.fixture
def quick_group(tmp_path: Path) -> Iterator[LoopbackGroup]:
    """It elects quickly."""
    with new_group(tmp_path, extra="election_timeout_ms = 500\nheartbeat_ms = 50") as group:
        yield group


def kill_the_leader(group: LoopbackGroup, dying: Program) -> float:
    """A holder is killed, then the leader, before any of its holds can have run out; seconds without a leader."""
    leader = group.leader()
    dying.kill()
    leader.kill()
    began = time.monotonic()
    group.leader(but=leader)
    without = time.monotonic() - began
    leader.start()
    group.wait_ready([leader])
    until(lambda: time.monotonic() > began + KILL_EVERY_S, what="it is time for the next one")
    return without


@pytest.mark.slow
def test_who_renews_keeps_its_locks_and_who_died_loses_them_though_leaders_are_killed(
    quick_group: LoopbackGroup,
) -> None:
    with RaftmemClient(quick_group.urls, actor="agent/tester") as looking, programs(quick_group) as clients:
        keeping = [clients.begin("holder", f"kept/{number}", EACH, TTL_S) for number in range(CLIENTS)]
        dying = [clients.begin("holder", f"dying/{number}", 2, DYING_TTL_S) for number in range(KILLS)]
        for one in clients.begun:
            one.wait_said("holding")
        first = looking.cluster().commit_index
        without = [kill_the_leader(quick_group, one) for one in dying]
        last = looking.cluster().commit_index

        def all_expired() -> bool:
            return not looking.locks.list(prefix="dying/").all()

        until(all_expired, what="what the dead held has expired")
        for one in keeping:
            one.tell("end")
        codes = [one.ended() for one in keeping]
        log = [event for event in looking.events(page_size=1000) if event.lock is not None and event.applied]

    kept = [said for one in keeping for said in one.said("kept")]
    assert [said for one in keeping for said in one.said("lost")] == []
    assert len(kept) == CLIENTS * EACH
    by_token: dict[tuple[str | None, int | None], list[Event]] = {}
    for event in log:
        by_token.setdefault((event.lock, event.token), []).append(event)
    for said in kept:
        *renewals, end = by_token[said.text, said.token]
        assert end.op == "LOCK_RELEASE", by_token[said.text, said.token]
        assert len([event for event in renewals if first < event.index <= last]) >= 2 * KILLS * KILL_EVERY_S // TTL_S

    assert codes == [0] * CLIENTS
    took, outlived = list[float](), 0
    for one in dying:
        for said in one.said("held"):
            *_, renewed, end = by_token[said.text, said.token]
            assert end.op == "LOCK_EXPIRE"
            outlived += end.term > renewed.term
            took.append((end.time - renewed.time).total_seconds())
    assert len(took) == 2 * KILLS
    assert outlived  # leaders that saw the last renewal
    print(
        f"{len(kept)} holds kept through {KILLS} leaders, without one for {max(without):.2f} s at most; of the dead "
        f"after {min(took):.2f} to {max(took):.2f} s of {DYING_TTL_S}; {len(log)} events"
    )
    assert min(took) > DYING_TTL_S * (1 - CLOCKS)
    assert max(took) < DYING_TTL_S + SOON_S
