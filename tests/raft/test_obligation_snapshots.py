"""Obligation whole-snapshots: what a compacted log answers, and how a snapshot reaches a follower whole or never."""

import pytest
from raft_world import (
    HERE,
    NAMES,
    OTHER,
    PEER,
    TIMING,
    Bench,
    FakeSnapshots,
    Solo,
    TermLog,
    body,
    entries,
    snapshot_of,
    store_of,
    wire,
)

from jepsen_like.simulator.life import first_entry
from raftmem.raft import messages as m
from raftmem.raft import rules
from raftmem.storage.log.contract import Compact

MEMBERS = first_entry(NAMES, TIMING)


class Compacted(TermLog):
    """`Compacted(3, 1, 2, 2)` begins at index 3."""

    def __init__(self, first_index: int, *terms: int) -> None:
        super().__init__(*terms)
        self.first_index = first_index

    @property
    def last_index(self) -> int:
        return self.first_index + len(self._terms) - 1

    def term_at(self, index: int) -> int | None:
        return self._terms[index - self.first_index] if self.first_index <= index <= self.last_index else None


# --- a log that begins above 1 -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("prev", "prev_term", "sent", "kept", "added", "verified"),
    [
        (1, 0, (1, 2, 2, 2), 4, 1, 5),  # begins below the log, ends above it
        (1, 0, (1,), 3, 0, 3),  # lies below the log: that is committed, so it agrees
        (3, 2, (2, 2), 4, 1, 5),
        (2, 1, (), 3, 0, 3),
    ],
)
def test_an_append_from_below_the_log_is_taken_from_its_first_entry_on(
    prev: int, prev_term: int, sent: tuple[int, ...], kept: int, added: int, verified: int
) -> None:
    log = Compacted(3, 2, 2)
    verdict = rules.judge_append(log, m.Append(3, 1, prev, prev_term, 9, wire(*sent, start=prev + 1)), floor=3)
    assert isinstance(verdict, rules.Accepted)
    assert (verdict.kept, len(verdict.entries), verdict.verified) == (kept, added, verified)
    assert verdict.commit == verified


def test_an_append_with_another_first_entry_is_refused() -> None:
    with pytest.raises(rules.UntrustedClaim, match="with an entry of term 2"):
        rules.judge_append(Compacted(3, 2, 2), m.Append(3, 1, 1, 0, 9, wire(1, 1, start=2)), floor=3)


def test_a_refusal_from_below_the_leaders_log_leads_to_a_snapshot() -> None:
    leader = Compacted(5, 3, 3)
    following = rules.next_after_reject(leader, m.Reject(3, 5, 2, 1), match=0, following=6)
    assert following <= leader.first_index


def test_a_refusal_that_disagrees_with_the_leaders_first_entry_leads_to_a_snapshot() -> None:
    leader = Compacted(5, 3, 3)
    assert rules.next_after_reject(leader, m.Reject(3, 5, 5, 2), match=0, following=6) <= leader.first_index


# --- the journal ---------------------------------------------------------------------------------------
def test_a_compacted_journal_keeps_its_first_entry_and_what_follows() -> None:
    bench = Bench(store_of((1, 1, 2, 2), term=2))
    bench.journal.compact(4)
    bench.sync()
    assert [bench.journal.term_at(index) for index in range(3, 6)] == [None, 2, 2]
    assert [bench.journal.entry(4), bench.journal.entry(5)] == list(entries(1, 1, 2, 2)[2:])
    assert bench.journal.membership_at(4) == MEMBERS


def test_a_journal_is_not_compacted_beyond_its_disk() -> None:
    bench = Bench(store_of((1,), term=1))
    bench.journal.append(entries(1, start=3)[0])
    with pytest.raises(ValueError, match="cannot compact"):
        bench.journal.compact(3)


def test_a_reset_is_not_durable_before_its_own_sync() -> None:
    bench = Bench(store_of((1, 1, 1), term=1))
    bench.journal.append(entries(1, start=5)[0])
    finish = bench.begin_sync()  # of entry 5
    bench.journal.reset(entries(3, start=4)[0], MEMBERS)
    assert bench.journal.durable_index < 4
    finish()
    assert (bench.journal.first_index, bench.journal.last_index, bench.journal.durable_index) == (4, 4, 4)


def test_a_sync_begun_before_a_reset_does_not_raise_the_durable_index_to_it() -> None:
    bench = Bench(store_of((1, 1, 1, 1, 1), term=1))
    bench.journal.append(entries(1, start=7)[0])
    bench.world.run(0)  # the append is under way
    bench.journal.reset(entries(3, start=4)[0], MEMBERS)
    bench.machine.release_syncs()
    bench.world.run(0.0015)  # the first group ends, the second does not
    assert bench.journal.durable_index < 4


# --- the follower ----------------------------------------------------------------------------------------
def offered(snapshots: FakeSnapshots, *, terms: tuple[int, ...] = (1,), applied: int = 1) -> Solo:
    return Solo(store_of(terms, term=3), snapshots=snapshots, applied=applied)


def test_an_offer_is_answered_with_what_is_here_and_claims_nothing() -> None:
    solo = offered(FakeSnapshots())
    said = solo.give(PEER, m.Chunk(3, 1, snapshot_of(9, 2), 0, b""))
    assert [type(one) for one in said] == [m.Echo, m.ChunkReply]
    assert said[1] == m.ChunkReply(3, 9, bytes(32), 0)


def test_a_snapshot_is_installed_when_its_last_byte_is_here_and_claimed_no_further_than_its_index() -> None:
    snapshots = FakeSnapshots()
    solo = offered(snapshots, terms=(1, 1, 1))
    meta = snapshot_of(9, 2, size=30)
    solo.give(PEER, m.Chunk(3, 1, meta, 0, b""))
    solo.give(PEER, m.Chunk(3, 0, meta, 0, bytes(20)))
    assert not snapshots.installed
    solo.give(PEER, m.Chunk(3, 0, meta, 20, bytes(10)))
    assert not snapshots.installed  # its log is not on disk yet
    solo.run()
    assert snapshots.installed == [meta]
    assert solo.heard(m.Accept) == [m.Accept(3, 9)]
    assert (solo.consensus.applied, solo.consensus.commit_index, solo.store.first_index()) == (9, 9, 9)
    solo.give(PEER, m.Append(3, 2, 9, 2, 10, wire(3, start=10)))
    solo.run()
    assert [entry.index for entry in solo.applied] == [10]


def test_a_chunk_that_does_not_begin_where_the_last_one_ended_is_not_written() -> None:
    snapshots = FakeSnapshots()
    solo = offered(snapshots)
    meta = snapshot_of(9, 2, size=30)
    solo.give(PEER, m.Chunk(3, 0, meta, 0, b""))
    said = solo.give(PEER, m.Chunk(3, 0, meta, 20, bytes(10)))
    assert said == [m.ChunkReply(3, 9, bytes(32), 0)]
    assert "write 20" not in snapshots.asked


def test_a_snapshot_that_is_not_sound_is_not_acknowledged() -> None:
    snapshots = FakeSnapshots()
    snapshots.sound = False
    solo = offered(snapshots)
    meta = snapshot_of(9, 2, size=30)
    solo.give(PEER, m.Chunk(3, 0, meta, 0, b""))
    solo.give(PEER, m.Chunk(3, 0, meta, 0, bytes(30)))
    solo.run()
    assert not solo.heard(m.Accept)
    assert not snapshots.installed
    assert solo.consensus.journal.last_index == 2


def test_a_log_that_holds_the_last_entry_of_a_snapshot_is_kept() -> None:
    snapshots = FakeSnapshots()
    solo = offered(snapshots, terms=(1, 1, 2, 3))
    said = solo.give(PEER, m.Chunk(3, 0, snapshot_of(4, 2), 0, b""))
    assert said == [m.Accept(3, 4)]
    assert snapshots.asked == []
    assert solo.consensus.journal.last_index == 5


def test_a_commit_index_beyond_a_snapshot_is_claimed_instead_of_it() -> None:
    snapshots = FakeSnapshots()
    solo = offered(snapshots, terms=(1, 1, 1, 1), applied=4)
    said = solo.give(PEER, m.Chunk(3, 0, snapshot_of(3, 1), 0, b""))
    assert said == [m.Accept(3, 4)]


def test_a_log_that_caught_up_while_a_state_was_prepared_is_kept() -> None:
    snapshots = FakeSnapshots()
    prepared = []
    snapshots.prepare = lambda _meta, done: prepared.append(done)  # type: ignore[method-assign]  # held by the test
    solo = offered(snapshots, terms=(1,))
    meta = snapshot_of(4, 2, size=30)
    solo.give(PEER, m.Chunk(3, 0, meta, 0, b""))
    solo.give(PEER, m.Chunk(3, 0, meta, 0, bytes(30)))
    solo.give(PEER, m.Append(3, 1, 2, 1, 4, wire(1, 2, start=3)))
    solo.run()
    prepared[0](True)
    solo.run()
    assert snapshots.asked[-1] == "discard"
    assert not snapshots.installed
    assert solo.consensus.journal.first_index == 1


# --- the leader --------------------------------------------------------------------------------------------
def leading_above_three() -> tuple[Solo, FakeSnapshots]:
    """n1 leads; its log begins at 4, a snapshot of index 5 is there, n2 has everything and n3 nothing."""
    snapshots = FakeSnapshots()
    snapshots.listed = [snapshot_of(5, 1, size=2_500_000)]
    store = store_of((1, 1, 1, 1, 1), term=1)
    store.commit([Compact(4, MEMBERS)])
    solo = Solo(store, snapshots=snapshots, applied=5)
    solo.lead_with_lease()
    solo.forget()
    solo.give(OTHER, m.Reject(solo.consensus.term, 6, 1, 0))
    return solo, snapshots


def chunks(solo: Solo) -> list[tuple[int, int]]:
    return [(said.offset, len(said.data)) for to, said in solo.said if to == OTHER and isinstance(said, m.Chunk)]


def test_a_follower_below_the_log_is_offered_a_snapshot_and_sent_a_chunk_an_answer() -> None:
    solo, snapshots = leading_above_three()
    term, meta = solo.consensus.term, snapshots.listed[0]
    assert chunks(solo)[0] == (0, 0)
    solo.forget()
    solo.give(OTHER, m.ChunkReply(term, 5, meta.checksum, 0))
    assert chunks(solo) == [(0, 1 << 20)]
    solo.give(OTHER, m.ChunkReply(term, 5, meta.checksum, 0))  # of a heartbeat's offer: that chunk is under way
    assert chunks(solo) == [(0, 1 << 20)]
    solo.give(OTHER, m.ChunkReply(term, 5, meta.checksum, 1 << 20))
    assert chunks(solo)[-1] == (1 << 20, 1 << 20)
    solo.give(OTHER, m.Accept(term, 5))
    appends = [said for to, said in solo.said if to == OTHER and isinstance(said, m.Append) and said.entries]
    assert appends[0].prev_index == 5


def test_a_snapshot_is_resumed_where_the_follower_says() -> None:
    solo, snapshots = leading_above_three()
    solo.consensus.disconnected(OTHER)
    solo.consensus.connected(OTHER)
    solo.forget()
    solo.give(OTHER, m.ChunkReply(solo.consensus.term, 5, snapshots.listed[0].checksum, 2_000_000))
    assert chunks(solo) == [(2_000_000, 500_000)]


def test_a_snapshot_that_is_begun_anew_after_its_last_byte_is_doubted_and_the_newest_sent() -> None:
    solo, snapshots = leading_above_three()
    term, meta = solo.consensus.term, snapshots.listed[0]
    for received in (0, 1 << 20, 2 << 20):
        solo.give(OTHER, m.ChunkReply(term, 5, meta.checksum, received))
    snapshots.listed.insert(0, snapshot_of(6, 1))
    solo.forget()
    solo.give(OTHER, m.ChunkReply(term, 5, meta.checksum, 0))
    assert snapshots.asked[-1] == "doubt 5"
    solo.run(0.2)
    assert next(said.meta.index for to, said in solo.said if to == OTHER and isinstance(said, m.Chunk)) == 6


def test_nothing_is_claimed_while_a_reset_is_on_its_way() -> None:
    snapshots = FakeSnapshots()
    solo = offered(snapshots, terms=(1, 1, 1))
    meta = snapshot_of(9, 2, size=30)
    solo.machine.hold_syncs = True
    solo.give(PEER, m.Chunk(3, 0, meta, 0, b""))
    solo.give(PEER, m.Chunk(3, 0, meta, 0, bytes(30)))
    solo.give(PEER, m.Append(3, 1, 9, 2, 10, wire(3, start=10)))
    solo.run()
    assert not solo.heard(m.Accept)
    solo.machine.release_syncs()
    solo.run()
    assert m.Accept(3, 10) in solo.heard(m.Accept)


def test_an_answer_for_another_snapshot_moves_nothing() -> None:
    solo, _ = leading_above_three()
    solo.forget()
    solo.give(OTHER, m.ChunkReply(solo.consensus.term, 5, b"x" * 32, 0))
    assert chunks(solo) == []


def test_the_log_is_not_compacted_past_a_snapshot_in_transfer() -> None:
    solo, snapshots = leading_above_three()
    snapshots.listed.insert(0, snapshot_of(7, 2))
    solo.consensus.propose(body(1))
    solo.give(PEER, m.Accept(solo.consensus.term, 8))
    solo.run()
    assert solo.consensus.applied == 8
    solo.consensus.compact(7)
    solo.run()
    assert solo.store.first_index() == 5
    solo.give(OTHER, m.Accept(solo.consensus.term, 8))
    solo.consensus.compact(7)
    solo.run()
    assert solo.store.first_index() == 7


@pytest.mark.parametrize(("covered", "expected"), [(None, 1), (3, 3), (9, 4)])
def test_the_log_is_compacted_only_as_far_as_a_snapshot_covers_what_is_applied(
    covered: int | None, expected: int
) -> None:
    snapshots = FakeSnapshots()
    snapshots.listed = [] if covered is None else [snapshot_of(covered, 1)]
    solo = Solo(store_of((1, 1, 1, 1), term=1), snapshots=snapshots, applied=4)
    solo.consensus.compact(99)
    solo.run()
    assert solo.store.first_index() == expected
    assert solo.consensus.node_id == HERE
