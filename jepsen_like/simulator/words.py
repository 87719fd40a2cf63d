"""Messages in Raft's words, as the scenarios show them: `Append term:3 prev:4/1 commit:4 entries:[5/3]`.

A place in the log is written index/term. Sizes are not shown: a scenario is not to change with an encoding.
"""

from typing import assert_never

from raftmem.raft import messages as m


def in_words(message: m.Message, *, chunk_bytes: int) -> str:
    """One message on one line. `chunk_bytes`: of a whole piece of a snapshot."""
    name = type(message).__name__
    match message:
        case m.Append():
            return f"{name} term:{message.term} {_append(message)}"
        case m.Echo():
            return f"{name} term:{message.term} round:{message.round}"
        case m.Accept():
            return f"{name} term:{message.term} match:{message.match}"
        case m.Reject():
            hint = f"{message.hint_index}/{message.hint_term}"
            return f"{name} term:{message.term} prev:{message.prev_index} hint:{hint}"
        case m.Refuse() | m.TimeoutNow():
            return f"{name} term:{message.term}"
        case m.PreVote():
            return f"{name} term:{message.term} last:{message.last_index}/{message.last_term}"
        case m.PreVoteReply():
            return f"{name} term:{message.term} asked:{message.asked} {_granted(message.granted)}"
        case m.Vote():
            transfer = " transfer" if message.transfer else ""
            return f"{name} term:{message.term} last:{message.last_index}/{message.last_term}{transfer}"
        case m.VoteReply():
            return f"{name} term:{message.term} {_granted(message.granted)}"
        case m.Chunk():
            piece = f"piece:{message.offset // chunk_bytes + 1}" if message.data else "offer"
            number = f" round:{message.round}" if message.round else ""
            return f"{name} term:{message.term} snapshot:{message.meta.index}/{message.meta.term} {piece}{number}"
        case m.ChunkReply():
            pieces = -(-message.received // chunk_bytes)
            return f"{name} term:{message.term} snapshot:{message.index} pieces:{pieces}"
        case _:
            return f"{name} {_request(message)}"


def _append(message: m.Append) -> str:
    entries = " ".join(f"{entry.index}/{entry.term}" for entry in message.log_entries())
    shown = f" entries:[{entries}]" if entries else ""
    number = f" round:{message.round}" if message.round else ""
    return f"prev:{message.prev_index}/{message.prev_term} commit:{message.commit}{shown}{number}"


def _granted(granted: bool) -> str:
    return "granted" if granted else "denied"


def _request(message: m.Forward | m.Forwarded | m.ReadIndex | m.ReadIndexReply | m.Change) -> str:
    """Questions to a leader and what it answers; their numbers say nothing to a reader."""
    match message:
        case m.Forward():
            return "a command"
        case m.Forwarded():
            return f"at:{message.index}/{message.term}" if message.code is None else f"refused:{message.code}"
        case m.ReadIndex():
            return "quorum" if message.quorum else "lease"
        case m.ReadIndexReply():
            return "unconfirmed" if message.index is None else f"index:{message.index}"
        case m.Change():
            return f"{message.op} {message.member.id}"
        case _:
            assert_never(message)
