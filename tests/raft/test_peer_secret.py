"""The shared secret of the peer port: no word of a stranger counts, and no frame fits another place."""

import hashlib

import pytest
from peer_world import NOWHERE, SECRET, Impostor, Node, dial, dial_as, hello, join, members, run, stop

from raftmem.raft import messages as m
from raftmem.raft.transport import frames
from raftmem.raft.transport.frames import Ask, Bye
from raftmem.raft.transport.peer_set import PeerEvents, PeerSet
from raftmem.raft.transport.secret import NONCE_BYTES, Challenge, Forged, PeerSecret, Response, Seal

OTHER = PeerSecret(b"the secret of another group of tests")


async def node_alone() -> Node:
    return await Node("n1").start(members({"n1": NOWHERE, "n2": NOWHERE}))


# --- the greeting ------------------------------------------------------------------------------------
def test_caller_with_another_secret_learns_nothing_and_counts_for_nothing() -> None:
    async def test() -> None:
        node = await node_alone()
        raw = await dial(node.port)
        with pytest.raises(Forged):
            await raw.prove("n2", "n1", secret=OTHER)
        _, raw.seals = OTHER.respond(Challenge("x", 1, "n2", "n1", bytes(NONCE_BYTES)), nonce=bytes(NONCE_BYTES))
        raw.say(hello("n2", "n1"))
        assert await raw.is_closed()
        assert node.events.empty()
        assert not node.peers.is_connected("n2")
        await stop(node)

    run(test())


def test_answerer_with_another_secret_is_not_greeted() -> None:
    async def test() -> None:
        impostor = Impostor()
        node = await Node("n3").start(members({"n1": await impostor.start(), "n3": NOWHERE}))
        raw = await impostor.next()
        raw.say(Response(bytes(NONCE_BYTES), bytes(32)))
        read = await raw.reader.read()
        assert b"challenge" in read
        assert b"hello" not in read
        assert node.events.empty()
        await stop(node)
        impostor.stop()

    run(test())


def test_relayed_proof_of_one_pair_fits_no_other() -> None:
    """A local user sits between: what n2 said to it cannot be shown to n1, nor played again."""
    challenge = Challenge(frames.MAGIC, frames.PROTOCOL_VERSION, "n2", "n1", b"a" * NONCE_BYTES)
    response, _ = SECRET.respond(challenge, nonce=b"b" * NONCE_BYTES)
    SECRET.accept(challenge, response)
    for change in (
        {"node_id": "n3"},
        {"to_node_id": "n3"},
        {"nonce": b"c" * NONCE_BYTES},
        {"node_id": "n1", "to_node_id": "n2"},
    ):
        other = Challenge(**{**{f: getattr(challenge, f) for f in challenge.__struct_fields__}, **change})
        with pytest.raises(Forged):
            SECRET.accept(other, response)
    with pytest.raises(Forged):
        SECRET.accept(challenge, Response(b"d" * NONCE_BYTES, response.proof))


def test_greeting_under_another_id_than_was_proved_is_refused() -> None:
    async def test() -> None:
        node = await node_alone()
        raw = await dial_as(node.port, "n2")
        raw.say(hello("n3", "n1"))
        assert await raw.is_closed()
        assert node.events.empty()
        await stop(node)

    run(test())


def test_both_ends_seal_each_direction_with_a_key_of_its_own() -> None:
    challenge = Challenge(frames.MAGIC, frames.PROTOCOL_VERSION, "n2", "n1", bytes(NONCE_BYTES))
    response, theirs = SECRET.respond(challenge, nonce=bytes(NONCE_BYTES))
    ours = SECRET.accept(challenge, response)
    assert theirs.receiving.open(ours.sending.seal(b"one")[4:]) == b"one"
    assert ours.receiving.open(theirs.sending.seal(b"two")[4:]) == b"two"
    with pytest.raises(Forged):
        theirs.receiving.open(theirs.sending.seal(b"three")[4:])


# --- frames --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "order", [pytest.param((1, 0), id="swapped"), pytest.param((0, 0), id="twice"), pytest.param((1,), id="one lost")]
)
def test_frames_fit_only_in_their_order(order: tuple[int, ...]) -> None:
    key = hashlib.blake2b(b"key").digest()[:32]
    sending, receiving = Seal(key), Seal(key)
    sealed = [sending.seal(data)[4:] for data in (b"first", b"second")]

    def replay() -> None:
        for position in order:
            receiving.open(sealed[position])

    with pytest.raises(Forged):
        replay()


def test_every_changed_bit_of_a_frame_is_noticed() -> None:
    key = bytes(32)
    sealed = Seal(key).seal(b"deposit 100")[4:]
    for position in range(len(sealed) * 8):
        forged = bytearray(sealed)
        forged[position // 8] ^= 1 << position % 8
        with pytest.raises(Forged):
            Seal(key).open(bytes(forged))
    for length in range(len(sealed)):
        with pytest.raises(Forged):
            Seal(key).open(sealed[:length])


@pytest.mark.parametrize("text", [b"", b"short", b"x" * 5000])
def test_secret_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="16 to 4096"):
        PeerSecret(text)


def test_derived_keys_differ_by_purpose_and_agree_between_replicas() -> None:
    again = PeerSecret(b"a secret of the tests of the peer port")
    assert SECRET.derive("cursors") == again.derive("cursors") != SECRET.derive("other")
    assert SECRET.derive("cursors") != OTHER.derive("cursors")


def test_network_without_any_authentication_is_refused() -> None:
    async def test() -> None:
        node = Node("n1")
        events = PeerEvents(
            receive=lambda _peer, _data: True,
            connected=lambda _peer: None,
            disconnected=lambda _peer: None,
            removed=lambda _peer, _reason: None,
        )
        with pytest.raises(ValueError, match="secret"):
            PeerSet(
                me=hello("n1", ""),
                events=events,
                known_birth={}.get,
                remember=lambda _node, _birth: None,
                randomness=node.draw,
            )
        node.listening.close()

    run(test())


# --- a replica that is about to join -----------------------------------------------------------------------
def test_replica_with_the_secret_is_told_which_group_this_is_and_is_no_peer() -> None:
    async def test() -> None:
        node = await node_alone()
        raw = await dial_as(node.port, "n9")
        raw.say(Ask("n9", "n1"))
        assert await raw.hear() == hello("n1", "n9")
        assert await raw.is_closed()
        assert node.events.empty()
        await stop(node)

    run(test())


def test_stranger_that_asks_is_told_nothing() -> None:
    async def test() -> None:
        node = await node_alone()
        raw = await dial(node.port)
        raw.say(Ask("n9", "n1"))
        assert await raw.reader.read() == b""
        await stop(node)

    run(test())


def test_only_a_voter_is_believed_that_this_replica_was_removed() -> None:
    async def test() -> None:
        learners = {"n3": NOWHERE}
        node = await Node("n1").start(members({"n1": NOWHERE, "n2": NOWHERE}, learners=learners))
        raw = await join(node, "n3")
        assert await node.next() == ("connected", "n3", b"")
        raw.say(frames.gone("n1"))
        assert await node.next() == ("disconnected", "n3", b"")
        plain = await dial(node.port)
        plain.say(Bye("", removed=True))
        assert await plain.is_closed()
        voter = await join(node, "n2")
        assert await node.next() == ("connected", "n2", b"")
        voter.say(frames.gone("n1"))
        assert (await node.next())[:2] == ("removed", "n2")
        await stop(node)

    run(test())


def test_message_of_a_stranger_never_reaches_consensus() -> None:
    async def test() -> None:
        node = await node_alone()
        for said in (m.Append(9, 1, 1, 0, 1, ()), m.Refuse(2**62), m.Forward(1, b"x")):
            raw = await dial(node.port)
            raw.send(frames.encode(hello("n2", "n1")))
            raw.send(m.encode(said))
            assert await raw.is_closed()
        assert node.events.empty()
        await stop(node)

    run(test())
