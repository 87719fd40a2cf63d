"""Obligations no-pickle, no-blind-retry, no-amnesia, one-timing: what can be said to a replica, and what it answers."""

import pickle

import msgspec
import pytest
from raft_world import OTHER, PEER, Solo, body, data, store_of

from raftmem.errors import NoLeader, TooLarge, TooManyRequests
from raftmem.limits import APPEND_ENTRIES_MAX, ENTRY_BYTES_MAX, FRAME_BYTES_MAX
from raftmem.model.codec import PREFIX_BYTES
from raftmem.model.commands import Actor, Draft, Member
from raftmem.raft import messages as m
from raftmem.raft.forwarding import OnProposed
from raftmem.raft.pending_requests import PendingRequests
from raftmem.raft.transport import frames

NODE, DIALLED = "n2", "n1"
HELLO = frames.Hello(
    "raftmem-peer", 1, "c1", 1, NODE, DIALLED, "folder-2", "birth-2", b"b" * 32, 1000, 500, "http://n2", "1"
)
MINE = msgspec.structs.replace(HELLO, node_id=DIALLED, to_node_id=NODE, folder_id="folder-1")


# --- no-pickle -----------------------------------------------------------------------------------------
STOCK_KINDS = (
    "append_entries",
    "next_node_idx",
    "request_vote",
    "apply_command",
    "apply_command_response",
    "timeout_now",
)


@pytest.mark.parametrize("kind", STOCK_KINDS)
def test_no_pickle_a_message_of_the_library_does_not_decode(kind: str) -> None:
    stock = {"type": kind, "term": 1, "serialized": (b"", True, True), "transmission": "start", "data": b""}
    for raw in (
        pickle.dumps(stock),
        msgspec.msgpack.encode(stock),
        msgspec.json.encode(stock | {"serialized": None, "data": None}),
    ):
        with pytest.raises(msgspec.DecodeError):
            m.decode(raw)


def test_no_pickle_an_append_has_no_room_for_a_snapshot() -> None:
    assert m.Append.__struct_fields__ == ("term", "round", "prev_index", "prev_term", "commit", "entries")
    kinds = {kind.__name__ for kind in m.Message.__args__}
    assert kinds == {
        "Append", "Echo", "Accept", "Reject", "Refuse", "PreVote", "PreVoteReply", "Vote", "VoteReply",
        "Forward", "Forwarded", "ReadIndex", "ReadIndexReply", "TimeoutNow", "Chunk", "ChunkReply", "Change",
    }  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        m.encode(m.Refuse(1))[:-1],
        m.encode(m.Refuse(-1)),
        m.encode(m.Refuse(2**63)),
        m.encode(m.Append(1, 1, 1, 1, 1, ((1, b"x" * (PREFIX_BYTES - 1)),))),
        m.encode(m.Append(1, 1, 1, 1, 1, ((1, bytes(PREFIX_BYTES)),) * (APPEND_ENTRIES_MAX + 1))),
        m.encode(m.Append(1, 1, 1, 1, 1, ((1, bytes(ENTRY_BYTES_MAX + 1)),))),
        m.encode(m.Forward(1, bytes(ENTRY_BYTES_MAX - PREFIX_BYTES + 1))),
        m.encode(m.Forward(1, b"")),
        m.encode(m.change(1, "add", Member("n4", "x" * 2000, "http://n4"), Actor("user", "u"), "r")),
        m.encode(m.change(1, "add", Member("n4", "peer", "http://n4"), Actor("user", "u" * 2000), "r")),
        m.encode(m.Forwarded(1, 1, 1, "code", "text")).replace(b"text", b"\xff\xfe\xff\xfe"),
        b"\x94\x02\x01\x01\x01" + b"\x91" * 100_000,
        b"\x95\x02\x01\x01\x01" + b"\x91" * 100_000 + b"\x01",
    ],
    ids=range(15),
)
def test_no_pickle_what_is_out_of_bounds_does_not_decode(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        m.decode(raw)
    solo = Solo()
    assert not solo.consensus.receive(PEER, raw)
    assert (solo.consensus.bad_messages, solo.stopped_by) == (1, None)


def test_no_pickle_an_entry_no_follower_would_take_is_never_proposed() -> None:
    solo = Solo()
    solo.lead()
    largest = ENTRY_BYTES_MAX - PREFIX_BYTES
    with pytest.raises(TooLarge):
        solo.consensus.propose(bytes(largest + 1))
    solo.consensus.propose(bytes(largest))
    with pytest.raises(TooLarge):
        solo.consensus.forward(bytes(largest + 1), lambda _reply: None)
    assert len(m.encode(m.Append(1, 1, 1, 1, 1, ((1, bytes(ENTRY_BYTES_MAX)),)))) < FRAME_BYTES_MAX


def test_no_pickle_frames_come_out_whole_however_they_arrive() -> None:
    sent = [b"", b"a", b"bb" * 1000]
    raw = b"".join(frames.frame(data) for data in sent)
    for step in (1, 3, len(raw)):
        unframer = frames.Unframer()
        assert [whole for at in range(0, len(raw), step) for whole in unframer.feed(raw[at : at + step])] == sent


def test_no_pickle_a_frame_beyond_its_bound_is_refused_by_its_length_alone() -> None:
    with pytest.raises(frames.FrameTooLarge):
        list(frames.Unframer(10).feed(frames.frame(bytes(11))[:4]))


# --- no-blind-retry ------------------------------------------------------------------------------------
def _following() -> Solo:
    solo = Solo(store_of((), term=1))
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, ()))
    solo.forget()
    return solo


def test_no_blind_retry_a_command_that_was_not_sent_is_refused() -> None:
    solo = Solo(store_of((), term=1))
    with pytest.raises(NoLeader):
        solo.consensus.forward(body(1), lambda _reply: None)
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, ()))
    solo.consensus.disconnected(PEER)
    with pytest.raises(NoLeader):
        solo.consensus.forward(body(1), lambda _reply: None)


def test_no_blind_retry_a_forwarded_command_is_answered_none_exactly_once_when_its_connection_breaks() -> None:
    solo = _following()
    answers: list[m.Forwarded | None] = []
    solo.consensus.forward(body(1), answers.append)
    sent = solo.heard(m.Forward)[0]
    assert isinstance(sent, m.Forward)
    solo.consensus.disconnected(OTHER)
    assert answers == []
    solo.consensus.disconnected(PEER)
    solo.consensus.connected(PEER)
    solo.give(PEER, m.Forwarded(sent.id, 5, 1))
    solo.consensus.disconnected(PEER)
    assert answers == [None]


def test_no_blind_retry_a_replica_that_stops_leaves_nobody_waiting() -> None:
    solo = _following()
    answers: list[object] = []
    solo.consensus.forward(body(1), answers.append)
    solo.consensus.read_index(quorum=False, callback=answers.append)
    solo.consensus.stop()
    assert answers == [None, None]


def test_no_blind_retry_an_answer_counts_once_and_only_from_whom_was_asked() -> None:
    asks = PendingRequests(first=100)
    answers: list[m.Forwarded | None] = []
    number = asks.forward(PEER, answers.append)
    asks.answered(OTHER, m.Forwarded(number, 9, 9))
    asks.answered(PEER, m.Forwarded(number + 1, 9, 9))
    asks.answered(PEER, m.Forwarded(number, 5, 1))
    asks.answered(PEER, m.Forwarded(number, 5, 1))
    assert answers == [m.Forwarded(number, 5, 1)]


def test_no_blind_retry_an_answer_to_the_last_life_fits_no_question_of_this_one() -> None:
    """V7: numbers that restart at 1 give a restarted follower another command's result as its own success."""
    first, second = PendingRequests(first=1000), PendingRequests(first=5_000_000)
    assert first.forward(PEER, lambda _reply: None) != second.forward(PEER, lambda _reply: None)
    solo = _following()
    solo.consensus.forward(body(1), lambda _reply: None)
    sent = solo.heard(m.Forward)[0]
    assert isinstance(sent, m.Forward)
    assert sent.id > 2**20


def test_no_blind_retry_a_replica_that_does_not_lead_answers_not_applied() -> None:
    solo = _following()
    assert [type(said) for said in solo.give(OTHER, m.Forward(3, body(1)))] == [m.Forwarded]
    said = solo.heard(m.Forwarded)[-1]
    assert isinstance(said, m.Forwarded)
    assert (said.id, said.code, solo.consensus.journal.last_index) == (3, "no-leader", 1)


def test_no_blind_retry_the_leader_says_where_a_forwarded_command_stands() -> None:
    solo = Solo()
    term = solo.lead()
    assert solo.give(PEER, m.Forward(3, body(1)))[0] == m.Forwarded(3, 3, term)
    assert solo.consensus.journal.last.data[PREFIX_BYTES:] == body(1)


def test_no_blind_retry_a_body_that_would_not_decode_is_not_proposed() -> None:
    solo = Solo()
    solo.lead()
    said = solo.give(PEER, m.Forward(3, b"\xc1 no body"))[0]
    assert isinstance(said, m.Forwarded)
    assert (said.code, solo.consensus.journal.last_index, solo.stopped_by) == ("invalid-request", 2, None)


def test_no_blind_retry_what_the_leader_refuses_is_not_proposed_and_does_not_stop_it() -> None:
    solo = Solo()
    solo.lead()
    refusals = [TooManyRequests("busy " * 1000), TooLarge("big")]

    def refuse(_body: bytes, _draft: Draft, _placed: OnProposed) -> None:
        raise refusals.pop(0)

    solo.consensus.on_forward(refuse)
    codes = [
        said.code for _ in range(2) for said in solo.give(PEER, m.Forward(3, body(1))) if isinstance(said, m.Forwarded)
    ]
    assert codes == ["too-many-requests", "too-large"]
    assert (solo.consensus.journal.last_index, solo.stopped_by) == (2, None)


def test_no_blind_retry_a_leader_that_stepped_down_takes_nothing() -> None:
    solo = Solo()
    solo.lead()
    solo.give(OTHER, m.Refuse(9))
    with pytest.raises(NoLeader):
        solo.consensus.propose(body(1))


# --- no-amnesia, one-timing: the handshake ----------------------------------------------------------------
def test_no_amnesia_a_voter_of_this_cluster_is_welcome() -> None:
    assert frames.objection(MINE, HELLO, is_removed=False, bound_folder=None, known_birth=None) is None
    assert frames.objection(MINE, HELLO, is_removed=False, bound_folder="folder-2", known_birth="birth-2") is None


def test_authenticated_peers_one_that_the_membership_does_not_name_yet_is_heard() -> None:
    hello = msgspec.structs.replace(HELLO, node_id="n9", folder_id="folder-9", birth="birth-9")
    assert frames.objection(MINE, hello, is_removed=False, bound_folder=None, known_birth=None) is None


def test_membership_a_removed_replica_is_told_so() -> None:
    bye = frames.objection(MINE, HELLO, is_removed=True, bound_folder=None, known_birth=None)
    assert bye is not None
    assert bye.removed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"magic": "other"}, "protocol"),
        ({"protocol": 2}, "protocol 2"),
        ({"cluster_id": "c2"}, "cluster c2"),
        ({"incarnation": 2}, "c1/2"),
        ({"node_id": "n1"}, "no two may have one id"),
        ({"to_node_id": "n3"}, "wants n3"),
        ({"genesis": b"x" * 32}, "another bootstrap or recovery"),
        ({"folder_id": "folder-x"}, "bound to data folder folder-2, not folder-x"),
        ({"birth": "birth-x"}, "born birth-2, not birth-x"),
        ({"election_timeout_ms": 999}, "election_timeout_ms 999"),
        ({"clock_drift_ppm": 1}, "clock_drift_ppm 1"),
    ],
)
def test_no_amnesia_anybody_else_is_refused_in_words(change: dict[str, object], words: str) -> None:
    hello = msgspec.structs.replace(HELLO, **change)
    bye = frames.objection(MINE, hello, is_removed=False, bound_folder="folder-2", known_birth="birth-2")
    assert bye is not None
    assert words in bye.reason
    assert not bye.removed


def test_the_data_of_an_entry_reaches_the_disk_unchanged() -> None:
    solo = Solo(store_of((), term=1))
    solo.give(PEER, m.Append(1, 1, 1, 0, 1, ((1, data(7)),)))
    solo.run()
    assert solo.store.read(2, 3)[0].data == data(7)
