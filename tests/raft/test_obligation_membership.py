"""Obligations membership and transfer: who counts, when it changes, and how a leader gives way."""

import msgspec
import pytest
from raft_world import HERE, OTHER, PEER, Bench, Solo, body, store_of

from raftmem.errors import ChangeUnderWay, NoLeader, NotFound, Removed, WrongState
from raftmem.limits import MEMBERS_MAX
from raftmem.model import codec
from raftmem.model.commands import Actor, Member, MemberChange, Members
from raftmem.raft import membership
from raftmem.raft import messages as m
from raftmem.storage.log.contract import Append, HardState, LogEntry

OPERATOR = Actor("user", "operator")
CHANGE = MemberChange("add", "n4", OPERATOR, "r1")


def one(node: str, **more: str | None) -> Member:
    return Member(node, f"peer-{node}", f"http://{node}", f"folder-{node}", **more)


NEW = one("n4")
THREE = Members("5f2a9c01", 1, (one("n1"), one("n2"), one("n3")), 1000, 10_000)


def changed(members: Members) -> bytes:
    return codec.membership(members, time=0, wall_ms=0)


# --- what a change comes to ----------------------------------------------------------------------------
def test_who_is_added_is_a_learner_first() -> None:
    after = membership.add(THREE, NEW, CHANGE)
    assert after is not None
    assert (membership.ids(after.voters), membership.ids(after.learners)) == (("n1", "n2", "n3"), ("n4",))


def test_who_stands_already_is_no_change_and_a_new_address_is_one() -> None:
    assert membership.add(THREE, one("n2"), CHANGE) is None
    moved = membership.add(THREE, msgspec.structs.replace(one("n2"), peer_url="elsewhere", folder_id=None), CHANGE)
    assert moved is not None
    assert moved.member("n2") == msgspec.structs.replace(one("n2"), peer_url="elsewhere")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (msgspec.structs.replace(one("n2"), folder_id="other"), "bound to data folder folder-n2"),
        (one("n0"), "was removed"),
        (msgspec.structs.replace(NEW, peer_url="peer-n1"), "n1 has the peer address"),
        (one("n2", replaces="n2"), "n2 cannot replace itself"),
    ],
)
def test_who_cannot_be_added_is_refused_in_words(wanted: Member, words: str) -> None:
    with pytest.raises(WrongState, match=words):
        membership.add(msgspec.structs.replace(THREE, removed=("n0",)), wanted, CHANGE)


def test_a_group_has_no_more_members_than_it_may() -> None:
    full = msgspec.structs.replace(THREE, learners=tuple(one(f"l{n}") for n in range(MEMBERS_MAX - 3)))
    with pytest.raises(WrongState, match="the most there may be"):
        membership.add(full, NEW, CHANGE)


def test_only_a_voter_can_be_replaced_and_only_once() -> None:
    with pytest.raises(NotFound, match="n9 is no voter"):
        membership.add(THREE, one("n4", replaces="n9"), CHANGE)
    after = membership.add(THREE, one("n4", replaces="n3"), CHANGE)
    assert after is not None
    with pytest.raises(WrongState, match="about to replace n3 already"):
        membership.add(after, one("n5", replaces="n3"), CHANGE)


@pytest.mark.parametrize(
    ("gone", "live", "allowed"),
    [("n3", {"n1", "n2"}, True), ("n3", {"n1", "n3"}, False), ("n1", {"n1", "n2", "n3"}, True), ("n2", {"n1"}, False)],
)
def test_a_removal_keeps_a_live_majority(gone: str, live: set[str], allowed: bool) -> None:
    if allowed:
        after = membership.remove(THREE, gone, CHANGE, live=live)
        assert after is not None
        assert gone not in membership.ids(after.voters)
        assert after.removed == (gone,)
        assert membership.remove(after, gone, CHANGE, live=live) is None
    else:
        with pytest.raises(WrongState, match="of which only"):
            membership.remove(THREE, gone, CHANGE, live=live)


def test_who_was_never_a_member_cannot_be_removed() -> None:
    with pytest.raises(NotFound, match="n9 is no member"):
        membership.remove(THREE, "n9", CHANGE, live={"n1", "n2", "n3"})


def test_the_last_voter_stays() -> None:
    alone = msgspec.structs.replace(THREE, voters=(one("n1"),))
    with pytest.raises(WrongState, match="keeps at least one"):
        membership.remove(alone, "n1", CHANGE, live={"n1"})


def test_one_voter_comes_or_goes_at_a_time_when_one_is_replaced() -> None:
    replacing = membership.add(THREE, one("n4", replaces="n3"), CHANGE)
    assert replacing is not None
    promoted = membership.promote(replacing, "n4", CHANGE)
    assert membership.ids(promoted.voters) == ("n1", "n2", "n3", "n4")
    after = membership.remove(promoted, "n3", CHANGE, live={"n1", "n2", "n4"})
    assert after is not None
    assert membership.ids(after.voters) == ("n1", "n2", "n4")
    assert after.voters[2].replaces is None


# --- what is in force ------------------------------------------------------------------------------------
def test_a_membership_is_in_force_when_it_is_appended_and_not_when_it_is_cut_off() -> None:
    bench = Bench(store_of((1,), term=1))
    five = msgspec.structs.replace(THREE, learners=(NEW,))
    bench.journal.append(LogEntry(3, 1, changed(five)))
    assert membership.ids(bench.journal.members.learners) == ("n4",)
    bench.journal.truncate(3)
    assert bench.journal.members.learners == ()


def test_a_membership_is_in_force_after_a_restart_and_after_a_compaction_past_it() -> None:
    store = store_of((1,), term=1)
    bench = Bench(store)
    four = msgspec.structs.replace(THREE, voters=(*THREE.voters, NEW))
    bench.journal.append(LogEntry(3, 1, changed(four)))
    bench.journal.append(LogEntry(4, 1, codec.no_op(time=0, wall_ms=0)))
    bench.sync()
    bench.journal.compact(4)
    bench.sync()
    assert bench.journal.members == four
    again = Bench(store, applied=4)
    assert (again.journal.members, again.journal.members_index) == (four, 3)


def test_a_voter_that_is_not_committed_yet_counts() -> None:
    """Raft thesis 4.1: a configuration is used from the moment it is in the log."""
    solo = Solo()
    solo.lead_with_lease()
    term = solo.consensus.term
    index, _ = solo.consensus.change("add", NEW, OPERATOR, "r")
    solo.run()
    solo.give(PEER, m.Accept(term, index))
    solo.consensus.connected("n4")
    solo.run(0.2)
    for peer in (PEER, OTHER, "n4"):
        solo.echo_last_round(peer)
    solo.give("n4", m.Accept(term, index))
    solo.run(0.1)
    promoted = solo.consensus.members
    assert membership.ids(promoted.voters) == ("n1", "n2", "n3", "n4")
    last = solo.consensus.journal.last_index
    solo.give(PEER, m.Accept(term, last))
    solo.run()
    assert solo.consensus.commit_index < last  # two of four
    solo.give(OTHER, m.Accept(term, last))
    solo.run()
    assert solo.consensus.commit_index == last


def test_a_change_waits_for_the_one_before_it() -> None:
    solo = Solo()
    solo.lead_with_lease()
    solo.consensus.change("add", NEW, OPERATOR, "r")
    with pytest.raises(ChangeUnderWay):
        solo.consensus.change("add", one("n5"), OPERATOR, "r")


def test_a_change_waits_for_an_entry_of_the_leaders_own_term() -> None:
    """The defect of single-server changes that was found in 2015: two leaders, each with a change of its own."""
    solo = Solo()
    solo.lead()
    with pytest.raises(ChangeUnderWay):
        solo.consensus.change("add", NEW, OPERATOR, "r")


def test_a_change_that_another_replica_asks_for_is_answered_with_its_place_or_the_reason() -> None:
    solo = Solo()
    asked = m.change(7, "add", NEW, OPERATOR, "r")
    assert m.Forwarded(7, 0, 0, "no-leader", "this replica is not the leader; ask again, or ask another replica") in (
        solo.give(PEER, asked)
    )
    term = solo.lead_with_lease()
    assert m.Forwarded(7, solo.consensus.journal.last_index + 1, term) in solo.give(PEER, asked)
    assert membership.ids(solo.consensus.members.learners) == ("n4",)
    assert m.Forwarded(8, solo.consensus.journal.last_index, term) in (
        solo.give(PEER, m.change(8, "add", NEW, OPERATOR, "again"))  # it stands: the entry that made it so
    )
    refused = solo.give(PEER, m.change(9, "transfer", Member("n4", "", ""), OPERATOR, "r"))
    assert [said.code for said in refused if isinstance(said, m.Forwarded)] == ["not-found"]


def test_a_change_goes_to_the_leader_and_a_lost_answer_is_told() -> None:
    solo = Solo(store_of((), term=1))
    answers: list[m.Forwarded | None] = []
    with pytest.raises(NoLeader):
        solo.consensus.ask_change("add", NEW, OPERATOR, "r", answers.append)
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, ()))
    for _ in range(2):
        solo.consensus.ask_change("add", NEW, OPERATOR, "r", answers.append)
    (to, first), (_, second) = [(to, said) for to, said in solo.said if isinstance(said, m.Change)]
    assert isinstance(first, m.Change)
    assert isinstance(second, m.Change)
    assert (to, first.op, first.member, first.id != second.id) == (PEER, "add", NEW, True)
    solo.give(OTHER, m.Forwarded(first.id, 9, 1))  # it was not asked
    assert answers == []
    solo.give(PEER, m.Forwarded(first.id, 5, 1))
    solo.consensus.disconnected(PEER)
    assert answers == [m.Forwarded(first.id, 5, 1), None]


def test_a_removed_replica_stops_when_its_removal_is_committed() -> None:
    solo = Solo(store_of((), term=1))
    two = msgspec.structs.replace(THREE, voters=(one("n2"), one("n3")), removed=("n1",))
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, ((1, changed(two)),)))
    solo.run()
    assert solo.stopped_by is None
    solo.give(PEER, m.Append(1, 2, 2, 1, 2, ()))
    solo.run()
    assert isinstance(solo.stopped_by, Removed)


def test_who_is_no_voter_never_stands() -> None:
    solo = Solo(store_of((), term=1, voters=("n2", "n3")))
    solo.world.run(20.0)
    assert not solo.heard(m.PreVote)


def test_a_removal_is_refused_only_by_a_leader_that_knows_who_answers() -> None:
    solo = Solo()
    solo.lead_with_lease()  # n2 has echoed, n3 not yet
    with pytest.raises(ChangeUnderWay, match="has just taken over"):
        solo.consensus.change("remove", Member(PEER, "", ""), OPERATOR, "r")
    for _ in range(11):
        solo.run(0.1)
        solo.echo_last_round(PEER)
    with pytest.raises(WrongState, match="of which only n1 answers"):
        solo.consensus.change("remove", Member(PEER, "", ""), OPERATOR, "r")
    solo.consensus.change("remove", Member(OTHER, "", ""), OPERATOR, "r")
    assert membership.ids(solo.consensus.members.voters) == ("n1", "n2")


def test_a_change_that_has_to_wait_keeps_no_other_waiting() -> None:
    """n3 is to replace n2, which is refused while n4 and n5 are dead; n6 is to replace n4, which can be done."""
    five = ("n1", "n2", "n3", "n4", "n5")
    store = store_of(voters=five)
    waiting = msgspec.structs.replace(
        THREE,
        voters=(one("n1"), one("n2"), one("n3", replaces="n2"), one("n4"), one("n5")),
        learners=(one("n6", replaces="n4"),),
    )
    store.commit([HardState(1, None), Append((LogEntry(2, 1, changed(waiting)),))])
    solo = Solo(store, applied=2)
    solo.consensus.connected("n6")
    solo.run(5.0)
    term = solo.consensus.term + 1
    for peer in (PEER, OTHER):
        solo.give(peer, m.PreVoteReply(term - 1, term, True))
    solo.run()
    for peer in (PEER, OTHER):
        solo.give(peer, m.VoteReply(term, True))
    assert solo.consensus.is_leader
    last = solo.consensus.journal.last_index
    for peer in (PEER, OTHER, "n6"):
        solo.give(peer, m.Accept(term, last))
    assert solo.consensus.members.removed == ()  # n4 and n5 still have an election timeout to answer
    for _ in range(11):
        for peer in (PEER, OTHER, "n6"):
            solo.echo_last_round(peer)
        solo.run(0.1)
    assert membership.ids(solo.consensus.members.voters) == ("n1", "n2", "n3", "n5")
    assert solo.consensus.members.removed == ("n4",)


def test_no_amnesia_births_that_are_known_are_written_down_with_the_next_change() -> None:
    births = {"n1": "b1", "n2": "b2"}
    after = membership.with_births(THREE, births.get)
    assert [voter.birth for voter in after.voters] == ["b1", "b2", None]
    births["n2"] = "another"
    assert membership.with_births(after, births.get) == after


# --- transfer ----------------------------------------------------------------------------------------------
def test_a_transfer_waits_for_the_heir_to_have_everything_and_then_ends_the_lease() -> None:
    solo = Solo()
    term = solo.lead_with_lease()
    solo.consensus.propose(body(1))
    solo.consensus.transfer(PEER)
    with pytest.raises(NoLeader, match="gives way to n2"):
        solo.consensus.propose(body(2))
    assert solo.consensus.lease_index() is not None
    assert not solo.heard(m.TimeoutNow)
    solo.run()
    solo.give(PEER, m.Accept(term, solo.consensus.journal.last_index))
    assert solo.heard(m.TimeoutNow) == [m.TimeoutNow(term)]
    assert solo.consensus.lease_index() is None


def test_a_failed_transfer_gives_proposals_back_but_not_the_lease() -> None:
    solo = Solo()
    term = solo.lead_with_lease()
    solo.consensus.transfer(PEER)
    for _ in range(15):
        solo.run(0.1)
        solo.echo_last_round(PEER)
    index, at_term = solo.consensus.propose(body(1))
    assert at_term == term
    solo.run()
    solo.give(PEER, m.Accept(term, index))
    solo.run(0.06)
    solo.echo_last_round(PEER)
    assert solo.consensus.commit_index == index
    assert solo.consensus.lease_index() is None


def test_who_is_told_to_stand_stands_at_once_and_says_so() -> None:
    solo = Solo(store_of((1,), term=1))
    solo.give(PEER, m.Append(1, 1, 2, 1, 1, ()))
    solo.give(PEER, m.TimeoutNow(1))
    solo.run()
    assert solo.heard(m.Vote) == [m.Vote(2, 2, 1, True), m.Vote(2, 2, 1, True)]
    assert not solo.heard(m.PreVote)


def test_only_its_own_leader_can_tell_a_replica_to_stand() -> None:
    solo = Solo(store_of((1,), term=1))
    solo.give(PEER, m.Append(1, 1, 2, 1, 1, ()))
    solo.give(OTHER, m.TimeoutNow(1))
    solo.give(PEER, m.TimeoutNow(0))
    solo.run()
    assert not solo.heard(m.Vote)


def test_a_vote_of_a_transfer_passes_who_hears_the_leader() -> None:
    solo = Solo(store_of((1,), term=1))
    solo.give(PEER, m.Append(1, 1, 2, 1, 1, ()))
    assert m.VoteReply(1, False) in solo.give(OTHER, m.Vote(2, 2, 1))
    solo.give(OTHER, m.Vote(2, 2, 1, True))
    solo.run()
    assert m.VoteReply(2, True) in solo.heard(m.VoteReply)


def test_a_leader_that_is_to_be_removed_gives_way_first() -> None:
    solo = Solo()
    solo.lead_with_lease()
    with pytest.raises(ChangeUnderWay, match="gives way first"):
        solo.consensus.change("remove", Member(HERE, "", ""), OPERATOR, "r")
    assert solo.heard(m.TimeoutNow)


def test_a_lead_is_handed_only_to_a_voter_that_answers() -> None:
    solo = Solo()
    solo.lead_with_lease()
    with pytest.raises(WrongState, match="n3 does not answer"):
        solo.consensus.transfer(OTHER)
    with pytest.raises(NotFound):
        solo.consensus.transfer("n9")
    solo.consensus.disconnected(PEER)
    with pytest.raises(WrongState, match="no other voter answers"):
        solo.consensus.transfer(None)
