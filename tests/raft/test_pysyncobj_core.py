"""What the library may not do in our hands: compact, load dumps, clear the log, forward, transfer."""

import pytest
from raft_world import HERE, NAMES, Bench, store_of

from raftmem.errors import Stop
from raftmem.raft.pysyncobj_core import FOLLOWER, LEADER, Core


def _transport(core: Core) -> object:
    return getattr(core, "_SyncObj__transport")  # noqa: B009


@pytest.mark.parametrize("kind", ["apply_command", "apply_command_response", "timeout_now", "append_entries", "status"])
def test_a_message_the_library_has_no_business_to_send_stops_it(kind: str) -> None:
    bench = Bench(store_of())
    send = getattr(_transport(bench.core), "send")  # noqa: B009
    with pytest.raises(Stop, match=kind):
        send(next(iter(bench.core.otherNodes)), {"type": kind})


def test_the_library_can_neither_clear_nor_compact_the_log() -> None:
    bench = Bench(store_of((1, 1), term=1))
    log = getattr(bench.core, "_SyncObj__raftLog")  # noqa: B009
    with pytest.raises(Stop):
        log.clear()
    with pytest.raises(Stop):
        log.deleteEntriesTo(1)
    assert bench.journal.last_index == 3


def test_compaction_is_off_even_when_it_is_forced() -> None:
    bench = Bench(store_of((1,) * 50, term=1), applied=51)
    bench.core.forceLogCompaction()
    bench.core.doTick(0)
    assert (bench.journal.first_index, bench.journal.last_index) == (1, 51)


def test_a_dump_is_never_loaded() -> None:
    bench = Bench(store_of())
    with pytest.raises(Stop, match="dump"):
        getattr(bench.core, "_SyncObj__loadDumpFile")(clearJournal=True)  # noqa: B009


def test_membership_changes_of_the_library_are_off() -> None:
    bench = Bench(store_of())
    with pytest.raises(Exception, match="dynamicMembershipChange is disabled"):
        bench.core.addNodeToCluster("n4")
    with pytest.raises(Exception, match="dynamicMembershipChange is disabled"):
        bench.core.removeNodeFromCluster("n2")


def test_it_never_stands_by_its_own_timer() -> None:
    bench = Bench(store_of())
    for _ in range(100):
        bench.core.doTick(0)
    assert (bench.core.role, bench.core.term) == (FOLLOWER, 0)


def test_standing_asks_all_others_and_votes_for_oneself() -> None:
    bench = Bench(store_of())
    asked = bench.core.stand()
    assert (bench.core.term, bench.core.vote, sorted(voter for voter, _, _ in asked)) == (1, HERE, ["n2", "n3"])


@pytest.mark.parametrize(("voters", "needed"), [(NAMES, 1), (("n1", "n2", "n3", "n4", "n5"), 2), (("n1", "n2"), 1)])
def test_it_leads_with_a_majority_and_not_before(voters: tuple[str, ...], needed: int) -> None:
    bench = Bench(store_of(), voters=voters)
    bench.core.stand()
    for number, voter in enumerate(voters[1 : needed + 1], start=1):
        assert bench.core.role != LEADER
        bench.core.deliver_vote(voter, term=1)
        assert (bench.core.role == LEADER) == (number == needed)
    assert bench.journal.last.term == 1


def test_the_hard_state_survives_into_the_next_life() -> None:
    store = store_of((1,), term=7, vote="n3")
    bench = Bench(store)
    assert (bench.core.term, bench.core.vote) == (7, "n3")
