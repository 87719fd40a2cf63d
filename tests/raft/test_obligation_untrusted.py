"""Obligation untrusted-messages: what a peer says is never an assertion, and raises the term by a bound at most."""

import pytest
from msgspec.structs import replace
from raft_world import OTHER, PEER, FakeSnapshots, Solo, data, snapshot_of, store_of, wire

from raftmem.limits import TERM_AHEAD_MAX, TERM_AHEAD_VOTER_MAX
from raftmem.model import codec
from raftmem.model.commands import Actor
from raftmem.raft import messages as m
from raftmem.raft.forwarding import NOWHERE
from raftmem.storage.log.contract import LogEntry

STRANGER = "n9"
HUGE = 2**62


def _of_term(term: int) -> list[m.Message]:
    """Every message that has a term and may be believed."""
    return [
        m.Append(term, 1, 1, 0, 1, ()),
        m.Refuse(term),
        m.Echo(term, 1, 1),
        m.Accept(term, 1),
        m.Reject(term, 1, 1, 0),
        m.PreVoteReply(term, 1, True),
        m.Vote(term, 9, term, True),
        m.VoteReply(term, True),
        m.Chunk(term, 1, snapshot_of(5, 1), 0, b""),
        m.ChunkReply(term, 5, bytes(32), 0),
    ]


@pytest.mark.parametrize("leads", [False, True])
@pytest.mark.parametrize("message", _of_term(HUGE), ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("peer", [PEER, STRANGER])
def test_term_beyond_the_bound_is_refused_whoever_says_it(peer: str, message: m.Message, leads: bool) -> None:
    solo = Solo()
    term = solo.lead() if leads else solo.consensus.term
    solo.give_refused(peer, message)
    assert (solo.consensus.term, solo.consensus.is_leader, solo.stopped_by) == (term, leads, None)


@pytest.mark.parametrize("message", _of_term(7), ids=lambda message: type(message).__name__)
def test_leader_goes_on_leading_whatever_a_replica_that_is_no_voter_says(message: m.Message) -> None:
    solo = Solo()
    term = solo.lead()
    solo.consensus.receive(STRANGER, m.encode(message))
    solo.run()
    assert (solo.consensus.term, solo.consensus.is_leader, solo.stopped_by) == (term, True, None)


@pytest.mark.parametrize("peer", [PEER, STRANGER])
def test_empty_append_in_the_leaders_own_term_is_refused_and_it_goes_on_leading(peer: str) -> None:
    solo = Solo()
    term = solo.lead()
    solo.give_refused(peer, m.Append(term, 1, 1, 0, 1, ()))
    solo.give_refused(peer, m.Chunk(term, 1, snapshot_of(5, 1), 0, b""))
    assert (solo.consensus.term, solo.consensus.is_leader, solo.stopped_by) == (term, True, None)


def test_second_leader_of_a_term_is_refused_by_a_follower() -> None:
    solo = Solo(store_of((), term=5))
    solo.give(PEER, m.Append(5, 1, 1, 0, 1, ()))
    solo.give_refused(OTHER, m.Append(5, 1, 1, 0, 1, ()))
    assert (solo.consensus.leader, solo.stopped_by) == (PEER, None)


@pytest.mark.parametrize(("peer", "bound"), [(PEER, TERM_AHEAD_VOTER_MAX), (STRANGER, TERM_AHEAD_MAX)])
def test_term_is_raised_up_to_the_bound_and_no_further(peer: str, bound: int) -> None:
    solo = Solo(store_of((), term=1))
    solo.give_refused(peer, m.Refuse(1 + bound + 1))
    solo.give(peer, m.Refuse(1 + bound))
    assert (solo.consensus.term, solo.stopped_by) == (1 + bound, None)


def test_replica_that_knows_no_voter_yet_takes_the_term_of_its_group() -> None:
    solo = Solo(store_of(voters=()), applied=0, connected=False)
    solo.give(PEER, m.Append(TERM_AHEAD_MAX + 5, 1, 0, 0, 0, ()))
    assert (solo.consensus.term, solo.consensus.leader) == (TERM_AHEAD_MAX + 5, PEER)


BAD_MEMBERSHIP = bytes([codec.MEMBERSHIP]) + data(1)[1:]


@pytest.mark.parametrize(
    "append",
    [
        pytest.param(m.Append(3, 1, 1, 0, 1, wire(2, 1)), id="terms fall"),
        pytest.param(m.Append(3, 1, 1, 0, 1, wire(4)), id="a term above the leader's"),
        pytest.param(m.Append(3, 1, 1, 2, 1, wire(1)), id="a term below the entry before"),
        pytest.param(m.Append(3, 1, 1, 0, 1, ((1, b"\x09" + data(1)[1:]),)), id="an unknown kind"),
        pytest.param(m.Append(3, 1, 1, 0, 1, ((1, BAD_MEMBERSHIP),)), id="a membership that is none"),
    ],
)
def test_entries_that_no_log_can_hold_are_refused(append: m.Append) -> None:
    solo = Solo(store_of((), term=3))
    solo.give_refused(PEER, append)
    solo.run(0.5)
    assert (solo.consensus.journal.last_index, solo.stopped_by) == (1, None)


@pytest.mark.parametrize(
    "change",
    [
        {"index": -1},
        {"index": 0},
        {"size": 0},
        {"term": 9},
        {"term": -1},
        {"checksum": b""},
        {"digest": b""},
        {"entry": b"x"},
        {"members": LogEntry(1, 0, data(1))},
        {"members": LogEntry(9, 0, store_of().read(1, 2)[0].data)},
        {"members": LogEntry(1, 0, BAD_MEMBERSHIP)},
    ],
)
def test_snapshot_that_no_log_can_go_on_from_is_refused_before_its_bytes_come(change: dict[str, object]) -> None:
    snapshots = FakeSnapshots()
    solo = Solo(store_of((), term=3), snapshots=snapshots)
    solo.give_refused(PEER, m.Chunk(3, 1, replace(snapshot_of(5, 1), **change), 0, b""))
    solo.run(0.5)
    assert (snapshots.asked, solo.stopped_by) == ([], None)


def test_leader_takes_no_command_and_no_change_from_a_replica_that_is_no_member() -> None:
    solo = Solo()
    solo.lead_with_lease()
    last = solo.consensus.journal.last_index
    change = m.change(8, "remove", solo.consensus.members.voters[1], Actor("user", "mallory"), "r")
    for number, asked in ((7, m.Forward(7, data(1)[codec.PREFIX_BYTES :])), (8, change)):
        (answer,) = solo.give(STRANGER, asked)
        assert isinstance(answer, m.Forwarded)
        assert (answer.id, answer.index, answer.term, answer.code) == (number, *NOWHERE, "no-leader")
    assert solo.consensus.journal.last_index == last


def test_refusal_with_a_made_up_hint_is_answered_without_reading_the_whole_log() -> None:
    terms = [1] * 4000
    solo = Solo(store_of(terms, term=1), applied=1)
    term = solo.lead()
    read: list[int] = []
    journal = solo.consensus.journal
    of = journal.term_at
    journal.term_at = lambda index: (read.append(index), of(index))[1]  # type: ignore[method-assign]  # counts
    assert solo.consensus.leading is not None
    following = solo.consensus.leading.progress[PEER].following
    solo.give(PEER, m.Reject(term, following - 1, following - 1, 0))
    assert solo.consensus.leading.progress[PEER].following == 2
    assert len(read) < 100
