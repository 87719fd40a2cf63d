"""Anything at all at the peer port: raw bytes of strangers, and lies of replicas that hold the secret.

No input ends a replica, raises out of it, moves its term beyond the bound or makes it keep what a stranger sent. Short
here; `make fuzz` tries RAFTMEM_FUZZ_EXAMPLES of each.
"""

import asyncio
import itertools
import os
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peer_world import SECRET, Draw, hello
from raft_world import NAMES, OTHER, PEER, Solo, body, data, snapshot_of, store_of

from raftmem.limits import FRAME_BYTES_MAX, TERM_AHEAD_MAX, TERM_AHEAD_VOTER_MAX
from raftmem.model import codec
from raftmem.raft import messages as m
from raftmem.raft.transport import frames
from raftmem.raft.transport.connection import PeerConnection
from raftmem.raft.transport.frames import Ask, Bye, Hello
from raftmem.raft.transport.secret import MAC_BYTES, NONCE_BYTES, Challenge, PeerSecret, Response, Seals

EXAMPLES: Final = int(os.environ.get("RAFTMEM_FUZZ_EXAMPLES", "150"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STRANGER: Final = "n9"
KEPT_BYTES_MAX: Final = frames.HELLO_BYTES_MAX + 4


class Timer(asyncio.AbstractEventLoop):
    """A loop that runs what is due now when it is told to, and nothing later."""

    def __init__(self) -> None:
        self.due: list[Callable[[], object]] = []

    def turn(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()

    def call_soon(self, callback: Callable[..., object], *args: Any, context: object = None) -> Any:  # noqa: ARG002
        self.due.append(lambda: callback(*args))

    def call_later(
        self,
        delay: float,  # noqa: ARG002
        callback: Callable[..., object],  # noqa: ARG002
        *args: Any,  # noqa: ARG002
        context: object = None,  # noqa: ARG002
    ) -> Any:
        return asyncio.TimerHandle(0.0, lambda: None, (), self)

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, _handle: object) -> None:
        """Nothing is scheduled."""

    def time(self) -> float:
        return 0.0


class Pipe(asyncio.Transport):
    """A transport in memory: what was written, and that it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.loop = Timer()

    def write(self, data: Any) -> None:  # as asyncio declares it
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Watcher:
    """The owner of a connection: what reached it. It takes every greeting."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self._draw = Draw()

    def opened(self, connection: PeerConnection) -> None: ...
    def may_greet(self, connection: PeerConnection) -> bool:  # noqa: ARG002
        return True

    def greeted(self, connection: PeerConnection, greeting: Hello) -> bool:  # noqa: ARG002
        self.told.append(("greeted", greeting))
        return True

    def joined(self, connection: PeerConnection) -> None:
        self.told.append(("joined", connection.peer))

    def refused(self, connection: PeerConnection, bye: Bye) -> None:
        self.told.append(("refused", (connection.is_authentic, bye)))

    def heard(self, connection: PeerConnection, data: bytes) -> bool:  # noqa: ARG002
        self.told.append(("heard", data))
        return True

    def broken(self, connection: PeerConnection, error: Exception) -> None:  # noqa: ARG002
        self.told.append(("broken", error))

    def left(self, connection: PeerConnection) -> None: ...
    def asked(self, connection: PeerConnection, ask: Ask) -> None:  # noqa: ARG002
        self.told.append(("asked", ask))

    def hello(self, to_node: str) -> Hello:
        return hello("n1", to_node)

    def random(self, count: int) -> bytes:
        return self._draw.bytes(count)

    def believed(self) -> list[tuple[str, object]]:
        return [(kind, what) for kind, what in self.told if kind in ("greeted", "joined", "heard", "asked")]


def opened(expected: str | None) -> tuple[PeerConnection, Watcher, Pipe]:
    watcher, pipe = Watcher(), Pipe()
    connection = PeerConnection(watcher, pipe.loop, expected, secret=SECRET)
    connection.connection_made(pipe)
    pipe.loop.turn()
    return connection, watcher, pipe


def feed(connection: PeerConnection, pipe: Pipe, pieces: list[bytes]) -> None:
    for piece in pieces:
        if not pipe.closed:
            connection.data_received(piece)
            pipe.loop.turn()
        assert len(connection._unframer._buffer) <= KEPT_BYTES_MAX + max(map(len, pieces))


# --- strangers ------------------------------------------------------------------------------------------
names = st.sampled_from(["n1", "n2", "n3", ""]) | st.text(max_size=20)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
challenges = st.builds(
    Challenge, st.just(frames.MAGIC) | names, st.sampled_from([frames.PROTOCOL_VERSION, 9]), names, names, nonces
)
greetings = (
    st.builds(lambda name, to: hello(name, to), names, names)
    | st.builds(Bye, st.text(max_size=50), st.booleans())
    | st.builds(Ask, names, names)
    | challenges
    | st.builds(Response, nonces, nonces)
)
framed = st.binary(max_size=200).map(frames.frame) | greetings.map(lambda said: frames.frame(frames.encode(said)))


@st.composite
def mangled(draw: st.DrawFn) -> list[bytes]:
    """Frames and noise, some bytes of it changed, cut anywhere."""
    raw = bytearray(b"".join(draw(st.lists(framed | st.binary(max_size=300), min_size=1, max_size=6))))
    for position in draw(st.lists(st.integers(0, max(0, len(raw) - 1)), max_size=4)):
        if raw:
            raw[position] ^= draw(st.integers(1, 255))
    cuts = sorted({0, len(raw), *draw(st.lists(st.integers(0, len(raw)), max_size=5))})
    return [bytes(raw[a:b]) for a, b in itertools.pairwise(cuts)] or [b""]


@FUZZ
@given(pieces=mangled(), expected=st.sampled_from([None, "n2"]))
def test_nothing_that_a_stranger_sends_is_believed_and_nothing_of_it_is_kept(
    pieces: list[bytes], expected: str | None
) -> None:
    connection, watcher, pipe = opened(expected)
    feed(connection, pipe, pieces)
    assert watcher.believed() == []
    assert not any(authentic for kind, (authentic, _) in _refusals(watcher) if kind)
    assert connection.peer is None
    assert b"hello" not in pipe.written


def _refusals(watcher: Watcher) -> list[tuple[str, tuple[bool, Bye]]]:
    return [(kind, what) for kind, what in watcher.told if kind == "refused" and isinstance(what, tuple)]


def proved(name: str, secret: PeerSecret = SECRET) -> tuple[PeerConnection, Watcher, Pipe, Seals]:
    """A call that has proved the secret."""
    connection, watcher, pipe = opened(None)
    challenge = Challenge(frames.MAGIC, frames.PROTOCOL_VERSION, name, "n1", bytes(NONCE_BYTES))
    connection.data_received(frames.frame(frames.encode(challenge)))
    pipe.loop.turn()
    response = frames.decode_handshake(pipe.written[4:])
    assert isinstance(response, Response)
    return connection, watcher, pipe, secret.accept(challenge, response)


@FUZZ
@given(said=st.lists(st.binary(max_size=300) | greetings.map(frames.encode), max_size=5))
def test_bytes_of_a_replica_that_proved_itself_raise_nothing(said: list[bytes]) -> None:
    connection, _, pipe, seals = proved("n2")
    feed(connection, pipe, [seals.sending.seal(frames.encode(hello("n2", "n1")))])
    assert connection.peer == "n2"
    for data_ in said:
        if not pipe.closed:
            connection.data_received(seals.sending.seal(data_))


@FUZZ
@given(position=st.integers(0, 10_000), flip=st.integers(1, 255), count=st.integers(1, 4))
def test_frame_with_any_byte_changed_ends_the_connection_and_is_not_heard(position: int, flip: int, count: int) -> None:
    connection, watcher, pipe, seals = proved("n2")
    connection.data_received(seals.sending.seal(frames.encode(hello("n2", "n1"))))
    sound = [seals.sending.seal(m.encode(m.Refuse(term))) for term in range(count)]
    broken = bytearray(b"".join(sound))
    broken[position % len(broken)] ^= flip
    connection.data_received(bytes(broken))
    connection.data_received(bytes(FRAME_BYTES_MAX + MAC_BYTES))  # if a length was made longer: what it waits for
    heard = [what for kind, what in watcher.told if kind == "heard"]
    assert heard == [m.encode(m.Refuse(term)) for term in range(position % len(broken) // len(sound[0]))]
    assert pipe.closed


# --- replicas that lie --------------------------------------------------------------------------------------
edges = st.sampled_from([0, 1, 2, 3, 4, 5, TERM_AHEAD_MAX, TERM_AHEAD_VOTER_MAX, 2**62])
numbers = edges | st.integers(0, 12)
texts = st.text(max_size=10)
snapshots = st.builds(
    lambda index, term, size, entry: snapshot_of(5, 1).__class__(
        index, term, size, bytes(32), bytes(32), entry, store_of().read(1, 2)[0], 0
    ),
    st.integers(-2, 9),
    st.integers(-2, 9),
    numbers,
    st.binary(max_size=40) | st.just(data(1)),
)
entries = st.lists(
    st.tuples(
        numbers,
        st.sampled_from([data(1), data(2), store_of().read(1, 2)[0].data])
        | st.binary(min_size=codec.PREFIX_BYTES, max_size=codec.PREFIX_BYTES + 20),
    ),
    max_size=3,
).map(tuple)
lies: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(m.Append, numbers, numbers, numbers, numbers, numbers, entries),
    st.builds(m.Echo, numbers, numbers, numbers),
    st.builds(m.Accept, numbers, numbers),
    st.builds(m.Reject, numbers, numbers, numbers, numbers),
    st.builds(m.Refuse, numbers),
    st.builds(m.PreVote, numbers, numbers, numbers),
    st.builds(m.PreVoteReply, numbers, numbers, st.booleans()),
    st.builds(m.Vote, numbers, numbers, numbers, st.booleans()),
    st.builds(m.VoteReply, numbers, st.booleans()),
    st.builds(m.Forward, numbers, st.just(body(7)) | st.binary(min_size=1, max_size=40)),
    st.builds(m.Forwarded, numbers, numbers, numbers, texts, texts),
    st.builds(m.ReadIndex, numbers, st.booleans()),
    st.builds(m.ReadIndexReply, numbers, st.none() | numbers),
    st.builds(m.TimeoutNow, numbers),
    st.builds(m.Chunk, numbers, numbers, snapshots, numbers, st.binary(max_size=40)),
    st.builds(m.ChunkReply, numbers, numbers, st.just(bytes(32)), numbers),
    st.builds(
        m.Change, numbers, st.sampled_from(["add", "remove", "transfer"]), names, texts, texts, st.none() | texts,
        st.none() | names, st.sampled_from(["agent", "user", "system"]), texts, st.none(), texts,
    ),
)  # fmt: skip


def follower() -> Solo:
    return Solo(store_of((1, 1, 2), term=2), applied=2)


def leader() -> Solo:
    solo = Solo(store_of((1, 1), term=1), applied=2)
    solo.lead_with_lease()
    return solo


@FUZZ
@given(said=st.lists(st.tuples(st.sampled_from([PEER, OTHER, STRANGER]), lies), max_size=8), data=st.data())
@pytest.mark.parametrize("make", [follower, leader])
def test_no_sequence_of_lies_stops_a_replica_or_raises_out_of_it(
    make: Callable[[], Solo], said: list[tuple[str, m.Message]], data: st.DataObject
) -> None:
    solo = make()
    for peer, message in said:
        term = solo.consensus.term
        solo.consensus.receive(peer, m.encode(message))
        solo.run(data.draw(st.sampled_from([0.0, 0.01, 0.3])))
        assert solo.stopped_by is None, (peer, message)
        bound = TERM_AHEAD_MAX if peer not in NAMES else TERM_AHEAD_VOTER_MAX
        assert solo.consensus.term <= term + bound + 2, "and it may stand by itself once or twice meanwhile"


@FUZZ
@given(message=lies, changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
def test_mangled_messages_are_refused_or_taken_and_stop_nothing(
    message: m.Message, changes: list[tuple[int, int]]
) -> None:
    solo = follower()
    raw = bytearray(m.encode(message))
    for position, value in changes:
        raw[position % len(raw)] = value
    solo.consensus.receive(PEER, bytes(raw))
    solo.run(0.3)
    assert solo.stopped_by is None
