"""Obligations truncate-on-conflict, verified-commit, termed-answers, bounded-backtrack."""

import pytest
from raft_world import OTHER, PEER, Solo, TermLog, entries, store_of, wire

from raftmem.raft import messages as m
from raftmem.raft import rules
from raftmem.raft.follower.match_claim import MatchClaim
from raftmem.raft.leader.progress import Progress
from raftmem.storage.log.contract import HardState


# --- truncate-on-conflict: an append against a log -----------------------------------------------------
@pytest.mark.parametrize(
    ("log", "prev", "sent", "floor", "kept", "added"),
    [
        pytest.param((0,), (1, 0), (1, 1), 1, 1, 2, id="new entries follow"),
        pytest.param((0, 1, 1), (1, 0), (1, 1), 1, 3, 0, id="all known: nothing is cut"),
        pytest.param((0, 1, 1, 1), (1, 0), (1,), 1, 2, 0, id="an older append: the tail after it stays"),
        pytest.param((0, 1, 1, 1), (2, 1), (), 1, 2, 0, id="a heartbeat in the middle: the tail stays"),
        pytest.param((0, 1, 1), (1, 0), (1, 1, 1), 1, 3, 1, id="known ones are taken off, one is new"),
        pytest.param((0, 1, 1, 1), (1, 0), (1, 2), 2, 2, 1, id="a conflict: from there"),
        pytest.param((0, 1, 1), (3, 1), (2,), 3, 3, 1, id="behind all that is committed"),
    ],
)
def test_truncate_on_conflict_only_from_a_real_conflict(
    log: tuple[int, ...], prev: tuple[int, int], sent: tuple[int, ...], floor: int, kept: int, added: int
) -> None:
    message = m.Append(9, 1, *prev, 0, wire(*sent, start=prev[0] + 1))
    verdict = rules.judge_append(TermLog(*log), message, floor=floor)
    assert isinstance(verdict, rules.Accepted)
    assert (verdict.kept, [entry.index for entry in verdict.entries]) == (kept, [kept + 1 + i for i in range(added)])
    assert verdict.verified == prev[0] + len(sent)


@pytest.mark.parametrize(
    ("log", "prev", "sent", "floor"),
    [
        pytest.param((0, 1, 1), (1, 0), (2,), 2, id="an entry at the floor is another one there"),
        pytest.param((0, 1, 1), (2, 2), (), 2, id="the previous entry at the floor is another one there"),
        pytest.param((0, 1, 1), (1, 0), (1, 2), 3, id="the second entry is below the floor"),
        pytest.param((0,), (0, 0), (1,), 1, id="before the first index"),
    ],
)
def test_truncate_on_conflict_at_or_below_what_is_committed_is_refused(
    log: tuple[int, ...], prev: tuple[int, int], sent: tuple[int, ...], floor: int
) -> None:
    with pytest.raises(rules.UntrustedClaim):
        rules.judge_append(TermLog(*log), m.Append(9, 1, *prev, 0, wire(*sent, start=prev[0] + 1)), floor=floor)


def test_truncate_on_conflict_the_replica_refuses_it_and_its_disk_is_as_it_was() -> None:
    solo = Solo(store_of((1, 1), term=1), applied=3)
    solo.give_refused(PEER, m.Append(2, 1, 1, 0, 1, wire(2)))
    solo.run(1.0)
    assert solo.stopped_by is None
    assert (solo.store.last_index(), solo.store.read(3, 4)[0].term, solo.store.hard_state()) == (
        3,
        1,
        HardState(1, None),
    )


def test_truncate_on_conflict_an_older_append_leaves_the_log_as_it_is() -> None:
    solo = Solo(store_of((), term=1))
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, wire(1, 1, 1)))
    solo.run()
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, wire(1)))
    solo.give(PEER, m.Append(1, 2, 1, 0, 1, ()))
    solo.run()
    assert solo.store.last_index() == 4


def test_truncate_on_conflict_a_tail_of_an_old_term_is_replaced() -> None:
    solo = Solo(store_of((1, 1, 1), term=1))
    solo.give(PEER, m.Append(2, 1, 2, 1, 1, wire(2, start=3)))
    solo.run()
    assert [entry.term for entry in solo.store.read(1, 9)] == [0, 1, 2]
    assert (PEER, m.Accept(2, 3)) in solo.said


# --- verified-commit -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("prev", "sent", "commit", "expected"),
    [((1, 0), (1, 1), 9, 3), ((1, 0), (1, 1), 2, 2), ((2, 1), (), 9, 2), ((3, 1), (), 9, 3)],
)
def test_verified_commit_goes_no_further_than_this_append_verified(
    prev: tuple[int, int], sent: tuple[int, ...], commit: int, expected: int
) -> None:
    message = m.Append(1, 1, *prev, commit, wire(*sent, start=prev[0] + 1))
    verdict = rules.judge_append(TermLog(0, 1, 1, 1, 1), message, floor=1)
    assert isinstance(verdict, rules.Accepted)
    assert verdict.commit == expected


def test_verified_commit_an_unverified_tail_is_not_applied() -> None:
    solo = Solo(store_of((1, 1, 1), term=1))
    solo.give(PEER, m.Append(2, 1, 2, 1, 4, ()))
    solo.run()
    assert (solo.consensus.commit_index, [entry.index for entry in solo.applied]) == (2, [2])


def test_verified_commit_a_refused_append_commits_nothing() -> None:
    solo = Solo(store_of((1, 1, 1), term=1))
    said = solo.give(PEER, m.Append(2, 1, 9, 2, 9, ()))
    solo.run()
    assert solo.consensus.commit_index == 1
    assert not any(isinstance(message, m.Accept) for message in said)


# --- termed-answers ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("verified", "durable", "owed", "expected"),
    [(5, 3, False, 3), (3, 5, False, 3), (5, 5, True, 5), (0, 5, True, None), (0, 5, False, None)],
)
def test_termed_answers_a_claim_is_what_was_verified_and_is_on_disk(
    verified: int, durable: int, owed: bool, expected: int | None
) -> None:
    following = MatchClaim(commit=1)
    following.verify(term=4, verified=verified, commit=1)
    assert following.claim(term=4, durable=durable, owed=owed) == expected


def test_termed_answers_a_claim_is_not_repeated_unless_it_is_owed() -> None:
    following = MatchClaim(commit=1)
    following.verify(term=4, verified=5, commit=1)
    claims = [following.claim(term=4, durable=5, owed=owed) for owed in (False, False, True)]
    assert claims == [5, None, 5]


def test_termed_answers_what_another_term_verified_is_not_claimed() -> None:
    following = MatchClaim(commit=1)
    following.verify(term=4, verified=5, commit=1)
    assert following.claim(term=5, durable=5, owed=True) is None
    following.verify(term=5, verified=2, commit=1)
    assert following.claim(term=5, durable=5, owed=False) == 2


def test_termed_answers_a_claim_of_an_unverified_tail_is_not_made() -> None:
    solo = Solo(store_of((1, 1, 1), term=1))
    solo.give(PEER, m.Append(2, 1, 2, 1, 1, ()))
    solo.run()
    assert solo.heard(m.Accept) == [m.Accept(2, 2)]


def test_termed_answers_of_a_lower_term_count_for_nothing() -> None:
    solo = Solo(store_of((), term=3))
    term = solo.lead()
    solo.run()
    solo.give(PEER, m.Accept(term - 1, solo.consensus.journal.last_index))
    solo.give(PEER, m.Echo(term - 1, 1, 1))
    solo.run()
    assert solo.consensus.commit_index == 1
    assert solo.consensus.leading is not None
    assert solo.consensus.leading.progress[PEER].match == 0
    assert solo.consensus.lease_index() is None


def test_termed_answers_a_claim_beyond_the_leaders_log_is_refused() -> None:
    solo = Solo()
    term = solo.lead()
    solo.give_refused(PEER, m.Accept(term, solo.consensus.journal.last_index + 1))
    assert (solo.stopped_by, solo.consensus.is_leader) == (None, True)


def test_termed_answers_an_append_of_a_lower_term_is_refused_with_ours() -> None:
    solo = Solo(store_of((), term=5))
    assert solo.give(PEER, m.Append(4, 1, 1, 0, 1, wire(4))) == [m.Refuse(5)]
    assert (solo.consensus.leader, solo.consensus.journal.last_index) == (None, 1)


def test_termed_answers_a_second_leader_in_one_term_is_refused_by_the_first() -> None:
    solo = Solo()
    term = solo.lead()
    solo.give_refused(OTHER, m.Append(term, 1, 1, 0, 1, ()))
    assert (solo.stopped_by, solo.consensus.is_leader) == (None, True)


# --- bounded-backtrack ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("log", "index", "term", "expected"),
    [
        ((0, 1, 1, 3, 3, 3), 6, 3, 6),
        ((0, 1, 1, 3, 3, 3), 6, 2, 3),
        ((0, 1, 1, 3, 3, 3), 6, 0, 1),
        ((4, 5, 5), 3, 1, 0),
    ],
)
def test_bounded_backtrack_steps_over_whole_terms(log: tuple[int, ...], index: int, term: int, expected: int) -> None:
    assert rules.last_not_above(TermLog(*log), index, term) == expected


@pytest.mark.parametrize(
    ("reject", "match", "following", "expected"),
    [
        pytest.param(m.Reject(9, 9, 4, 2), 0, 10, 5, id="the follower is short"),
        pytest.param(m.Reject(9, 9, 9, 3), 0, 10, 7, id="its tail is of a term we passed over"),
        pytest.param(m.Reject(9, 9, 1, 0), 6, 10, 7, id="never below what is matched"),
        pytest.param(m.Reject(9, 5, 1, 0), 6, 10, 10, id="older than the match: nothing"),
        pytest.param(m.Reject(9, 12, 1, 0), 0, 10, 10, id="of a send that was taken back: nothing"),
        pytest.param(m.Reject(9, 9, 2**40, 9), 0, 10, 10, id="a hint beyond the log does not raise it"),
    ],
)
def test_bounded_backtrack_a_refusal_only_lowers_the_next_index(
    reject: m.Reject, match: int, following: int, expected: int
) -> None:
    log = TermLog(0, 1, 2, 2, 2, 2, 4, 4, 4)
    assert rules.next_after_reject(log, reject, match=match, following=following) == expected


def test_bounded_backtrack_finds_agreement_in_one_step_a_term() -> None:
    """V8: a follower with a conflicting tail of many entries rejoins after as many refusals as there are terms."""
    leader = TermLog(0, *[1] * 100, *[5] * 100)
    follower = TermLog(0, *[1] * 50, *[2] * 40, *[3] * 40, *[4] * 40)
    progress = Progress(last_index=leader.last_index)
    for refusals in range(10):
        prev = progress.following - 1
        verdict = rules.judge_append(follower, m.Append(6, 0, prev, leader.term_at(prev) or 0, 1, ()), floor=1)
        if isinstance(verdict, rules.Accepted):
            assert (prev, refusals) == (51, 2)
            return
        before = progress.following
        progress.rejected(leader, verdict)
        assert progress.following < before
    pytest.fail("no agreement")


def test_bounded_backtrack_refusals_of_pipelined_appends_count_once() -> None:
    leader = TermLog(0, *[1] * 20)
    progress = Progress(last_index=1)
    progress.accepted(1)
    for last in (3, 5, 7, 9):
        progress.sent(last, entries=True)
    progress.reconnected()
    assert progress.following == 2
    for prev in (9, 7, 5, 3):
        progress.rejected(leader, m.Reject(1, prev, 1, 0))
    assert progress.following == 2


# --- flow ----------------------------------------------------------------------------------------------
def test_a_probe_is_sent_once_and_again_when_a_heartbeat_is_due() -> None:
    progress = Progress(last_index=5)
    assert progress.may_send_entries()
    progress.sent(6, entries=True)
    assert not progress.may_send_entries()
    progress.retry()
    assert progress.may_send_entries()


def test_what_is_under_way_to_one_follower_is_bounded_and_resumes() -> None:
    progress = Progress(last_index=0, in_flight_max=2)
    progress.accepted(1)
    progress.sent(2, entries=True)
    progress.sent(3, entries=True)
    assert not progress.may_send_entries()
    progress.accepted(2)
    assert (progress.may_send_entries(), progress.following) == (True, 4)


def test_a_reconnected_follower_is_sent_again_what_it_has_not_claimed() -> None:
    progress = Progress(last_index=0)
    progress.accepted(4)
    progress.sent(9, entries=True)
    progress.reconnected()
    assert (progress.following, progress.probing, progress.may_send_entries()) == (5, True, True)


def test_older_news_of_a_follower_changes_nothing() -> None:
    progress = Progress(last_index=0)
    progress.accepted(8)
    progress.accepted(3)
    assert (progress.match, progress.following) == (8, 9)


def test_a_slow_follower_gets_what_fits_and_no_more() -> None:
    solo = Solo()
    term = solo.lead_with_lease()
    solo.forget()
    for entry in entries(*[term] * 50):
        solo.consensus.propose(entry.data[18:])
        solo.run(0.001)
    sent = [said for peer, said in solo.said if peer == PEER and isinstance(said, m.Append) and said.entries]
    assert len(sent) == 8
