"""Three and five replicas on a virtual clock: elections, replication, partitions, crashes, a long way to catch up."""

import pytest
from raft_world import NAMES

from jepsen_like.simulator.group import Group, Replica
from raftmem.raft.consensus import Consensus
from raftmem.raft.interfaces import Timing
from raftmem.storage.log.contract import LogEntry

FIVE = ("n1", "n2", "n3", "n4", "n5")
TIMING = Timing(0.5, 0.05, 0.01)


def _group(append_bytes_max: int = 1 << 20) -> Group:
    group = Group(0, timing=TIMING, append_bytes_max=append_bytes_max)
    group.start()
    return group


def _consensus(replica: Replica) -> Consensus:
    assert replica.consensus is not None
    return replica.consensus


def _propose(group: Group, first: int, count: int) -> None:
    for number in range(first, first + count):
        assert group.propose(number)
        group.world.run(0.001)


def _followers(group: Group) -> list[Replica]:
    leader = group.leader()
    return [replica for replica in group.replicas.values() if replica is not leader]


def _logs(group: Group) -> list[list[LogEntry]]:
    return [replica.store.read(1, 1 << 30) for replica in group.replicas.values()]


@pytest.mark.parametrize("names", [("n1",), ("n1", "n2"), NAMES, FIVE])
def test_a_fresh_group_elects_one_leader_within_a_second_and_replicates(names: tuple[str, ...]) -> None:
    group = Group(1, names=names, timing=TIMING)
    group.start()
    began = group.world.now
    group.wait_leader()
    assert group.world.now - began < 1.0
    _propose(group, 0, 100)
    group.wait_equal()
    assert len(group.acked) == 100
    assert len({tuple((e.index, e.term, e.data) for e in log) for log in _logs(group)}) == 1


def test_a_quiet_group_keeps_its_leader() -> None:
    group = _group()
    leader = group.wait_leader()
    group.world.run(60.0)
    assert group.leader() is leader
    assert len(group.referee.leaders) == 1


def test_a_leader_that_crashes_is_replaced_within_two_timeouts_and_comes_back_as_follower() -> None:
    group = _group()
    old = group.wait_leader()
    _propose(group, 0, 50)
    group.world.run(0.1)
    old.crash()
    began = group.world.now
    new = group.wait_leader()
    assert new is not old
    assert group.world.now - began <= 2 * 2 * TIMING.election_timeout + 0.2
    _propose(group, 50, 50)
    old.start()
    group.wait_equal()
    assert len(group.acked) == 100
    assert group.leader() is new


def test_a_leader_that_is_cut_off_commits_nothing_and_its_entries_are_overwritten() -> None:
    group = _group()
    old = group.wait_leader()
    _propose(group, 0, 10)
    group.world.run(0.1)
    committed = _consensus(old).commit_index
    group.network.isolate(old.name)
    group.propose(666)
    group.propose(667)
    lost = group.proposed[666][0]
    group.world.run(0.3)
    assert (_consensus(old).journal.durable_index, _consensus(old).commit_index) == (lost + 1, committed)
    group.world.run(3.0)
    new = group.leader()
    assert new is not None
    assert new is not old
    assert not _consensus(old).is_leader
    assert _consensus(old).lease_index() is None
    _propose(group, 100, 5)
    group.world.run(0.2)
    group.network.heal()
    group.wait_equal()
    assert 666 not in group.acked
    assert 667 not in group.acked
    assert old.applied[lost - 1] == new.applied[lost - 1]
    assert all(entry.term != group.proposed[666][1] for entry in old.applied[lost - 1 :])


def test_a_follower_that_is_cut_off_does_not_disturb_the_group_when_it_returns() -> None:
    group = _group()
    leader = group.wait_leader()
    term = _consensus(leader).term
    away = _followers(group)[0]
    group.network.isolate(away.name)
    group.world.run(10.0)
    assert _consensus(away).term == term
    group.network.heal()
    group.world.run(2.0)
    assert (group.leader(), _consensus(leader).term) == (leader, term)


def test_a_leader_heard_by_one_follower_alone_stays_and_the_other_catches_up_later() -> None:
    group = _group()
    leader = group.wait_leader()
    cut = _followers(group)[0]
    group.network.cut(leader.name, cut.name)
    _propose(group, 0, 20)
    group.world.run(5.0)
    assert group.leader() is leader
    assert len(group.acked) == 20
    group.network.heal()
    group.wait_equal()


def test_all_at_once_restart_and_nothing_acknowledged_is_lost() -> None:
    group = _group()
    group.wait_leader()
    for life in range(5):
        _propose(group, 100 * life, 30)
        for replica in group.replicas.values():
            replica.crash()
        group.world.run(0.5)
        for replica in group.replicas.values():
            replica.start()
        group.wait_leader()
    group.wait_equal()
    applied = {entry.index: entry.term for entry in group.replicas["n1"].applied}
    assert group.acked
    assert all(applied[index] == group.proposed[number][1] for number, index in group.acked.items())


def test_a_majority_is_needed_and_enough() -> None:
    group = Group(2, names=FIVE, timing=TIMING)
    group.start()
    group.wait_leader()
    down = _followers(group)[:2]
    for replica in down:
        replica.crash()
    _propose(group, 0, 20)
    group.world.run(0.5)
    assert len(group.acked) == 20
    third = next(replica for replica in _followers(group) if replica.up)
    third.crash()
    group.propose(500)
    group.world.run(3.0)
    assert 500 not in group.acked
    for replica in (*down, third):
        replica.start()
    group.wait_leader()
    group.wait_equal()


def test_a_follower_far_behind_catches_up_in_small_appends() -> None:
    group = _group(append_bytes_max=40)
    leader = group.wait_leader()
    away = _followers(group)[0]
    away.crash()
    for number in range(5000):
        group.propose(number)
        if number % 50 == 0:
            group.world.run(0.01)
    assert group.world.run(30.0, lambda: _consensus(leader).commit_index > 5000)
    away.start()
    group.wait_equal(60.0)
    assert group.leader() is leader


def test_a_follower_with_a_long_tail_of_its_own_rejoins() -> None:
    """V8: every pipelined append conflicts with it."""
    group = _group(append_bytes_max=40)
    old = group.wait_leader()
    group.network.isolate(old.name)
    for number in range(300):
        assert group.propose(number)
    group.world.run(3.0)
    assert old.store.last_index() > 300
    _propose(group, 1000, 200)
    group.network.heal()
    group.wait_equal()
    assert set(group.acked) == set(range(1000, 1200))


def test_a_slow_disk_of_the_leader_costs_time_and_nothing_else() -> None:
    group = _group()
    leader = group.wait_leader()
    leader.machine.sync_seconds = 0.3
    _propose(group, 0, 100)
    group.world.run(2.0)
    assert group.leader() is leader
    assert len(group.acked) == 100


def test_a_leader_whose_disk_hangs_makes_way_and_no_write_is_lost() -> None:
    group = _group()
    leader = group.wait_leader()
    _propose(group, 0, 10)
    leader.machine.hold_syncs = True
    group.propose(666)
    group.world.run(3.0)
    assert group.wait_leader() is not leader
    _propose(group, 100, 10)
    leader.machine.release_syncs()
    group.wait_equal()
    assert {*range(10), *range(100, 110)} <= set(group.acked)


def test_a_command_given_to_a_follower_stands_once() -> None:
    group = _group()
    group.wait_leader()
    for number, replica in enumerate(_followers(group)):
        assert group.forward(number, replica)
    group.wait_equal()
    group.world.run(0.5)
    assert (group.answers, sorted(group.acked)) == ({0: 1, 1: 1}, [0, 1])
