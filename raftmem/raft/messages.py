"""The messages between replicas: one tagged union, decoded by schema with bounds. No pickle, nothing is executed.

`term` is the sender's current term when the message was made (obligation termed-answers); `PreVote.term` alone is
the term the sender would stand in. Entries of an append are consecutive, the first at `prev_index + 1`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from raftmem.limits import (
    APPEND_ENTRIES_MAX,
    ENTRY_BYTES_MAX,
    NAME_BYTES_MAX,
    OPERATIONS_MAX,
    SNAPSHOT_CHUNK_BYTES,
)
from raftmem.model.codec import PREFIX_BYTES
from raftmem.model.commands import Actor, ActorType, Member
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta

Count = Annotated[int, Meta(ge=0, le=2**62)]
Text = Annotated[str, Meta(max_length=4 * NAME_BYTES_MAX)]
EntryBytes = Annotated[bytes, Meta(min_length=PREFIX_BYTES, max_length=ENTRY_BYTES_MAX)]
BodyBytes = Annotated[bytes, Meta(min_length=1, max_length=ENTRY_BYTES_MAX - PREFIX_BYTES)]
ChangeOp = Literal["add", "remove", "transfer"]
WireEntry = tuple[Count, EntryBytes]  # (term, data)


class Append(Struct, frozen=True, array_like=True, tag=1):
    """Entries, or a heartbeat when there are none. `round` names the send for leases and confirmations."""

    term: Count
    round: Count
    prev_index: Count
    prev_term: Count
    commit: Count
    entries: Annotated[tuple[WireEntry, ...], Meta(max_length=APPEND_ENTRIES_MAX)]

    def log_entries(self) -> list[LogEntry]:
        start = self.prev_index + 1
        return [LogEntry(start + i, term, data) for i, (term, data) in enumerate(self.entries)]


class Echo(Struct, frozen=True, array_like=True, tag=2):
    """I heard this round. Claims nothing about the log, so a slow disk does not delay it. `applied`: for operators."""

    term: Count
    round: Count
    applied: Count


class Accept(Struct, frozen=True, array_like=True, tag=3):
    """My log agrees with the leader's up to `match`, on my disk."""

    term: Count
    match: Count


class Reject(Struct, frozen=True, array_like=True, tag=4):
    """No entry (prev_index, prev_term) here; the logs can only agree at or below (hint_index, hint_term)."""

    term: Count
    prev_index: Count
    hint_index: Count
    hint_term: Count


class Refuse(Struct, frozen=True, array_like=True, tag=5):
    """The message that came is of an older term than the sender's of this one."""

    term: Count


class PreVote(Struct, frozen=True, array_like=True, tag=6):
    """Would you vote for me in `term`? Changes nothing at either side."""

    term: Count
    last_index: Count
    last_term: Count


class PreVoteReply(Struct, frozen=True, array_like=True, tag=7):
    """`asked`: the term of the question."""

    term: Count
    asked: Count
    granted: bool


class Vote(Struct, frozen=True, array_like=True, tag=8):
    """`transfer`: its leader told the candidate to stand, so that it passes those who hear that leader."""

    term: Count
    last_index: Count
    last_term: Count
    transfer: bool = False


class VoteReply(Struct, frozen=True, array_like=True, tag=9):
    term: Count
    granted: bool


class Forward(Struct, frozen=True, array_like=True, tag=10):
    """A command body that its replica asks the leader to propose; `id` is the sender's own number."""

    id: Count
    body: BodyBytes


class Forwarded(Struct, frozen=True, array_like=True, tag=11):
    """The leader's answer. `code` None: it stands at (index, term); else not proposed, and never will be.

    `seq`: which operation of that entry is the first of what was asked, where one entry takes in what many ask.
    """

    id: Count
    index: Count
    term: Count
    code: Text | None = None
    detail: Text | None = None
    seq: Annotated[int, Meta(ge=0, lt=OPERATIONS_MAX)] = 0


class ReadIndex(Struct, frozen=True, array_like=True, tag=12):
    """From which index may I answer? `quorum`: confirm by a round begun after this arrived, not by the lease."""

    id: Count
    quorum: bool


class ReadIndexReply(Struct, frozen=True, array_like=True, tag=13):
    """`index` None: not confirmed."""

    id: Count
    index: Count | None


class TimeoutNow(Struct, frozen=True, array_like=True, tag=14):
    """Its leader gives way (Raft thesis 3.10): stand at once, without a pre-vote."""

    term: Count


class Chunk(Struct, frozen=True, array_like=True, tag=15):
    """Bytes of a snapshot from `offset` on; none: an offer, answered with what is there already."""

    term: Count
    round: Count
    meta: SnapshotMeta
    offset: Count
    data: Annotated[bytes, Meta(max_length=SNAPSHOT_CHUNK_BYTES)]


class ChunkReply(Struct, frozen=True, array_like=True, tag=16):
    """So many bytes of the snapshot at `index` are here. Claims nothing about the log."""

    term: Count
    index: Count
    checksum: Annotated[bytes, Meta(max_length=32)]
    received: Count


class Change(Struct, frozen=True, array_like=True, tag=17):
    """A change of the membership, or of the leader, that its replica asks the leader to make; answered by `Forwarded`.

    To remove and to transfer, only the id of the member counts (transfer: empty, whoever is furthest).
    """

    id: Count
    op: ChangeOp
    member_id: Text
    peer_url: Text
    rest_url: Text
    folder_id: Text | None
    replaces: Text | None
    actor_type: ActorType
    actor_id: Text
    actor_role: Text | None
    request_id: Text

    @property
    def member(self) -> Member:
        return Member(self.member_id, self.peer_url, self.rest_url, self.folder_id, self.replaces)

    @property
    def actor(self) -> Actor:
        return Actor(self.actor_type, self.actor_id, self.actor_role)


def change(number: int, op: ChangeOp, member: Member, actor: Actor, request_id: str) -> Change:
    return Change(
        id=number,
        op=op,
        member_id=member.id,
        peer_url=member.peer_url,
        rest_url=member.rest_url,
        folder_id=member.folder_id,
        replaces=member.replaces,
        actor_type=actor.type,
        actor_id=actor.id,
        actor_role=actor.role,
        request_id=request_id,
    )


Message = (
    Append
    | Echo
    | Accept
    | Reject
    | Refuse
    | PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Forward
    | Forwarded
    | ReadIndex
    | ReadIndexReply
    | TimeoutNow
    | Chunk
    | ChunkReply
    | Change
)

encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def decode(data: bytes) -> Message:
    """Raises: msgspec.DecodeError (and its ValidationError) when it is no message within the bounds."""
    try:
        return _decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:  # what msgspec lets through of bad text and deep nesting
        raise msgspec.DecodeError(str(error)) from error
