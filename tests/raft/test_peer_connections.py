"""The peer port on loopback: who is let in, who calls whom, and what breaks a connection (authenticated-peers)."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

import msgspec
import pytest
from peer_world import LOOPS, NOWHERE, Impostor, Node, Raw, dial, dial_as, hello, join, members, run, stop

from raftmem.limits import FRAME_BYTES_MAX, PEER_HANDSHAKES_MAX, PEER_STRANGERS_MAX
from raftmem.model.commands import Members
from raftmem.raft import messages as m
from raftmem.raft.transport import connection, frames, peer_set
from raftmem.raft.transport.frames import Bye
from raftmem.raft.transport.secret import MAC_BYTES, Response

EVERY_LOOP = pytest.mark.parametrize("loop", LOOPS)
VOTERS = {"n1": NOWHERE, "n2": NOWHERE, "n3": NOWHERE}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_set, "LESSER_SECONDS", 0.02)


@pytest.fixture
def never_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lesser id does not get to dial within a test."""
    monkeypatch.setattr(peer_set, "LESSER_SECONDS", 1000.0)


def with_node(test: Callable[[Node], Coroutine[None, None, None]], births: dict[str, str] | None = None) -> None:
    """Run `test` against n1, which names n2 and n3 and waits for them to call."""

    async def against() -> None:
        node = await Node("n1", births=births).start(members(VOTERS, folders={"n2": "folder-n2"}))
        try:
            await test(node)
        finally:
            await stop(node)

    run(against())


# --- who finds whom ------------------------------------------------------------------------------------
@EVERY_LOOP
@pytest.mark.usefixtures("never_first")
def test_two_voters_find_each_other_and_speak_and_find_each_other_again(loop: str) -> None:
    async def test() -> None:
        one, two = Node("n1"), Node("n2")
        both = members({"n1": one.port, "n2": two.port})
        await two.start(both)  # dials before anybody accepts
        await one.start(both)
        assert await one.next() == ("connected", "n2", b"")
        assert await two.next() == ("connected", "n1", b"")
        assert one.births == {"n2": "birth-n2"}
        await two.hears(one, "n2", m.Refuse(7))
        await one.hears(two, "n1", m.Refuse(8))
        await stop(one)
        assert await two.next() == ("disconnected", "n1", b"")
        again = Node("n1")
        two.peers.set_members(members({"n1": again.port, "n2": two.port}))
        await again.start(both)
        assert await two.next() == ("connected", "n1", b"")
        await stop(again, two)

    run(test(), loop)


def knowing(how: str, me: Node, my_name: str, other: Node, name: str) -> Members:
    """The membership at one end, by what it knows of the other."""
    own = {my_name: me.port}
    match how:
        case "voter":
            return members(own | {name: other.port})
        case "learner":
            return members(own, learners={name: other.port})
        case "elsewhere":
            return members(own | {name: NOWHERE})
        case _:
            return members({})


@EVERY_LOOP
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("lesser_knows", "greater_knows"),
    [
        pytest.param("voter", "nobody", id="only the lesser id knows the other"),
        pytest.param("nobody", "voter", id="only the greater id knows the other"),
        pytest.param("learner", "voter", id="one knows the other as a learner"),
        pytest.param("voter", "elsewhere", id="the greater id calls where nobody is"),
        pytest.param("elsewhere", "voter", id="the lesser id calls where nobody is"),
    ],
)
def test_a_pair_meets_whichever_side_knows_the_other(lesser_knows: str, greater_knows: str, loop: str) -> None:
    async def test() -> None:
        one, two = Node("n1"), Node("n2")

        await one.start(knowing(lesser_knows, one, "n1", two, "n2"))
        await two.start(knowing(greater_knows, two, "n2", one, "n1"))
        assert await one.next() == ("connected", "n2", b"")
        assert await two.next() == ("connected", "n1", b"")
        await two.hears(one, "n2", m.Refuse(1))
        await one.hears(two, "n1", m.Refuse(2))
        await stop(one, two)

    run(test(), loop)


@EVERY_LOOP
def test_calls_that_cross_leave_one_connection_that_stays(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_set, "LESSER_SECONDS", 0.0)

    async def test() -> None:
        for _ in range(20):
            one, two = Node("n1"), Node("n2")
            both = members({"n1": one.port, "n2": two.port})
            await asyncio.gather(one.start(both), two.start(both))
            assert await one.next() == ("connected", "n2", b"")
            assert await two.next() == ("connected", "n1", b"")
            for term in range(20):  # meanwhile every call that was under way has ended
                await two.hears(one, "n2", m.Refuse(term))
                await one.hears(two, "n1", m.Refuse(term))
            await stop(one, two)

    run(test(), loop)


@pytest.mark.usefixtures("never_first")
def test_of_crossed_calls_the_greater_id_keeps_its_own_until_nobody_answers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.3)

    async def test() -> None:
        silent = Impostor()
        node = await Node("n3").start(members({"n1": await silent.start(), "n3": NOWHERE}))
        called = await (await silent.next()).answer()
        assert await called.hear() == hello("n3", "n1")
        crossed = await dial_as(node.port, "n1", "n3")
        crossed.say(hello("n1", "n3"))
        assert await crossed.is_closed()
        assert node.events.empty()
        assert await called.is_closed()  # nobody answered n3's call in time
        called = await (await silent.next()).answer()
        assert await called.hear() == hello("n3", "n1")  # it calls once more
        again = await dial_as(node.port, "n1", "n3")
        again.say(hello("n1", "n3"))
        assert await again.hear() == hello("n3", "n1")
        assert await node.next() == ("connected", "n1", b"")
        assert await called.is_closed()
        await stop(node)
        silent.stop()

    run(test())


def test_of_crossed_calls_the_lesser_id_gives_its_own_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_set, "LESSER_SECONDS", 0.0)
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 1000.0)

    async def test() -> None:
        silent = Impostor()
        node = await Node("n1").start(members({"n1": NOWHERE, "n2": await silent.start()}))
        called = await (await silent.next()).answer()
        assert await called.hear() == hello("n1", "n2")
        await join(node)
        assert await node.next() == ("connected", "n2", b"")
        assert await called.is_closed()
        assert node.events.empty()
        await stop(node)
        silent.stop()

    run(test())


@pytest.mark.usefixtures("never_first")
def test_a_late_call_that_crossed_does_not_break_the_connection_and_a_new_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        other = Impostor()
        node = await Node("n3").start(members({"n1": await other.start(), "n3": NOWHERE}))
        called = await (await other.next()).answer()
        await called.hear()
        called.say(hello("n1", "n3"))
        assert await node.next() == ("connected", "n1", b"")
        late = await dial_as(node.port, "n1", "n3")
        late.say(hello("n1", "n3"))
        assert await late.is_closed()
        assert node.events.empty()
        monkeypatch.setattr(peer_set, "SETTLED_SECONDS", -1.0)
        fresh = await dial_as(node.port, "n1", "n3")
        fresh.say(hello("n1", "n3"))
        assert await fresh.hear() == hello("n3", "n1")
        assert [(await node.next())[0] for _ in range(2)] == ["disconnected", "connected"]
        await stop(node)
        other.stop()

    run(test())


# --- a membership that changes ---------------------------------------------------------------------------
@pytest.mark.usefixtures("never_first")
def test_a_member_that_comes_is_called_and_one_that_is_named_no_more_is_not_called_again() -> None:
    async def test() -> None:
        one, three = await Node("n1").start(), await Node("n3").start()
        alone, both = members({"n3": three.port}), members({"n3": three.port}, learners={"n1": one.port})
        three.peers.set_members(alone)
        three.peers.set_members(both)
        assert await three.next() == ("connected", "n1", b"")
        assert await one.next() == ("connected", "n3", b"")
        three.peers.set_members(alone)
        await one.hears(three, "n1", m.Refuse(1))  # it must still hear of its removal
        await stop(one)
        assert await three.next() == ("disconnected", "n1", b"")
        assert three.peers.greeting("n1") is None
        await stop(three)

    run(test())


@pytest.mark.usefixtures("never_first")
def test_a_call_under_way_is_broken_off_when_its_member_is_named_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 1000.0)

    async def test() -> None:
        silent = Impostor()
        node = await Node("n3").start(members({"n3": NOWHERE}, learners={"n2": await silent.start()}))
        called = await silent.next()
        node.peers.set_members(members({"n3": NOWHERE}))
        assert await called.is_closed()
        assert node.events.empty()
        await stop(node)
        silent.stop()

    run(test())


@pytest.mark.usefixtures("never_first")
def test_a_member_with_a_new_address_is_called_there() -> None:
    async def test() -> None:
        old, new = Impostor(), Impostor()
        node = await Node("n3").start(members({"n1": await old.start(), "n3": NOWHERE}))
        before = await (await old.next()).answer()
        await before.hear()
        before.say(hello("n1", "n3"))
        assert await node.next() == ("connected", "n1", b"")
        node.peers.set_members(members({"n1": await new.start(), "n3": NOWHERE}))
        assert await before.is_closed()
        assert await node.next() == ("disconnected", "n1", b"")
        after = await (await new.next()).answer()
        await after.hear()
        after.say(hello("n1", "n3"))
        assert await node.next() == ("connected", "n1", b"")
        await stop(node)
        old.stop()
        new.stop()

    run(test())


def test_a_stranger_that_becomes_a_member_is_remembered_then_and_only_under_its_own_folder() -> None:
    async def test(node: Node) -> None:
        await join(node, "n7")
        await join(node, "n8")
        assert [(await node.next())[1] for _ in range(2)] == ["n7", "n8"]
        assert node.births == {}
        named = VOTERS | {"n7": NOWHERE, "n8": NOWHERE}
        node.peers.set_members(members(named, folders={"n7": "folder-n7", "n8": "another"}))
        assert await node.next() == ("disconnected", "n8", b"")
        assert node.births == {"n7": "birth-n7"}
        assert node.peers.is_connected("n7")

    with_node(test)


# --- a replica that was removed ----------------------------------------------------------------------------
@EVERY_LOOP
@pytest.mark.usefixtures("never_first")
def test_a_removed_replica_is_told_at_once_and_whenever_it_calls_again(loop: str) -> None:
    async def test() -> None:
        one, two = Node("n1"), Node("n2")
        both = members({"n1": one.port, "n2": two.port})
        await one.start(both)
        await two.start(both)
        assert await one.next() == ("connected", "n2", b"")
        assert await two.next() == ("connected", "n1", b"")
        one.peers.set_members(members({"n1": one.port}))
        one.peers.set_removed({"n2"})
        assert one.events.empty()  # no event comes from within the call
        assert await one.next() == ("disconnected", "n2", b"")
        kind, node, reason = await two.next()
        assert (kind, node) == ("removed", "n1")
        assert b"n2 was removed" in reason
        assert await two.next() == ("disconnected", "n1", b"")
        assert (await two.next())[:2] == ("removed", "n1")  # the answer to its next call
        assert one.events.empty()
        await stop(one, two)

    run(test(), loop)


@pytest.mark.parametrize(
    ("caller", "is_believed"), [pytest.param("n2", True, id="a member"), pytest.param("n9", False, id="a stranger")]
)
def test_only_a_member_is_believed_that_this_replica_was_removed(caller: str, is_believed: bool) -> None:
    async def test(node: Node) -> None:
        raw = await join(node, caller)
        assert await node.next() == ("connected", caller, b"")
        raw.say(frames.gone("n1"))
        if is_believed:
            assert (await node.next())[:2] == ("removed", caller)
        assert await node.next() == ("disconnected", caller, b"")

    with_node(test)


def test_a_caller_that_never_greeted_is_not_believed_that_this_replica_was_removed() -> None:
    async def test(node: Node) -> None:
        raw = await dial(node.port)
        raw.say(frames.gone("n1"))
        assert await raw.is_closed()
        assert node.events.empty()

    with_node(test)


# --- the greeting ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cluster_id": "c2"}, "cluster c2"),
        ({"incarnation": 2}, "c1c1c1c1/2"),
        ({"node_id": "n1"}, "calls itself n1"),
        ({"node_id": "n6"}, "n6 was removed"),
        ({"to_node_id": "n3"}, "wants n3"),
        ({"genesis": b"x"}, "another bootstrap or recovery"),
        ({"folder_id": "restored"}, "folder-n2, not restored"),
        ({"birth": "second"}, "birth-n2, not second"),
        ({"election_timeout_ms": 1}, "election_timeout_ms 1"),
        ({"protocol": 9}, "protocol 9"),
    ],
)
def test_a_greeting_that_does_not_fit_is_answered_with_the_reason_and_closed(
    change: dict[str, object], words: str
) -> None:
    async def test(node: Node) -> None:
        node.peers.set_removed(["n6"])
        raw = await dial_as(node.port, str(change.get("node_id", "n2")))
        raw.say(msgspec.structs.replace(hello("n2", "n1"), **change))
        answer = await raw.hear()
        assert isinstance(answer, Bye)
        assert words in answer.reason
        assert answer.removed == ("removed" in words)
        assert await raw.is_closed()
        assert node.events.empty()
        assert not node.peers.is_connected("n2")

    with_node(test, {"n2": "birth-n2"})


def test_a_replica_of_this_cluster_that_is_not_named_yet_is_let_in_within_a_bound() -> None:
    async def test(node: Node) -> None:
        strangers = [await join(node, f"s{k}") for k in range(PEER_STRANGERS_MAX)]
        assert [(await node.next())[0] for _ in strangers] == ["connected"] * PEER_STRANGERS_MAX
        node.peers.send("s0", m.encode(m.Refuse(1)))
        assert await strangers[0].hear_data() == m.encode(m.Refuse(1))
        one_more = await dial_as(node.port, "one-more", "n1")
        one_more.say(hello("one-more", "n1"))
        answer = await one_more.hear()
        assert isinstance(answer, Bye)
        assert "does not name" in answer.reason
        await join(node, "n2")  # a member always gets in
        assert await node.next() == ("connected", "n2", b"")
        strangers[0].writer.close()
        assert await node.next() == ("disconnected", "s0", b"")
        await join(node, "s99")
        assert await node.next() == ("connected", "s99", b"")
        assert node.births == {"n2": "birth-n2"}

    with_node(test)


def test_callers_that_do_not_greet_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 1000.0)

    async def test(node: Node) -> None:
        waiting = [await dial(node.port) for _ in range(PEER_HANDSHAKES_MAX)]
        one_more = await dial(node.port)
        assert await one_more.is_closed()
        await waiting[0].prove("n2", "n1")
        waiting[0].say(hello("n2", "n1"))
        assert await waiting[0].hear() == hello("n1", "n2")
        await join(node, "n3")  # there is room again

    with_node(test)


@pytest.mark.parametrize(
    "raw_bytes",
    [
        pytest.param((frames.HELLO_BYTES_MAX + 1).to_bytes(4) + b"x", id="a greeting beyond its bound"),
        pytest.param(frames.frame(b"GET / HTTP/1.1"), id="no greeting"),
        pytest.param(frames.frame(m.encode(m.Vote(9, 9, 9))), id="a message before the greeting"),
        pytest.param(frames.frame(frames.encode(hello("n2", "n1"))), id="a greeting before the proof"),
        pytest.param(frames.frame(frames.encode(Response(bytes(32), bytes(32)))), id="an answer to no challenge"),
        pytest.param(
            frames.frame(frames.encode(Bye("abcd")).replace(b"abcd", b"\xff\xfe\xff\xfe")), id="a greeting of bad text"
        ),
    ],
)
def test_what_a_stranger_says_closes_the_connection_and_counts_for_nothing(raw_bytes: bytes) -> None:
    async def test(node: Node) -> None:
        raw = await dial(node.port)
        raw.writer.write(raw_bytes)
        assert await raw.is_closed()
        assert node.events.empty()

    with_node(test)


def test_a_caller_that_says_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.05)

    async def test(node: Node) -> None:
        raw = await dial(node.port)
        assert await raw.is_closed()
        assert node.events.empty()

    with_node(test)


def test_whoever_answers_at_the_address_of_another_is_refused() -> None:
    async def test() -> None:
        impostor = Impostor()
        node = await Node("n3").start(members({"n1": await impostor.start(), "n3": NOWHERE}))
        raw = await (await impostor.next()).answer()
        assert await raw.hear() == hello("n3", "n1")
        raw.say(hello("n2", "n3"))
        answer = await raw.hear()
        assert isinstance(answer, Bye)
        assert "n2 answers at the address of n1" in answer.reason
        assert node.events.empty()
        await stop(node)
        impostor.stop()

    run(test())


# --- a connection that counts --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "raw_bytes",
    [
        pytest.param((FRAME_BYTES_MAX + MAC_BYTES + 1).to_bytes(4), id="beyond its bound"),
        pytest.param(frames.frame(m.encode(m.Refuse(2))), id="without a MAC"),
        pytest.param(frames.frame(m.encode(m.Refuse(2)) + bytes(16)), id="with another MAC"),
        pytest.param(None, id="sent twice"),
    ],
)
def test_a_frame_that_is_not_of_the_connection_closes_it(raw_bytes: bytes | None) -> None:
    async def test(node: Node) -> None:
        raw = await join(node)
        assert raw.seals is not None
        first, last = (raw.seals.sending.seal(m.encode(m.Refuse(term))) for term in (1, 2))
        raw.writer.write(first + (first if raw_bytes is None else raw_bytes) + last)
        assert await node.next() == ("connected", "n2", b"")
        assert await node.next() == ("received", "n2", m.encode(m.Refuse(1)))
        assert await node.next() == ("disconnected", "n2", b"")
        assert await raw.is_closed()
        assert node.events.empty()

    with_node(test)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xc1 garbled", id="garbled"),
        pytest.param(frames.encode(hello("n3", "n1")), id="a second greeting"),
        pytest.param(b"\x93\xa3bye\xc1", id="a garbled farewell"),
    ],
)
def test_a_bad_frame_of_a_voter_closes_its_connection(data: bytes) -> None:
    async def test(node: Node) -> None:
        raw = await join(node)
        for said in (m.encode(m.Refuse(1)), data, m.encode(m.Refuse(2))):
            raw.send(said)
        assert await node.next() == ("connected", "n2", b"")
        assert await node.next() == ("received", "n2", m.encode(m.Refuse(1)))
        assert await node.next() == ("disconnected", "n2", b"")
        assert await raw.is_closed()
        assert node.events.empty()

    with_node(test)


def test_a_connection_that_replaces_another_closes_it() -> None:
    async def test(node: Node) -> None:
        old = await join(node)
        new = await join(node)
        assert await old.is_closed()
        old.send(m.encode(m.Refuse(1)))
        new.send(m.encode(m.Refuse(2)))
        told = [await node.next() for _ in range(4)]
        assert [event[0] for event in told] == ["connected", "disconnected", "connected", "received"]
        assert told[-1] == ("received", "n2", m.encode(m.Refuse(2)))
        assert node.peers.is_connected("n2")

    with_node(test)


def test_a_reader_that_is_too_slow_is_cut() -> None:
    async def test(node: Node) -> None:
        await join(node)
        assert await node.next() == ("connected", "n2", b"")
        for _ in range(8):
            node.peers.send("n2", bytes(FRAME_BYTES_MAX))
        assert await node.next() == ("disconnected", "n2", b"")
        assert not node.peers.is_connected("n2")

    with_node(test)


def test_what_is_sent_to_nobody_is_lost() -> None:
    async def test(node: Node) -> None:
        node.peers.send("n3", b"x")
        assert not node.peers.is_connected("n3")

    with_node(test)


def test_strangers_cannot_fill_the_log_nor_break_its_lines(caplog: pytest.LogCaptureFixture) -> None:
    async def test(node: Node) -> None:
        for k in range(50):
            raw: Raw = await dial_as(node.port, "n9")
            raw.say(msgspec.structs.replace(hello("n9", "n1"), cluster_id=f"c{k}\nforged"))
            assert await raw.is_closed()

    with caplog.at_level(logging.WARNING):
        with_node(test)
    said = [record.getMessage() for record in caplog.records if "c0" in record.getMessage()]
    assert len(said) == 1
    assert "\n" not in said[0]
    assert len([record for record in caplog.records if "forged" in record.getMessage()]) <= 10
