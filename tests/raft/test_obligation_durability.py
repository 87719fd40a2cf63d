"""Obligations sync-before-promise, durable-commit, atomic-files, checked-files, apply-once."""

import errno

import pytest
from raft_world import HERE, NAMES, PEER, TIMING, Bench, CountingStore, Solo, body, data, entries, store_of, wire

from jepsen_like.simulator.life import first_entry
from raftmem.errors import Corrupt, NoSpace, StorageFailed
from raftmem.model import codec
from raftmem.model.commands import Member, Members
from raftmem.raft import messages as m
from raftmem.raft.log.durable_outbox import DurableOutbox
from raftmem.raft.pysyncobj_core import LEADER
from raftmem.storage.log.contract import Append, HardState, LogEntry, Truncate
from raftmem.storage.log.in_memory import InMemoryLogStore

NO_ROOM = OSError(errno.ENOSPC, "no room")


# --- sync-before-promise ----------------------------------------------------------------------------
def test_sync_before_promise_a_vote_leaves_when_it_is_on_disk() -> None:
    solo = Solo(store_of((1,), term=1))
    solo.run(1.1)  # over the time it keeps still after a start
    solo.forget()
    assert solo.give(PEER, m.Vote(5, 2, 1)) == []
    solo.run()
    assert solo.said == [(PEER, m.VoteReply(5, True))]
    assert solo.store.hard_state() == HardState(5, PEER)


def test_sync_before_promise_a_vote_is_not_asked_for_before_ones_own_is_on_disk() -> None:
    solo = Solo()
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    solo.give(PEER, m.PreVoteReply(0, 1, True))
    assert solo.heard(m.Vote) == []
    solo.run()
    assert solo.store.hard_state() == HardState(1, HERE)
    assert len(solo.heard(m.Vote)) == 2


def test_sync_before_promise_a_claim_waits_for_the_disk() -> None:
    solo = Solo(store_of((), term=1))
    said = solo.give(PEER, m.Append(1, 1, 1, 0, 1, wire(1, 1)))
    assert m.Accept(1, 3) not in said
    solo.run()
    assert (PEER, m.Accept(1, 3)) in solo.said
    assert solo.store.last_index() == 3


def test_sync_before_promise_a_lone_voter_tells_a_learner_nothing_before_its_vote_is_on_disk() -> None:
    store = store_of(voters=(HERE,))
    learner = Members("5f2a9c01", 1, (Member(HERE, "a", "b"),), 1000, 10_000, (Member(PEER, "c", "d"),))
    store.commit([Append((LogEntry(2, 0, codec.membership(learner, time=0, wall_ms=0)),))])
    solo = Solo(store, applied=2)
    solo.consensus.connected(PEER)
    solo.machine.hold_syncs = True
    solo.world.run(5.0)
    assert solo.consensus.is_leader
    assert solo.said == []
    solo.machine.release_syncs()
    solo.run()
    assert solo.heard(m.Append)


def test_sync_before_promise_a_held_answer_is_dropped_when_the_term_moves() -> None:
    bench = Bench(store_of())
    said: list[m.Message] = []
    promises = DurableOutbox(
        journal=bench.journal, current_term=lambda: bench.core.term, send=lambda _peer, message: said.append(message)
    )
    bench.core.adopt(3)
    promises.send(PEER, m.VoteReply(3, True))
    bench.core.adopt(4)
    promises.send(PEER, m.VoteReply(4, False))
    bench.sync()
    assert said == [m.VoteReply(4, False)]


def test_entries_that_come_together_are_kept_as_those_that_come_one_by_one() -> None:
    learner = Members("5f2a9c01", 1, (Member(HERE, "a", "b"),), 1000, 10_000, (Member(PEER, "c", "d"),))
    changed = LogEntry(4, 1, codec.membership(learner, time=7, wall_ms=0))
    run = (*entries(1, 1), changed, *entries(1, start=5))
    for come in (run, run[:2], run[:1]):
        together, apart = Bench(store_of(term=1)), Bench(store_of(term=1))
        together.journal.extend(come)
        for entry in come:
            apart.journal.append(entry)
        for one in (together, apart):
            assert one.journal.durable_index == 1, "nothing is on disk before the sync"
            one.sync()
            assert one.journal.durable_index == come[-1].index
            assert one.journal.read(2, 9) == list(come)
            assert one.journal.members_index == (4 if changed in come else 1)
        assert together.journal.last_time == apart.journal.last_time
        together.journal.truncate(come[-1].index)
        assert together.journal.durable_index == come[-1].index - 1


def test_entries_that_come_together_leave_no_gap() -> None:
    bench = Bench(store_of(term=1))
    for gap in (entries(1, 1, start=3), (*entries(1), *entries(1, start=4)), ()):
        if gap:
            with pytest.raises(ValueError, match="follow"):
                bench.journal.extend(gap)
        else:
            bench.journal.extend(gap)
        assert bench.journal.last_index == 1


# --- durable-commit ---------------------------------------------------------------------------------
def test_durable_commit_a_follower_commits_and_applies_no_further_than_its_disk() -> None:
    solo = Solo(store_of((), term=1))
    solo.machine.hold_syncs = True
    solo.give(PEER, m.Append(1, 1, 1, 0, 3, wire(1, 1)))
    solo.run(0.5)
    assert (solo.consensus.commit_index, solo.applied) == (1, [])
    solo.machine.release_syncs()
    solo.run()
    assert (solo.consensus.commit_index, [entry.index for entry in solo.applied]) == (3, [2, 3])


@pytest.mark.parametrize("voters", [("n1",), ("n1", "n2"), NAMES])
def test_durable_commit_a_leader_commits_no_further_than_its_disk(voters: tuple[str, ...]) -> None:
    bench = Bench(store_of(), voters=voters)
    bench.core.stand()
    if len(voters) > 1:
        bench.core.deliver_vote(PEER, term=1)
    assert bench.core.role == LEADER
    bench.core.advance(2)
    assert bench.core.commit_index == 1
    bench.sync()
    bench.core.advance(2)
    assert bench.core.commit_index == 2


def test_durable_commit_a_clamped_commit_obeys_the_rule_of_figure_8() -> None:
    """Index 2 is of an old term and stands on two disks; index 3, of this term, on one alone: nothing is committed.

    A replica with an entry of term 3 at index 2 could still win and overwrite it (Raft 5.4.2).
    """
    bench = Bench(store_of((2,), term=3))
    bench.core.stand()
    bench.core.deliver_vote(PEER, term=4)
    assert (bench.core.role, bench.journal.last_index, bench.journal.durable_index) == (LEADER, 3, 2)
    bench.core.advance(3)
    assert bench.core.commit_index == 1
    bench.sync()
    bench.core.advance(3)
    assert bench.core.commit_index == 3


def test_durable_commit_an_entry_of_an_old_term_is_not_counted() -> None:
    bench = Bench(store_of((2,), term=3))
    bench.core.stand()
    bench.core.deliver_vote(PEER, term=4)
    bench.sync()
    bench.core.advance(2)
    assert bench.core.commit_index == 1


def test_durable_commit_never_goes_back() -> None:
    bench = Bench(store_of((1, 1), term=1), applied=3)
    bench.core.raise_commit(2)
    assert bench.core.commit_index == 3


def test_durable_commit_a_leader_sends_entries_before_its_own_sync() -> None:
    solo = Solo()
    solo.lead_with_lease()
    solo.machine.hold_syncs = True
    solo.forget()
    index, term = solo.consensus.propose(body(1))
    solo.run(0.001)
    sent = [said for said in solo.heard(m.Append) if isinstance(said, m.Append) and said.entries]
    assert [(said.prev_index, said.term) for said in sent] == [(index - 1, term)]
    assert solo.store.last_index() == index - 1


# --- atomic-files -----------------------------------------------------------------------------------
def test_atomic_files_a_sync_begun_before_a_cut_cannot_raise_durable_above_the_cut() -> None:
    bench = Bench(store_of((1,), term=1))
    for entry in entries(1, 1, start=3):
        bench.journal.append(entry)
    finish = bench.begin_sync()  # of indexes 3 and 4
    bench.journal.truncate(3)
    bench.journal.append(LogEntry(3, 2, data(3)))
    bench.machine.hold_syncs = False
    reached: list[int] = []
    bench.journal.writer.when_durable(2, lambda: reached.append(bench.journal.durable_index))
    bench.journal.writer.when_durable(4, lambda: reached.append(bench.journal.durable_index))
    finish()
    assert reached == [2, 3]


def test_atomic_files_a_cut_lowers_durable_at_once() -> None:
    bench = Bench(store_of((1, 1, 1), term=1))
    assert bench.journal.durable_index == 4
    bench.journal.truncate(3)
    assert (bench.journal.durable_index, bench.journal.last_index) == (2, 2)
    bench.sync()
    assert bench.journal.durable_index == 2


def test_atomic_files_of_two_cuts_under_way_the_lower_holds() -> None:
    bench = Bench(store_of((1, 1, 1), term=1))
    bench.journal.truncate(4)
    bench.journal.append(LogEntry(4, 2, data(4)))
    finish = bench.begin_sync()
    bench.journal.truncate(3)
    bench.journal.append(LogEntry(3, 3, data(5)))
    bench.journal.append(LogEntry(4, 3, data(6)))
    seen: list[int] = []
    bench.journal.writer.when_durable(2, lambda: seen.append(bench.journal.durable_index))
    finish()
    assert (seen, bench.journal.durable_index) == ([2], 4)


def test_atomic_files_of_two_cuts_under_way_the_first_holds_when_it_is_the_lower() -> None:
    bench = Bench(store_of((1,), term=1))
    for entry in entries(1, 1, start=3):
        bench.journal.append(entry)
    finish = bench.begin_sync()
    bench.journal.truncate(3)
    for entry in entries(2, 2, start=3):
        bench.journal.append(entry)
    bench.journal.truncate(4)
    seen: list[int] = []
    bench.journal.writer.when_durable(2, lambda: seen.append(bench.journal.durable_index))
    finish()
    assert (seen, bench.journal.durable_index) == ([2], 3)


def test_atomic_files_one_queue_keeps_the_order_and_groups_what_waits() -> None:
    store = CountingStore()
    bench = Bench(store)
    bench.journal.set_hard_state(1, None)
    finish = bench.begin_sync()
    second, third = entries(1, 1)
    bench.journal.append(second)
    bench.journal.append(third)
    bench.journal.truncate(3)
    bench.journal.set_hard_state(2, PEER)
    finish()
    assert store.commits == [[HardState(1, None)], [Append((second, third)), Truncate(3), HardState(2, PEER)]]


def test_atomic_files_what_is_not_on_disk_is_read_from_memory_and_what_is_cut_is_gone() -> None:
    bench = Bench(store_of((1, 1), term=1))
    bench.journal.append(LogEntry(4, 2, data(4)))
    assert [entry.term for entry in bench.journal.read(1, 9)] == [0, 1]  # what the disk has alone
    assert [entry.term for entry in bench.journal.read(3, 9)] == [1, 2]
    bench.journal.truncate(3)
    assert (bench.journal.term_at(3), bench.journal.read(3, 9), bench.journal.last.index) == (None, [], 2)


@pytest.mark.parametrize("codes", [(errno.ENOSPC, errno.EDQUOT), (errno.EMFILE, errno.ENFILE)])
def test_atomic_files_a_shortage_is_tried_again_and_nothing_is_promised_meanwhile(codes: tuple[int, int]) -> None:
    store = CountingStore(*(OSError(code, "a shortage") for code in codes))
    bench = Bench(store)
    bench.machine.hold_syncs = False
    done: list[int] = []
    bench.journal.writer.when_durable(bench.journal.writer.queue(HardState(1, None)), lambda: done.append(1))
    bench.world.run(0.4)
    assert (done, bench.journal.writer.shortage is not None, len(store.commits)) == ([], True, 2)
    bench.world.run(0.4)
    assert (done, bench.journal.writer.shortage is not None, store.hard_state()) == ([1], False, HardState(1, None))
    assert bench.failed == []


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "fsync failed"), StorageFailed("fsync"), ValueError("odd")])
def test_atomic_files_a_failed_sync_stops_the_replica_and_is_never_retried(failure: Exception) -> None:
    store = CountingStore(failure)
    solo = Solo(store)
    solo.run(1.1)
    solo.give(PEER, m.Vote(1, 1, 0))
    solo.run(5.0)
    assert isinstance(solo.stopped_by, StorageFailed)
    assert (len(store.commits), solo.heard(m.VoteReply), solo.consensus.stopped) == (1, [], True)


def test_atomic_files_a_full_disk_says_so_to_writers_until_there_is_room_again() -> None:
    solo = Solo(voters=("n1",))
    solo.run(5.0)
    solo.store.bytes_max = 0
    solo.consensus.propose(body(1))
    solo.run(0.1)
    with pytest.raises(NoSpace):
        solo.consensus.propose(body(2))
    solo.store.bytes_max = None
    solo.run(1.0)
    index, _ = solo.consensus.propose(body(3))
    solo.run(0.1)
    assert solo.consensus.applied == index


# --- checked-files ----------------------------------------------------------------------------------
def test_checked_files_a_state_beyond_the_log_is_refused_at_open() -> None:
    with pytest.raises(Corrupt, match=r"holds 1\.\.2"):
        Solo(store_of((1,), term=1), applied=3)


def test_checked_files_an_entry_of_a_later_term_than_the_hard_state_is_refused_at_open() -> None:
    store = InMemoryLogStore()
    store.commit([HardState(1, None), Append((first_entry(NAMES, TIMING), *entries(2)))])
    with pytest.raises(Corrupt, match="term 2"):
        Bench(store)


# --- apply-once -------------------------------------------------------------------------------------
def test_apply_once_an_apply_that_raises_stops_the_replica() -> None:
    solo = Solo(store_of((), term=1))
    solo.apply_failures.append(KeyError("a defect"))
    solo.give(PEER, m.Append(1, 1, 1, 0, 2, wire(1)))
    solo.run(1.0)
    assert solo.stopped_by is not None
    assert "KeyError" in str(solo.stopped_by)
    assert (solo.applied, solo.consensus.applied) == ([], 1)


@pytest.mark.parametrize("shortage", [NO_ROOM, OSError(errno.EMFILE, "too many open files")])
def test_apply_once_a_shortage_pauses_and_goes_on_with_the_same_entries(shortage: OSError) -> None:
    solo = Solo(store_of((), term=1))
    solo.apply_failures.append(shortage)
    solo.give(PEER, m.Append(1, 1, 1, 0, 3, wire(1, 1)))
    solo.run(0.1)
    assert solo.consensus.applied == 1
    solo.run(0.4)
    assert ([entry.index for entry in solo.applied], solo.stopped_by) == ([2, 3], None)


def test_apply_once_a_restart_continues_behind_what_is_applied() -> None:
    solo = Solo(store_of((1, 1, 1), term=1), applied=3)
    solo.give(PEER, m.Append(1, 1, 4, 1, 4, ()))
    solo.run()
    assert [entry.index for entry in solo.applied] == [4]
