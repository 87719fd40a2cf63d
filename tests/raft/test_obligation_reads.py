"""Obligations lease, read-index, bounded; echoes that no disk delays."""

import pytest
from raft_world import HERE, NAMES, OTHER, PEER, Solo, body, store_of, wire

from jepsen_like.simulator.world import VirtualMachine, World
from raftmem.raft import messages as m
from raftmem.raft.interfaces import Timing
from raftmem.raft.leader.rounds import Rounds

FIVE = ("n1", "n2", "n3", "n4", "n5")


def _rounds(voters: tuple[str, ...] = NAMES, lease: float = 0.9) -> tuple[World, Rounds]:
    world = World(0)
    return world, Rounds(self_id=HERE, voters=voters, clock=VirtualMachine(world), lease_seconds=lease)


def _echoing(solo: Solo, message: m.Message) -> list[m.Message]:
    return [said for said in solo.give(PEER, message) if isinstance(said, m.Echo)]


# --- lease ---------------------------------------------------------------------------------------------
def test_lease_counts_from_the_send_of_the_round_and_not_from_its_echo() -> None:
    world, rounds = _rounds()
    number = rounds.begin()
    world.run(0.5)
    rounds.echo(PEER, number)
    assert rounds.holds_lease()
    world.run(0.39)
    assert rounds.holds_lease()
    world.run(0.02)
    assert not rounds.holds_lease()


def test_lease_needs_the_echo_of_a_majority() -> None:
    _, rounds = _rounds(FIVE)
    number = rounds.begin()
    rounds.echo("n2", number)
    rounds.echo("n2", number)
    rounds.echo("n9", number)
    assert not rounds.holds_lease()
    rounds.echo("n3", number)
    assert rounds.holds_lease()


def test_lease_of_a_round_that_was_not_begun_is_none() -> None:
    _, rounds = _rounds()
    rounds.begin()
    rounds.echo(PEER, 2)
    assert (rounds.confirmed, rounds.holds_lease()) == (0, False)


def test_lease_counts_from_the_newest_round_that_a_majority_has_reached() -> None:
    world, rounds = _rounds(FIVE)
    first = rounds.begin()
    world.run(0.6)
    second = rounds.begin()
    rounds.echo("n2", second)
    rounds.echo("n3", first)
    assert rounds.confirmed == first
    world.run(0.31)
    assert not rounds.holds_lease()
    rounds.echo("n3", second)
    assert rounds.holds_lease()


@pytest.mark.parametrize("drift", [0.0005, 0.01, 0.1, 0.25])
@pytest.mark.parametrize("leader", [-1, 1])
@pytest.mark.parametrize("follower", [-1, 1])
def test_lease_ends_before_any_follower_could_vote_for_another(drift: float, leader: int, follower: int) -> None:
    """Real seconds from the send: the lease of a clock that is off one way, stickiness by one off the other way."""
    timing = Timing(1.0, 0.1, drift)
    lease = timing.lease / (1 + leader * drift)
    stickiness = timing.election_timeout / (1 + follower * drift)
    assert lease <= stickiness


def test_lease_waits_for_an_entry_of_the_leaders_own_term() -> None:
    solo = Solo(store_of((1,), term=1))
    term = solo.lead()
    solo.run()
    solo.echo_last_round()
    assert solo.consensus.lease_index() is None
    solo.give(PEER, m.Accept(term, 3))
    solo.run()
    assert solo.consensus.lease_index() == 3


def test_lease_is_over_after_a_pause_before_any_timer_runs() -> None:
    solo = Solo()
    solo.lead_with_lease()
    solo.machine.paused_until = solo.world.now + 5.0
    solo.world.run(4.9)
    assert solo.consensus.is_leader  # it does not know better yet
    assert solo.consensus.lease_index() is None


def test_lease_ends_with_leading() -> None:
    solo = Solo()
    solo.lead_with_lease()
    solo.give(OTHER, m.Refuse(9))
    assert solo.consensus.lease_index() is None


def test_lease_an_echo_is_not_delayed_by_a_slow_disk_while_the_claim_is() -> None:
    solo = Solo(store_of((), term=1))
    solo.machine.hold_syncs = True
    assert _echoing(solo, m.Append(1, 4, 1, 0, 1, wire(1, 1))) == [m.Echo(1, 4, 1)]
    solo.run(0.5)
    assert m.Accept(1, 3) not in solo.heard(m.Accept)
    assert _echoing(solo, m.Append(1, 5, 3, 1, 1, ())) == [m.Echo(1, 5, 1)]
    solo.machine.release_syncs()
    solo.run()
    assert m.Accept(1, 3) in solo.heard(m.Accept)


def test_lease_an_append_that_does_not_fit_is_echoed_too() -> None:
    solo = Solo(store_of((), term=1))
    said = solo.give(PEER, m.Append(1, 4, 9, 1, 1, ()))
    assert said == [m.Echo(1, 4, 1), m.Reject(1, 9, 1, 0)]


def test_lease_a_slow_disk_of_the_follower_does_not_cost_the_lease() -> None:
    solo = Solo()
    solo.lead_with_lease()
    for number in range(40):
        solo.consensus.propose(body(number))
        solo.run(0.05)
        solo.echo_last_round()
        assert solo.consensus.lease_index() is not None


# --- read-index ----------------------------------------------------------------------------------------
def test_read_index_is_confirmed_by_a_round_begun_after_arrival_alone() -> None:
    solo = Solo()
    solo.lead_with_lease()
    solo.world.run(1.0, lambda: solo.heard(m.Append) != [])
    old = [said.round for peer, said in solo.said if peer == PEER and isinstance(said, m.Append)][-1]
    answers: list[int | None] = []
    solo.consensus.read_index(quorum=True, callback=answers.append)
    solo.give(PEER, m.Echo(solo.consensus.term, old, 1))
    assert answers == []
    solo.run(0.001)
    solo.echo_last_round()
    assert answers == [solo.consensus.commit_index]


def test_read_index_one_round_serves_all_that_wait() -> None:
    solo = Solo()
    solo.lead_with_lease()
    solo.forget()
    answers: list[int | None] = []
    for _ in range(50):
        solo.consensus.read_index(quorum=True, callback=answers.append)
    solo.run(0.001)
    assert len({said.round for said in solo.heard(m.Append) if isinstance(said, m.Append)}) == 1
    solo.echo_last_round()
    assert len(answers) == 50


def test_read_index_takes_the_commit_index_of_the_arrival() -> None:
    solo = Solo()
    term = solo.lead_with_lease()
    at_arrival = solo.consensus.commit_index
    answers: list[int | None] = []
    solo.consensus.read_index(quorum=True, callback=answers.append)
    index, _ = solo.consensus.propose(body(1))
    solo.run()
    solo.give(PEER, m.Accept(term, index))
    solo.run()
    solo.echo_last_round()
    assert (answers, solo.consensus.commit_index) == ([at_arrival], index)


@pytest.mark.parametrize("quorum", [True, False])
def test_read_index_before_the_first_commit_of_the_term_waits_for_it(quorum: bool) -> None:
    solo = Solo(store_of((1,), term=1))
    term = solo.lead()
    answers: list[int | None] = []
    solo.consensus.read_index(quorum=quorum, callback=answers.append)
    solo.run()
    solo.echo_last_round()
    assert answers == []
    solo.give(PEER, m.Accept(term, 3))
    solo.run()
    solo.echo_last_round()
    assert answers == [3]


@pytest.mark.parametrize("early", [True, False])
def test_read_index_is_denied_when_it_ceases_to_lead(early: bool) -> None:
    solo = Solo(store_of((1,), term=1))
    if early:
        solo.lead()
    else:
        solo.lead_with_lease()
    answers: list[int | None] = []
    solo.consensus.read_index(quorum=True, callback=answers.append)
    solo.give(OTHER, m.Refuse(9))
    assert answers == [None]


def test_read_index_is_served_to_a_follower_and_denied_by_one() -> None:
    solo = Solo()
    assert solo.give(PEER, m.ReadIndex(7, False)) == [m.ReadIndexReply(7, None)]
    solo.lead_with_lease()
    assert solo.give(PEER, m.ReadIndex(8, False)) == [m.ReadIndexReply(8, solo.consensus.commit_index)]
    assert solo.give(PEER, m.ReadIndex(9, True))[-1:] != [m.ReadIndexReply(9, solo.consensus.commit_index)]
    solo.run(0.001)
    solo.echo_last_round(OTHER)
    assert (PEER, m.ReadIndexReply(9, solo.consensus.commit_index)) in solo.said


def test_bounded_a_follower_asks_its_leader_and_is_told_none_without_one() -> None:
    solo = Solo(store_of((), term=1))
    answers: list[int | None] = []
    solo.consensus.read_index(quorum=False, callback=answers.append)
    assert answers == [None]
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, ()))
    solo.consensus.read_index(quorum=False, callback=answers.append)
    asked = solo.heard(m.ReadIndex)[-1]
    assert isinstance(asked, m.ReadIndex)
    solo.give(OTHER, m.ReadIndexReply(asked.id, 99))
    assert answers == [None]
    solo.give(PEER, m.ReadIndexReply(asked.id, 4))
    solo.give(PEER, m.ReadIndexReply(asked.id, 5))
    assert answers == [None, 4]


def test_bounded_a_question_whose_connection_breaks_is_not_confirmed() -> None:
    solo = Solo(store_of((), term=1))
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, ()))
    answers: list[int | None] = []
    solo.consensus.read_index(quorum=True, callback=answers.append)
    solo.consensus.disconnected(OTHER)
    assert answers == []
    solo.consensus.disconnected(PEER)
    assert answers == [None]
