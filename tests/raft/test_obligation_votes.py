"""Obligations vote-set, pre-vote, stickiness, learn-terms, check-quorum."""

import pytest
from raft_world import HERE, NAMES, OTHER, PEER, TIMING, Solo, TermLog, body, store_of, wire

from jepsen_like.simulator.world import VirtualMachine, World
from raftmem.raft import messages as m
from raftmem.raft import rules
from raftmem.raft.election.timer import ElectionTimer
from raftmem.storage.log.contract import HardState

FIVE = ("n1", "n2", "n3", "n4", "n5")


def _election(voters: tuple[str, ...] = NAMES) -> ElectionTimer:
    machine = VirtualMachine(World(0))
    return ElectionTimer(self_id=HERE, voters=voters, clock=machine, randomness=machine, timeout=1.0, fresh=False)


def _rested(**log: int) -> Solo:
    """A follower that has kept still long enough after its start to vote."""
    solo = Solo(store_of((1,), term=log.get("term", 1)))
    solo.run(1.001)
    solo.forget()
    return solo


# --- when to stand --------------------------------------------------------------------------------------
def test_who_lost_the_connection_with_its_leader_stands_soon_but_not_before_the_others_may_vote() -> None:
    for share, stands in ((0.0, 1.0), (0.5, 1.225), (0.999, 1.34975)):
        lost, kept = _heard(share), _heard(share)
        lost[1].lost(PEER, leader=PEER)
        _advance(lost, stands - 0.001)
        assert not lost[1].is_due()
        _advance(lost, 0.002)
        assert lost[1].is_due()
        _advance(kept, 1.0 + share - 0.001)
        assert not kept[1].is_due(), "a connection that holds changes nothing"


def test_a_leader_that_is_heard_again_is_not_given_up() -> None:
    world, election = _heard(0.9)
    election.lost(PEER, leader=PEER)
    _advance((world, election), 1.2)
    election.heard_leader()
    _advance((world, election), 1.8)
    assert not election.is_due()


def test_who_heard_no_leader_since_its_start_has_none_to_lose() -> None:
    world = World(0)
    machine = VirtualMachine(world)
    election = ElectionTimer(
        self_id=HERE, voters=NAMES, clock=machine, randomness=_Fixed(0.9), timeout=1.0, fresh=False
    )
    election.lost(PEER, leader=PEER)
    _advance((world, election), 1.8)
    assert not election.is_due()


def test_only_the_leaders_connection_counts() -> None:
    def asks_after(gone: str | None) -> float:
        solo = Solo(store_of((1,), term=1))
        solo.give(PEER, m.Append(1, 1, 2, 1, 1, ()))
        heard = solo.world.now
        if gone is not None:
            solo.consensus.disconnected(gone)
        solo.world.run(3.0, lambda: bool(solo.heard(m.PreVote)))
        assert solo.heard(m.PreVote)
        return solo.world.now - heard

    assert asks_after(OTHER) == asks_after(None) > 1.4 > asks_after(PEER)


class _Fixed:
    def __init__(self, share: float) -> None:
        self._share = share

    def random(self) -> float:
        return self._share

    def bytes(self, count: int) -> bytes:
        return b"\0" * count


def _heard(share: float) -> tuple[World, ElectionTimer]:
    """A replica that has just heard its leader, and draws this share."""
    world = World(0)
    machine = VirtualMachine(world)
    election = ElectionTimer(
        self_id=HERE, voters=NAMES, clock=machine, randomness=_Fixed(share), timeout=1.0, fresh=False
    )
    election.heard_leader()
    return world, election


def _advance(one: tuple[World, ElectionTimer], seconds: float) -> None:
    one[0].run(seconds)


# --- vote-set ------------------------------------------------------------------------------------------
def test_vote_set_counts_each_voter_once_and_no_stranger() -> None:
    election = _election(FIVE)
    election.stand()
    counted = [election.first_vote_of(voter) for voter in ("n2", "n2", "n9", HERE, "n3")]
    assert counted == [True, False, False, False, True]


def test_vote_set_a_pre_vote_counts_each_voter_once_and_no_stranger() -> None:
    election = _election(FIVE)
    assert not election.ask(4)
    assert [election.would_vote(voter, 4) for voter in ("n2", "n2", "n9", HERE)] == [False] * 4
    assert not election.would_vote("n3", 3)
    assert [election.would_vote("n3", 4), election.would_vote("n4", 4)] == [True, False]


def test_vote_set_a_doubled_vote_does_not_elect() -> None:
    solo = Solo(voters=FIVE)
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    for peer in (PEER, OTHER):
        solo.give(peer, m.PreVoteReply(0, 1, True))
    solo.run()
    for _ in range(4):
        solo.give(PEER, m.VoteReply(1, True))
    assert not solo.consensus.is_leader
    solo.give(OTHER, m.VoteReply(1, True))
    assert solo.consensus.is_leader


def test_vote_set_a_vote_of_who_is_no_voter_does_not_count() -> None:
    solo = Solo()
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    for stranger in ("n8", "n9"):
        solo.give(stranger, m.PreVoteReply(0, 1, True))
    assert not solo.heard(m.Vote)
    solo.give(PEER, m.PreVoteReply(0, 1, True))
    solo.run()
    assert solo.heard(m.Vote)
    for stranger in ("n8", "n9"):
        solo.give(stranger, m.VoteReply(1, True))
    assert not solo.consensus.is_leader
    solo.give(PEER, m.VoteReply(1, True))
    assert solo.consensus.is_leader


def test_vote_set_a_claim_of_who_is_no_voter_does_not_count() -> None:
    solo = Solo()
    term = solo.lead()
    last = solo.consensus.journal.last_index
    solo.give("n8", m.Accept(term, last))
    solo.run()
    assert solo.consensus.commit_index == 1
    solo.give(PEER, m.Accept(term, last))
    solo.run()
    assert solo.consensus.commit_index == last


def test_vote_set_a_vote_of_an_earlier_candidacy_does_not_count() -> None:
    solo = Solo()
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    solo.give(PEER, m.PreVoteReply(0, 1, True))
    solo.forget()
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    solo.give(PEER, m.VoteReply(1, True))
    assert not solo.consensus.is_leader
    question = solo.heard(m.PreVote)[-1]
    assert isinstance(question, m.PreVote)
    solo.give(PEER, m.PreVoteReply(1, question.term, True))
    solo.run()
    solo.give(PEER, m.VoteReply(1, True))
    assert not solo.consensus.is_leader
    solo.give(PEER, m.VoteReply(2, True))
    assert solo.consensus.is_leader


def test_vote_set_a_candidacy_that_was_given_up_asks_nobody() -> None:
    solo = Solo()
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    solo.machine.hold_syncs = True
    solo.give(PEER, m.PreVoteReply(0, 1, True))
    solo.forget()
    assert solo.world.run(1.99, lambda: bool(solo.heard(m.PreVote)))  # it gave up and asks around anew
    solo.machine.release_syncs()
    solo.run()
    assert (solo.heard(m.Vote), solo.store.hard_state()) == ([], HardState(1, HERE))


def test_vote_set_one_vote_a_term() -> None:
    solo = _rested()
    solo.give(PEER, m.Vote(5, 2, 1))
    solo.give(OTHER, m.Vote(5, 2, 1))
    solo.run()
    assert solo.said == [(PEER, m.VoteReply(5, True)), (OTHER, m.VoteReply(5, False))]


# --- pre-vote ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("last_term", "last_index", "expected"),
    [(2, 4, True), (2, 5, True), (3, 1, True), (2, 3, False), (1, 99, False)],
)
def test_pre_vote_wants_a_log_at_least_as_far(last_term: int, last_index: int, expected: bool) -> None:
    log = TermLog(0, 1, 2, 2)
    assert rules.is_up_to_date(log, m.PreVote(9, last_index, last_term)) is expected
    assert rules.is_up_to_date(log, m.Vote(9, last_index, last_term)) is expected


def test_pre_vote_a_replica_that_cannot_win_does_not_raise_its_term() -> None:
    solo = Solo(store_of((1,), term=1))
    solo.run(30.0)
    assert len(solo.heard(m.PreVote)) >= 20
    assert (solo.heard(m.Vote), solo.consensus.term, solo.store.hard_state()) == ([], 1, HardState(1, None))


def test_pre_vote_changes_nothing_at_the_one_who_is_asked() -> None:
    solo = _rested()
    said = solo.give(PEER, m.PreVote(9, 2, 1))
    assert (said, solo.consensus.term, solo.store.hard_state()) == ([m.PreVoteReply(1, 9, True)], 1, HardState(1, None))


def test_pre_vote_is_denied_for_a_term_that_is_over() -> None:
    solo = _rested(term=4)
    assert solo.give(PEER, m.PreVote(4, 9, 9)) == [m.PreVoteReply(4, 4, False)]


def test_pre_vote_is_checked_again_a_leader_heard_meanwhile_ends_it() -> None:
    solo = Solo(store_of((1,), term=1))
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    solo.give(OTHER, m.Append(1, 1, 1, 0, 1, ()))
    solo.give(PEER, m.PreVoteReply(1, 2, True))
    solo.run()
    assert (solo.heard(m.Vote), solo.consensus.term) == ([], 1)


def test_pre_vote_is_checked_again_a_term_that_moved_ends_it() -> None:
    solo = Solo(store_of((1,), term=1))
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    solo.give(OTHER, m.Refuse(7))
    solo.give(PEER, m.PreVoteReply(1, 2, True))
    solo.run()
    assert (solo.heard(m.Vote), solo.consensus.term) == ([], 7)


# --- stickiness ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("heard", "started", "is_leader", "expected"),
    [(9.5, 0, False, True), (9.0, 0, False, False), (0, 9.5, False, True), (0, 0, True, True), (0, 0, False, False)],
)
def test_stickiness_holds_for_the_minimum_election_timeout(
    heard: float, started: float, is_leader: bool, expected: bool
) -> None:
    assert rules.is_sticky(now=10.0, heard=heard, started=started, is_leader=is_leader, timeout=1.0) is expected


@pytest.mark.parametrize(("seconds", "granted"), [(0.9, False), (1.1, True)])
def test_stickiness_neither_vote_nor_pre_vote_while_a_leader_is_alive(seconds: float, granted: bool) -> None:
    solo = _rested()
    solo.give(OTHER, m.Append(1, 1, 2, 1, 1, ()))
    solo.run(seconds)
    assert solo.give(PEER, m.PreVote(2, 2, 1)) == [m.PreVoteReply(1, 2, granted)]
    solo.give(PEER, m.Vote(2, 2, 1))
    solo.run()
    assert solo.heard(m.VoteReply) == [m.VoteReply(2 if granted else 1, granted)]


def test_stickiness_a_restarted_replica_keeps_still_for_one_timeout() -> None:
    solo = Solo(store_of((1,), term=1))
    for _ in range(9):
        solo.run(0.1)
        assert solo.give(PEER, m.PreVote(2, 2, 1)) == [m.PreVoteReply(1, 2, False)]
        assert solo.give(PEER, m.Vote(2, 2, 1)) == [m.VoteReply(1, False)]
    solo.run(0.11)
    assert solo.give(PEER, m.PreVote(2, 2, 1)) == [m.PreVoteReply(1, 2, True)]


def test_stickiness_a_replica_that_never_promised_anything_votes_at_once() -> None:
    solo = Solo()
    assert solo.give(PEER, m.PreVote(1, 1, 0)) == [m.PreVoteReply(0, 1, True)]


def test_stickiness_a_leader_votes_for_nobody() -> None:
    solo = Solo()
    term = solo.lead()
    assert solo.give(OTHER, m.PreVote(term + 1, 99, 99)) == [m.PreVoteReply(term, term + 1, False)]
    assert solo.give(OTHER, m.Vote(term + 1, 99, 99)) == [m.VoteReply(term, False)]
    assert solo.consensus.is_leader


def test_stickiness_holds_for_ones_own_vote_too() -> None:
    """A pre-vote won in the moment that a leader was heard does not become a candidacy."""
    solo = Solo(store_of((1,), term=1))
    solo.world.run(5.0, lambda: bool(solo.heard(m.PreVote)))
    solo.give(OTHER, m.Append(1, 0, 2, 1, 1, ()))
    solo.run(0.95)
    solo.give(PEER, m.PreVoteReply(1, 2, True))
    solo.run(0.01)
    assert solo.heard(m.Vote) == []


# --- learn-terms ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "message",
    [
        m.Append(9, 1, 1, 0, 1, ()),
        m.Echo(9, 1, 1),
        m.Accept(9, 1),
        m.Reject(9, 1, 1, 0),
        m.Refuse(9),
        m.PreVoteReply(9, 1, False),
        m.VoteReply(9, False),
    ],
    ids=lambda message: type(message).__name__,
)
def test_learn_terms_a_leader_that_sees_a_higher_term_steps_down_and_adopts_it(message: m.Message) -> None:
    solo = Solo()
    solo.lead()
    solo.give(OTHER, message)
    solo.run()
    assert (solo.consensus.term, solo.consensus.is_leader, solo.store.hard_state()) == (9, False, HardState(9, None))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (m.Append(2, 1, 1, 0, 1, ()), m.Refuse(5)),
        (m.PreVote(3, 9, 9), m.PreVoteReply(5, 3, False)),
        (m.Vote(3, 9, 9), m.VoteReply(5, False)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_learn_terms_every_refusal_carries_the_term_of_the_refuser(question: m.Message, answer: m.Message) -> None:
    solo = _rested(term=5)
    assert solo.give(PEER, question) == [answer]


def test_learn_terms_a_higher_term_is_adopted_without_a_vote_when_the_log_is_behind() -> None:
    solo = _rested()
    solo.give(PEER, m.Vote(5, 1, 0))
    solo.run()
    assert (solo.said, solo.store.hard_state()) == ([(PEER, m.VoteReply(5, False))], HardState(5, None))


# --- check-quorum --------------------------------------------------------------------------------------
def test_check_quorum_a_leader_that_is_not_heard_steps_down_within_an_election_timeout() -> None:
    solo = Solo()
    solo.lead_with_lease()
    began = solo.world.now
    assert solo.world.run(5.0, lambda: not solo.consensus.is_leader)
    assert solo.world.now - began <= TIMING.election_timeout + 2 * TIMING.heartbeat
    assert solo.consensus.leader is None


def test_check_quorum_claims_without_echoes_do_not_keep_a_leader() -> None:
    solo = Solo()
    term = solo.lead_with_lease()
    for _ in range(15):
        solo.give(PEER, m.Accept(term, solo.consensus.journal.last_index))
        solo.run(0.1)
    assert not solo.consensus.is_leader


def _keep(solo: Solo, seconds: float) -> None:
    """n2 echoes every round for a while."""
    for _ in range(int(seconds / 0.05)):
        solo.run(0.05)
        if solo.consensus.is_leader:
            solo.echo_last_round()


def test_check_quorum_an_echoed_leader_stays() -> None:
    solo = Solo()
    solo.lead_with_lease()
    _keep(solo, 10.0)
    assert solo.consensus.is_leader


def test_check_quorum_a_leader_whose_sync_hangs_steps_down_after_two_timeouts_and_stands_again_once_it_ended() -> None:
    solo = Solo()
    solo.lead_with_lease()
    solo.machine.hold_syncs = True
    solo.consensus.propose(body(1))
    _keep(solo, 1.9)
    assert solo.consensus.is_leader
    _keep(solo, 0.3)
    assert not solo.consensus.is_leader
    solo.forget()
    solo.run(20.0)
    assert solo.heard(m.PreVote) == []
    solo.machine.release_syncs()
    solo.run(5.0)
    assert solo.heard(m.PreVote) != []


def test_check_quorum_a_leader_without_room_for_its_log_steps_down_and_does_not_stand() -> None:
    solo = Solo()
    solo.lead_with_lease()
    solo.store.bytes_max = 0
    solo.consensus.propose(body(1))
    _keep(solo, 0.3)
    assert not solo.consensus.is_leader
    solo.forget()
    solo.run(10.0)
    assert solo.heard(m.PreVote) == []
    solo.store.bytes_max = None
    solo.run(5.0)
    assert solo.heard(m.PreVote) != []


def test_check_quorum_a_single_replica_leads_whatever_its_disk_does() -> None:
    solo = Solo(voters=("n1",))
    solo.run(5.0)
    solo.machine.hold_syncs = True
    solo.consensus.propose(body(1))
    solo.run(20.0)
    assert solo.consensus.is_leader


def test_a_follower_goes_over_to_a_leader_of_a_higher_term_with_its_log() -> None:
    solo = Solo(store_of((1, 1), term=1))
    solo.give(PEER, m.Append(1, 1, 3, 1, 1, ()))
    solo.give(OTHER, m.Append(2, 1, 1, 0, 1, wire(1, 2)))
    solo.run()
    assert (solo.consensus.leader, [entry.term for entry in solo.store.read(1, 9)]) == (OTHER, [0, 1, 2])
