"""Room that clients share: connections, bodies and unread replies are bounded in all and by client address."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from http_world import App, Client, Served, bodies, echo, run, serving, text

from raftmem.api.http.exchange import Exchange
from raftmem.errors import Overloaded, TooManyRequests
from raftmem.limits import BODY_BYTES_MAX
from raftmem.server import connection
from raftmem.server.room import Bodies, Room, Unread, address_of

BOUND = 0.2
GREEDY, OTHER = "127.0.0.2", "127.0.0.3"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


async def answers(client: Client) -> bool:
    await client.send(GET)
    return (await client.until(b"GET /  0")).startswith(b"HTTP/1.1 200 ")


async def wait_for_ever(exchange: Exchange) -> None:
    if exchange.path == b"/wait":
        await exchange.gone()
    else:
        await echo(exchange)


# --- addresses ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::"),
        (("2001:db8:1:2:ffff::1", 1, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::"),
        (("", 1), ""),
        (None, ""),
        ("/a/unix/socket", ""),
    ],
)
def test_address_of_a_peer(peer: object, address: str) -> None:
    assert address_of(peer) == address


# --- connections --------------------------------------------------------------------------------------
def test_idle_connections_make_room_for_new_ones() -> None:
    async def work() -> None:
        async with serving(App(), connections_max=16) as served:
            idle = [await served.connect() for _ in range(200)]
            await until(lambda: served.server.room.connections == 16)
            assert await answers(await served.connect())
            assert await answers(await served.connect(OTHER))
            assert await idle[0].rest() == b""
            assert served.server.room.connections <= 16

    run(work())


def test_address_that_holds_all_connections_makes_room_for_another_only() -> None:
    async def work() -> None:
        async with serving(App(wait_for_ever), connections_max=16) as served:
            greedy = [await served.connect(GREEDY) for _ in range(16)]
            for client in greedy:
                await client.send(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
            await until(lambda: len(served.server.server_state.tasks) == 16)
            refusal = await (await served.connect(GREEDY)).rest()
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nconnection: close\r\n" in refusal
            for _ in range(4):
                assert await answers(await served.connect(OTHER))
            assert served.server.room.connections == 16

    run(work())


def test_unfinished_requests_do_not_keep_others_out() -> None:
    async def work() -> None:
        async with serving(App(), connections_max=16) as served:
            greedy = [await served.connect(GREEDY) for _ in range(16)]
            for client in greedy:
                await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-le")
            await until(lambda: served.server.room.connections == 16)
            assert await answers(await served.connect(OTHER))

    run(work())


def test_connection_that_ends_gives_its_place_back() -> None:
    async def work() -> None:
        async with serving(App(), connections_max=16) as served:
            clients = [await served.connect(GREEDY) for _ in range(10)]
            await until(lambda: served.server.room.connections == 10)
            for client in clients:
                client.leave()
            await until(lambda: served.server.room.connections == 0)
            assert not served.server.room._shares.by_address

    run(work())


def test_listener_goes_on_when_descriptors_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([OSError(24, "Too many open files"), OSError(23, "Too many open files in system")])
    accept = socket.socket.accept

    def exhausted(self: socket.socket) -> tuple[socket.socket, object]:
        if (failure := next(failures, None)) is not None:
            raise failure
        return accept(self)

    async def work() -> None:
        async with serving(App()) as served:
            monkeypatch.setattr(socket.socket, "accept", exhausted)
            assert await answers(await served.connect())
            assert next(failures, None) is None

    run(work())


# --- bodies -------------------------------------------------------------------------------------------
def test_bodies_of_one_address_take_at_most_half() -> None:
    held = Bodies(100)
    assert held.take(GREEDY, 50) is None
    assert isinstance(held.take(GREEDY, 1), TooManyRequests)
    assert held.take(OTHER, 50) is None
    assert isinstance(held.take("a third", 1), Overloaded)
    held.give_back(GREEDY, 50)
    assert held.take("a third", 50) is None
    assert held.held == 100


def test_unfinished_bodies_past_the_room_are_refused_and_others_are_served() -> None:
    part = BODY_BYTES_MAX - 1
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % BODY_BYTES_MAX

    async def work() -> None:
        async with serving(App()) as served:
            room = served.server.room
            room.bodies = Bodies(8 * BODY_BYTES_MAX)
            greedy = [await served.connect(GREEDY) for _ in range(12)]
            for client in greedy[:4]:
                await client.send(head + b"x" * part)
            await until(lambda: room.bodies.held == 4 * part)
            for client in greedy[4:]:
                await client.send(head + b"x" * part)
                assert (await client.rest()).startswith(b"HTTP/1.1 429 ")
            assert room.bodies.held == 4 * part
            other = await served.connect(OTHER)
            await other.send(head + b"x" * BODY_BYTES_MAX)
            assert await other.until(b"POST /  %d" % BODY_BYTES_MAX)
            await greedy[0].send(b"x")
            assert await greedy[0].until(b"POST /  %d" % BODY_BYTES_MAX)
            for client in greedy:
                client.leave()
            await until(lambda: room.bodies.held == 0)

    run(work())


@pytest.mark.parametrize("leaves", [False, True])
def test_body_is_counted_until_its_request_is_answered(leaves: bool) -> None:
    size = 100_000

    async def work() -> None:
        go_on = asyncio.Event()

        async def later(exchange: Exchange) -> None:
            await exchange.body()
            await go_on.wait()
            await echo(exchange)

        async with serving(App(later)) as served:
            room, client = served.server.room, await served.connect()
            await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
            await until(lambda: room.bodies.held == size)
            if leaves:
                client.leave()
            go_on.set()
            await until(lambda: room.bodies.held == 0)

    run(work())


# --- unread replies -----------------------------------------------------------------------------------
async def large(exchange: Exchange) -> None:
    await text(exchange, b"x" * (4 << 20) if exchange.path == b"/large" else b"GET /  0")


LARGE = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n"


async def unread(served: Served, count: int, client: str) -> list[Client]:
    """So many clients that ask for 4 MiB and read nothing."""
    silent = [await served.connect_silent(client) for _ in range(count)]
    for one in silent:
        await one.send(LARGE)
    return silent


def test_client_that_reads_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WRITE_STALL_SECONDS", BOUND)

    async def work() -> None:
        async with serving(App(large)) as served:
            kept = await unread(served, 3, GREEDY)
            await until(lambda: served.server.room.unread.held > 0)
            await until(lambda: served.server.room.connections == 0)
            assert served.server.room.unread.held == 0
            assert len(kept) == 3

    run(work())


def test_client_that_reads_slowly_gets_all_of_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WRITE_STALL_SECONDS", 2 * BOUND)

    async def work() -> None:
        async with serving(App(large)) as served:
            client = await served.connect_silent(GREEDY, 1 << 18)
            await client.send(LARGE)
            received = b""
            while not received.endswith(b"x" * 100) or len(received) < 4 << 20:
                received += await client.some(1 << 18)
                await asyncio.sleep(BOUND / 4)  # slower than the bound in all, faster at each step
            assert bodies(received) == [b"x" * (4 << 20)]

    run(work())


def test_unread_bytes_are_bounded_in_all_and_the_slowest_reader_is_hung_up_on() -> None:
    async def work() -> None:
        async with serving(App(large)) as served:
            served.server.room.unread._shares.limit = 10 << 20
            kept = await unread(served, 20, GREEDY)
            await until(lambda: sum(one.is_ended() for one in kept) >= 1 or served.server.room.unread.held > 5 << 20)
            assert served.server.room.unread.held <= 10 << 20
            assert await answers(await served.connect(OTHER))
            assert served.server.room.unread.held <= 10 << 20

    run(work())


def test_address_that_has_not_read_half_is_asked_to_read_first() -> None:
    async def work() -> None:
        async with serving(App(large)) as served:
            kept = await unread(served, 1, GREEDY)
            await until(lambda: served.server.room.unread.held > 0)
            served.server.room.unread._shares.limit = served.server.room.unread.held * 3 // 2
            refused = await served.connect(GREEDY)
            await refused.send(GET)
            assert (await refused.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 429 ")
            assert await answers(await served.connect(OTHER))
            assert not kept[0].is_ended()

    run(work())


def test_shares_of_unread_bytes_follow_what_is_noted_and_forgotten() -> None:
    class Slow:
        def __init__(self, client: str, since: float) -> None:
            self.client = client
            self.unread_since = since
            self.idle_since: float | None = None
            self.arriving_since: float | None = None
            self.aborted = False

        def abort(self) -> None:
            self.aborted = True

    unread = Unread(100)
    old, new, other = Slow(GREEDY, 1.0), Slow(GREEDY, 2.0), Slow(OTHER, 0.0)
    unread.note(old, 30)
    unread.note(new, 30)
    unread.note(other, 40)
    assert (unread.held, unread.refusal(OTHER)) == (100, None)
    assert isinstance(unread.refusal(GREEDY), TooManyRequests)
    unread.note(other, 45)
    assert (old.aborted, new.aborted, other.aborted, unread.held) == (True, False, False, 75)
    unread.forget(other)
    unread.forget(other)
    unread.forget(new)
    assert (unread.held, dict(unread._shares.by_address)) == (0, {})


# --- the client's half of a connection ----------------------------------------------------------------
@pytest.mark.parametrize("waits", [False, True])
def test_client_that_ends_its_half_gets_all_its_replies(waits: bool) -> None:
    async def answer(exchange: Exchange) -> None:
        if waits:
            await asyncio.sleep(0.01)
        await echo(exchange)

    async def work() -> None:
        async with serving(App(answer)) as served:
            client = await served.connect()
            await client.send(GET * 5 + b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
            client.end()
            assert bodies(await client.rest()) == [b"GET /  0"] * 5 + [b"POST /  3"]

    run(work())


@pytest.mark.parametrize("rest", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na"])
def test_request_that_is_not_whole_at_the_end_of_input_is_not_served(rest: bytes) -> None:
    seen: list[str] = []

    async def work() -> None:
        async with serving(App(seen=seen)) as served:
            client = await served.connect()
            await client.send(GET + rest)
            client.end()
            assert bodies(await client.rest()) == [b"GET /  0"]

    run(work())
    assert seen[:1] == ["GET /"]


def test_wait_of_a_client_that_ended_its_half_ends_and_is_answered() -> None:
    async def wait(exchange: Exchange) -> None:
        await exchange.gone()
        await text(exchange, b"over")

    async def work() -> None:
        async with serving(App(wait)) as served:
            client = await served.connect()
            await client.send(GET)
            client.end()
            assert bodies(await client.rest()) == [b"over"]

    run(work())


def test_room_without_connections_makes_none() -> None:
    assert not Room(16).make_room("")
