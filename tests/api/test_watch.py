"""Streams of the log: their bytes, their order, what each filter shows, and how each of them ends."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from api_world import FIRST, World, run

from raftmem.api.http import streaming
from raftmem.api.http.streaming import Outlet
from raftmem.api.routes import watch
from raftmem.model.commands import (
    Actor,
    Draft,
    GatePut,
    Header,
    LockAcquire,
    LockRelease,
    LockRenew,
    Operation,
    TaskAdd,
)
from raftmem.server.server import HttpServer
from raftmem.service import watch_hub
from raftmem.storage.state.in_memory import InMemoryReader

PATIENCE = 20.0
Json = dict[str, object]
NDJSON = {"accept": "application/x-ndjson"}


class Streams(World):
    """A replica whose streams can be read while it goes on."""

    server: HttpServer

    async def leave(self) -> None:
        """The replica that answers stops, as on SIGTERM."""
        await self.service.close(1000)

    async def add(self, **fields: object) -> None:
        reply = await self.ask("POST", "/v1/memories", {"text": "x", **fields})
        assert reply.status_code == 201, reply.text

    async def operate(self, *operations: Operation, actor: str = "o", request_id: str = "req") -> None:
        header = Header(Actor("agent", actor), request_id, operations)
        written = await self.service.write(Draft(header, tuple(None for _ in operations)), timeout_ms=1)
        assert all(outcome.applied for outcome in written.row.result.outcomes)

    @asynccontextmanager
    async def watch(self, query: str = "", headers: dict[str, str] | None = None) -> "AsyncIterator[Stream]":
        stream = Stream(self, query, headers or {})
        try:
            await stream.begin()
            yield stream
        finally:
            await stream.leave()


class Stream:
    """One client. What it has not read waits at the server: a piece is sent when the one before was taken."""

    def __init__(self, world: Streams, query: str, headers: dict[str, str]) -> None:
        self._world = world
        query = query.strip("&")
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/watch",
            "raw_path": b"/v1/watch",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in {"host": "n2", **headers}.items()],
        }
        self._left = asyncio.Event()
        self._asked = False
        self._sent: asyncio.Queue[Json] = asyncio.Queue(maxsize=1)
        self.text = b""
        self.ended = False
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self) -> None:
        self._task = asyncio.create_task(self._world.app(self._scope, self._receive, self._sent.put))  # type: ignore[arg-type]  # ASGI's own types are wider
        head = await self._next()
        self.status = head["status"]  # type: ignore[assignment]
        self.headers = {name.decode(): value.decode() for name, value in head["headers"]}  # type: ignore[attr-defined]

    async def _receive(self) -> Json:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _next(self) -> Json:
        return await asyncio.wait_for(self._sent.get(), PATIENCE)

    async def read(self) -> bool:
        """One piece more; False at the end."""
        if not self.ended:
            piece = await self._next()
            self.text += piece["body"]  # type: ignore[operator]
            self.ended = not piece["more_body"]
        return not self.ended

    @property
    def items(self) -> list[Json]:
        """The whole ones so far."""
        if self.headers["content-type"] == "application/x-ndjson":
            return [json.loads(line) for line in self.text.splitlines()]
        blocks = self.text.decode().split("\n\n")[:-1]
        return [json.loads(block.rpartition("data: ")[2]) for block in blocks]

    @property
    def entries(self) -> list[Json]:
        return [item for item in self.items if item["type"] == "entry"]

    async def until(self, count: int) -> list[Json]:
        """The first entries."""
        while len(self.entries) < count:
            assert await self.read(), self.text
        return self.entries

    async def rest(self) -> list[Json]:
        """Everything, once the stream has ended."""
        while await self.read():
            pass
        return self.items

    async def leave(self) -> None:
        """The client goes; the request is over afterwards."""
        self._left.set()
        while not self._task.done():
            if not self._sent.empty():
                self._sent.get_nowait()
            await asyncio.sleep(0)
        assert self._task.exception() is None


def places(entries: list[Json]) -> list[tuple[object, object]]:
    return [(entry["index"], entry["prev_index"]) for entry in entries]


def indexes(entries: list[Json]) -> list[object]:
    return [entry["index"] for entry in entries]


# --- bytes --------------------------------------------------------------------------------------------
EVENT = (
    '{"index":101,"seq":0,"term":3,"time":"2026-11-20T09:00:00.120Z","op":"ADD",'
    '"actor":{"type":"service","id":"anonymous","role":null},'
    '"scope":{"app_id":"shop","user_id":null,"agent_id":null,"run_id":null},"read_index":null,"request_id":"req-1",'
    '"outcome":"applied","code":null,"memory_id":"m1","version":1,'
    '"payload":{"id":"m1","text":"line\\n break","app_id":"shop"}}'
)
ENTRY = f'{{"type":"entry","index":101,"prev_index":null,"events":[{EVENT}]}}'


@pytest.mark.parametrize(
    ("accept", "media_type", "text"),
    [
        (
            None,
            "text/event-stream",
            'id: 100\nevent: bookmark\ndata: {"type":"bookmark","index":100}\n\n'
            f"id: 101\ndata: {ENTRY}\n\n"
            'id: 101\nevent: goodbye\ndata: {"type":"goodbye","index":101}\n\n',
        ),
        (
            "application/x-ndjson",
            "application/x-ndjson",
            f'{{"type":"bookmark","index":100}}\n{ENTRY}\n{{"type":"goodbye","index":101}}\n',
        ),
    ],
)
def test_a_stream_has_exactly_these_bytes(accept: str | None, media_type: str, text: str) -> None:
    async def work() -> None:
        world = Streams()
        async with world.watch(headers={"accept": accept} if accept else {}) as stream:
            body = {"id": "m1", "text": "line\n break", "app_id": "shop"}
            await world.ask("POST", "/v1/memories", body, headers={"x-request-id": "req-1"})
            await stream.until(1)
            await world.leave()
            await stream.rest()
            assert stream.text.decode() == text
            assert stream.status == 200
            assert {name: stream.headers[name] for name in ("content-type", "cache-control", "x-accel-buffering")} == {
                "content-type": media_type,
                "cache-control": "no-store",
                "x-accel-buffering": "no",
            }
            assert stream.headers["raftmem-index"] == "100"
            assert stream.headers["raftmem-node"] == "n2"
            assert "content-length" not in stream.headers

    run(work())


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "text/event-stream"),
        ("text/html, application/x-ndjson;q=0.5", "application/x-ndjson"),
        ("application/x-ndjson;q=0.5, text/event-stream", "text/event-stream"),
        ("Application/X-NDJSON", "application/x-ndjson"),
        ("application/x-ndjson;q=0", "text/event-stream"),
    ],
)
def test_who_prefers_lines_of_json_by_name_gets_them(accept: str, media_type: str) -> None:
    async def work() -> None:
        async with Streams().watch(headers={"accept": accept}) as stream:
            assert stream.headers["content-type"] == media_type

    run(work())


# --- where it begins --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("query", "headers", "shown"),
    [
        ("from=101", {}, [(101, None), (102, 101), (103, 102), (104, 103)]),
        ("from=1", {}, [(101, None), (102, 101), (103, 102), (104, 103)]),
        ("from=103", {}, [(103, 102), (104, 103)]),
        ("from=104", {}, [(104, 103)]),
        ("", {}, [(104, None)]),
        ("", {"last-event-id": "101"}, [(102, 101), (103, 102), (104, 103)]),
        ("from=101", {"last-event-id": "102"}, [(103, 102), (104, 103)]),
        ("from=102", {"last-event-id": ""}, [(102, 101), (103, 102), (104, 103)]),
        ("", {"last-event-id": "0"}, [(101, None), (102, 101), (103, 102), (104, 103)]),
    ],
)
def test_a_stream_goes_on_from_where_it_is_asked_to(
    query: str, headers: dict[str, str], shown: list[tuple[object, object]]
) -> None:
    async def work() -> None:
        world = Streams()
        for _ in range(3):
            await world.add()
        async with world.watch(query, headers) as stream:
            await world.add()
            assert places(await stream.until(len(shown))) == shown
            assert stream.items[0] == {"type": "bookmark", "index": int(stream.headers["raftmem-index"])}

    run(work())


@pytest.mark.parametrize(
    ("query", "headers", "status", "code", "parameter"),
    [
        ("from=103", {}, 400, "future-index", "from"),
        ("", {"last-event-id": "102"}, 400, "future-index", "from"),
        ("from=0", {}, 400, "invalid-request", "from"),
        ("", {"last-event-id": "x"}, 400, "invalid-request", "Last-Event-ID"),
        ("limit=1", {}, 400, "invalid-request", "limit"),
        ("op=LOCK", {}, 400, "invalid-request", "op"),
        ("include=all", {}, 400, "invalid-request", "include"),
    ],
)
def test_what_cannot_be_watched_is_refused_before_a_stream_begins(
    query: str, headers: dict[str, str], status: int, code: str, parameter: str
) -> None:
    async def work() -> None:
        world = Streams()
        await world.add()
        reply = await world.ask("GET", f"/v1/watch?{query}", headers=headers)
        assert (reply.status_code, reply.json()["code"], reply.json()["parameter"]) == (status, code, parameter)
        assert world.service.watchers == 0

    run(work())


def test_only_get_watches() -> None:
    assert Streams()("POST", "/v1/watch", {}).status_code == 405


def test_the_next_index_is_waited_for() -> None:
    async def work() -> None:
        world = Streams()
        async with world.watch("from=101") as stream:
            await world.add()
            assert places(await stream.until(1)) == [(101, None)]

    run(work())


def test_streams_past_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_hub, "WATCHERS_MAX", 2)

    async def work() -> None:
        world = Streams()
        async with world.watch(), world.watch():
            reply = await world.ask("GET", "/v1/watch")
            assert (reply.status_code, reply.json()["code"]) == (429, "too-many-requests")
            assert reply.headers["retry-after"] == "1"

    run(work())


# --- what shows -------------------------------------------------------------------------------------------
async def fill(world: Streams) -> None:
    """Indexes 101 to 111."""
    await world.add(id="m1", app_id="shop", user_id="u", tags=["a", "b"])  # 101
    await world.add(id="m2", app_id="bank", agent_id="ag", run_id="r")  # 102
    await world.ask("PATCH", "/v1/memories/m1", {"confidence": 0.5}, headers={"raftmem-actor": "agent/mia"})  # 103
    await world.ask("PATCH", "/v1/memories/m1", {"text": "y"}, headers={"if-match": '"9"', "x-request-id": "q"})  # 104
    events = [{"op": "ADD", "id": "m3", "text": "x", "app_id": "shop"}, {"op": "DELETE", "memory_id": "m2"}]
    await world.ask("POST", "/v1/events", {"events": events})  # 105
    await world.operate(LockAcquire("l/1", "o", 1000))  # 106
    await world.operate(
        LockRenew("l/1", "o", 106, None, Actor("agent", "nat"), "r-1"),
        LockRelease("l/1", "o", 106),
        actor="raft",
    )  # 107
    await world.operate(TaskAdd("t1", "review"))  # 108
    await world.operate(GatePut("g/1", 1))  # 109
    for leader in ("n2", "n1"):
        await world.service.transfer(leader, timeout_ms=1000)  # 110 and 111


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", [101, 102, 103, 104, 105, 106, 107, 108, 109]),
        ("include=internal", list(range(101, 112))),
        ("op=ADD", [101, 102, 105]),
        ("op=RAFT&include=internal", [110, 111]),
        ("op=RAFT", []),
        ("op=LOCK_RENEW", [107]),
        ("memory_id=m1", [101, 103, 104]),
        ("memory_id=m1&include=internal", [101, 103, 104]),
        ("memory_id=m2", [102, 105]),
        ("outcome=refused", [104]),
        ("app_id=shop", [101, 103, 104, 105]),
        ("app_id=shop&user_id=u", [101, 103, 104]),
        ("agent_id=ag", [102, 105]),
        ("run_id=r&op=DELETE", [105]),
        ("tag=b", [101, 103, 104]),
        ("tag=b&tag=a&op=UPDATE", [103, 104]),
        ("actor_id=mia", [103]),
        ("request_id=q", [104]),
        ("actor_id=nat", [107]),
        ("actor_id=raft", [107]),
        ("request_id=r-1", [107]),
        ("lock=l%2F1", [106, 107]),
        ("lock=l/1&op=LOCK_RELEASE", [107]),
        ("lock=l", []),
        ("queue=review", [108]),
        ("gate=g/1", [109]),
        ("gate=g/1&lock=l/1", []),
    ],
)
@pytest.mark.parametrize("live", [False, True], ids=["history", "live"])
def test_a_filter_shows_the_same_in_a_stream_and_in_a_list(query: str, shown: list[int], *, live: bool) -> None:
    async def work() -> None:
        world = Streams()
        if not live:
            await fill(world)
        async with world.watch(f"from=101&{query}") as stream:
            if live:
                await fill(world)
            found = await stream.until(len(shown))
            listed = await listing(world, f"from=101&{query}".strip("&"))
            await world.leave()
            await stream.rest()
            assert indexes(stream.entries) == shown
            assert [event for entry in found for event in entry["events"]] == listed  # type: ignore[attr-defined]

    run(work())


def test_a_renewal_that_shares_its_entry_shows_alone_to_who_asks_for_its_actor() -> None:
    async def work() -> None:
        world = Streams()
        await fill(world)
        async with world.watch("from=101&actor_id=nat") as stream:
            (entry,) = await stream.until(1)
            assert [event["op"] for event in entry["events"]] == ["LOCK_RENEW"]  # type: ignore[attr-defined]

    run(work())


def test_a_change_of_the_members_shows_when_it_is_asked_for() -> None:
    async def work() -> None:
        world = Streams()
        async with world.watch("op=MEMBER") as named, world.watch("include=internal") as all_, world.watch() as plain:
            await world.ask("DELETE", "/v1/cluster/members/n3")
            await world.add()
            assert indexes(await named.until(1)) == [101]
            assert indexes(await all_.until(2)) == [101, 102]
            assert indexes(await plain.until(1)) == [102]

    run(work())


def test_the_item_before_is_looked_for_back_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_BACK_ROWS", 30)

    async def work() -> None:
        world = Streams()
        await world.add(app_id="shop")
        for _ in range(29):
            await world.add()
        async with world.watch("app_id=shop&from=131") as near:
            await world.add()
            async with world.watch("app_id=shop&from=132") as far:
                await world.add(app_id="shop")
                assert places(await near.until(1)) == [(132, 101)]
                assert places(await far.until(1)) == [(132, None)]

    run(work())


async def listing(world: Streams, query: str) -> list[Json]:
    """Every event that a list with this query shows."""
    found: list[Json] = []
    cursor = ""
    while True:
        page = (await world.ask("GET", f"/v1/events?{query}&limit=1000{cursor}")).json()
        found += page["events"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


# --- order ------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_streams_of_every_pace_show_the_log_without_gap_or_repeat(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        watch_hub, "WATCH_PENDING_MAX", 16
    )  # so that a slow one is thrown back into history again and again
    monkeypatch.setattr(watch_hub, "_TRIM", 4)
    monkeypatch.setattr(watch, "WATCH_PIECE_BYTES", 900)
    monkeypatch.setattr(watch, "LOOKS_A_TURN", 5)
    draw = random.Random(seed)

    async def work() -> None:
        world = Streams()
        for _ in range(20):
            await world.add(app_id=draw.choice(["a", "b"]))
        queries = ["from=101", "from=110&app_id=a", "from=101&op=ADD&app_id=b", "from=120", "from=101"]
        async with (
            world.watch(queries[0]) as one,
            world.watch(queries[1]) as two,
            world.watch(queries[2]) as three,
            world.watch(queries[3]) as four,
            world.watch(queries[4]) as five,
        ):
            streams = [one, two, three, four, five]
            for _ in range(60):
                for _ in range(draw.choice([1, 1, 3, 12])):
                    await world.add(app_id=draw.choice(["a", "b"]))
                if draw.random() < 0.1:
                    world.service.pass_over()
                for stream in streams[:4]:  # the fifth reads only at the end
                    if draw.random() < 0.4:
                        await stream.read()
            for query, stream in zip(queries, streams, strict=True):
                listed = [event["index"] for event in await listing(world, query)]
                found = await stream.until(len(listed))
                assert indexes(found) == listed
                assert [entry["prev_index"] for entry in found[1:]] == listed[:-1]

    run(work())


def test_an_entry_is_never_split_however_large_it_is() -> None:
    async def work() -> None:
        world = Streams()
        async with world.watch() as stream:
            events = [{"op": "ADD", "text": "x" * 1000} for _ in range(300)]
            await world.ask("POST", "/v1/events", {"events": events})
            (entry,) = await stream.until(1)
            assert [event["seq"] for event in entry["events"]] == list(range(300))  # type: ignore[attr-defined]

    run(work())


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Indexes that were looked up in the event table."""
    found: list[int] = []
    find = InMemoryReader.event

    def counted(self: InMemoryReader, index: int) -> object:
        found.append(index)
        return find(self, index)

    monkeypatch.setattr(InMemoryReader, "event", counted)
    return found


def test_equal_streams_look_an_entry_up_once(looked: list[int]) -> None:
    async def work() -> None:
        world = Streams()
        await world.add()
        async with world.watch() as one, world.watch() as two, world.watch() as three:
            await world.add()
            for stream in (one, two, three):
                assert places(await stream.until(1)) == [(102, None)]
        assert looked == [102]

    run(work())


def test_a_stream_looks_at_nothing_new_that_does_not_concern_it(looked: list[int]) -> None:
    async def work() -> None:
        world = Streams()
        await world.add()
        async with world.watch("app_id=shop") as stream:
            for _ in range(20):
                await world.add(app_id="bank")
            await world.add(app_id="shop")
            await stream.until(1)
        assert looked == [122]

    run(work())


# --- bookmarks and ends -------------------------------------------------------------------------------------
def test_a_bookmark_says_how_far_everything_was_delivered_though_nothing_showed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "WATCH_BOOKMARK_SECONDS", 0.01)

    async def work() -> None:
        world = Streams()
        async with world.watch("lock=l") as stream:
            await stream.read()
            for _ in range(5):
                await world.add()
            while stream.items[-1] != {"type": "bookmark", "index": 105}:
                assert await stream.read()
            assert b"id: 105\nevent: bookmark\n" in stream.text
            assert stream.entries == []
            marks = [item["index"] for item in stream.items]
            assert marks == sorted(marks, key=str)

    run(work())


def test_a_stream_ends_with_goodbye_when_the_replica_leaves() -> None:
    async def work() -> None:
        world = Streams()
        async with world.watch() as quiet, world.watch("from=1&include=internal") as reading:
            await quiet.read()
            await world.leave()
            assert (await quiet.rest())[-1] == {"type": "goodbye", "index": 100}
            *before, last = await reading.rest()
            assert last == {"type": "goodbye", "index": before[-1]["index"]}
        reply = await world.ask("GET", "/v1/watch")
        assert (reply.status_code, reply.json()["code"]) == (503, "shutting-down")

    run(work())


def test_what_is_no_longer_kept_is_refused_before_and_told_during_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    oldest = 1
    monkeypatch.setattr(InMemoryReader, "oldest_index", lambda self: oldest)  # noqa: ARG005
    monkeypatch.setattr(watch, "LOOKS_A_TURN", 1)

    async def work() -> None:
        nonlocal oldest
        world = Streams()
        for _ in range(10):
            await world.add()
        async with world.watch("from=101") as stream:
            await stream.until(2)
            oldest = 108
            *before, last = await stream.rest()
            assert last == {"type": "compacted", "index": before[-1]["index"], "oldest_index": 108}
            assert indexes(stream.entries) == list(range(101, int(str(last["index"])) + 1))
        reply = await world.ask("GET", "/v1/watch?from=107")
        assert (reply.status_code, reply.json()["code"]) == (410, "index-compacted")
        assert reply.json()["oldest_index"] == 108

    run(work())


def test_a_client_that_leaves_ends_its_stream_at_once() -> None:
    async def work() -> None:
        world = Streams()
        async with world.watch() as quiet, world.watch("from=1&include=internal") as reading:
            await quiet.read()
            assert world.service.watchers == 2
            await reading.leave()
            assert world.service.watchers == 1
        assert world.service.watchers == 0

    run(work())


# --- on a socket --------------------------------------------------------------------------------------------
# Their loop waits in real time: bytes in a socket are nothing that a virtual clock knows of.
class Reader:
    """A client that reads only when it is told to, with little room in the system's own buffers."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)

    async def ask(self, target: str) -> None:
        request = f"GET {target} HTTP/1.1\r\nhost: x\r\naccept: application/x-ndjson\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(self.socket, request.encode())

    async def some(self, size: int = 65536) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, size), PATIENCE)

    async def until(self, end: bytes) -> bytes:
        """Everything up to a piece that ends so."""
        found = b""
        while not found.endswith(end):
            piece = await self.some()
            assert piece, found
            found += piece
        return found

    async def rest(self) -> bytes:
        """Until the server closes."""
        found = b""
        while piece := await self.some():
            found += piece
        self.socket.close()
        return found


@asynccontextmanager
async def served(world: Streams) -> AsyncIterator[int]:
    """The port on which the world is served, by sockets that hold little."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = world.server = HttpServer(world.app, drain_seconds=3)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield listening.getsockname()[1]
    server.leave(drains=True)
    await asyncio.wait_for(serving, PATIENCE)


LAST_CHUNK = b"\r\n0\r\n\r\n"


def unchunked(reply: bytes) -> bytes:
    """The body of a whole chunked reply."""
    _, _, chunks = reply.partition(b"\r\n\r\n")
    body = b""
    while True:
        size, _, chunks = chunks.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            assert chunks == b"\r\n"
            return body
        body, chunks = body + chunks[:count], chunks[count + 2 :]


async def long_log(world: Streams) -> int:
    """More than all buffers of a stream hold; the last index."""
    for _ in range(40):
        await world.add(text="x" * 60_000)
    return world.service.store.head().index


def test_who_reads_nothing_is_told_that_it_lagged_behind_all_that_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "WATCH_STALL_SECONDS", 0.3)
    monkeypatch.setattr(streaming, "_LOOK_SECONDS", 0.05)

    async def work() -> None:
        world = Streams()
        last = await long_log(world)
        async with served(world) as port:
            reader = Reader(port)
            await reader.ask("/v1/watch?from=101")
            while world.service.watchers == 0:
                await asyncio.sleep(0)
            while world.service.watchers:  # until it is given up
                await asyncio.sleep(0.01)
            monkeypatch.setattr(streaming, "WATCH_STALL_SECONDS", PATIENCE)
            *items, word = [json.loads(line) for line in unchunked(await reader.rest()).splitlines()]
            shown = [item["index"] for item in items if item["type"] == "entry"]
            assert shown == list(range(FIRST, shown[-1] + 1))
            assert word == {"type": "lagged", "index": shown[-1]}
            assert shown[-1] < last

    asyncio.run(work())


class FullLine:
    """A line on which so much waits at each look, four seconds apart on a clock of its own."""

    def __init__(self, *unread: int) -> None:
        self._looks = list(unread)
        self.now = 0.0
        self.full = True
        self._room = asyncio.Event()

    @property
    def unread(self) -> int:
        self.now += 4.0
        if len(self._looks) == 1:
            self._room.set()
        return self._looks.pop(0)

    async def drained(self) -> None:
        await self._room.wait()

    def end(self, last: bytes, *, linger_seconds: float) -> None:  # noqa: ARG002
        raise AssertionError


class SlowReply:
    """As much of an exchange as a streamed reply needs."""

    def __init__(self, line: FullLine) -> None:
        self.line = line
        self.pieces: list[bytes] = []

    async def put(self, piece: bytes) -> None:
        self.pieces.append(piece)


@pytest.mark.parametrize(
    ("unread", "waited_for"),
    [
        ([9, 9, 9, 9, 9, 9, 9], False),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 1], True),
        ([9, 9, 8, 8, 7, 7, 6, 6, 5, 5], True),
        ([9, 9, 8, 8, 8, 8, 8, 8], False),
    ],
)
def test_who_reads_slowly_is_waited_for_and_who_takes_nothing_for_the_bound_is_not(
    unread: list[int], waited_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_LOOK_SECONDS", 0)

    async def work() -> None:
        line = FullLine(*unread)
        reply = SlowReply(line)
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: line.now)
        outlet = Outlet(reply, lambda: False)  # type: ignore[arg-type]  # it asks for no more
        assert await outlet.put(b"piece") == waited_for
        assert len(reply.pieces) == waited_for

    asyncio.run(work())


def test_a_replica_that_leaves_waits_for_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LINGER_SECONDS", 0.1)

    async def work() -> None:
        world = Streams()
        await long_log(world)
        loop = asyncio.get_running_loop()
        async with served(world) as port:
            stalled, quiet = Reader(port), Reader(port)
            await stalled.ask("/v1/watch?from=101")
            await quiet.ask("/v1/watch")
            while world.service.watchers < 2:
                await asyncio.sleep(0)
            began = loop.time()
            await world.leave()
            said = unchunked(await quiet.until(LAST_CHUNK))
        assert loop.time() - began < 2  # the drain of the server allows for 3
        assert said.endswith(b'{"type":"goodbye","index":140}\n')
        stalled.socket.close()

    asyncio.run(work())


def test_streams_that_are_cut_off_with_their_replica_still_say_goodbye() -> None:
    async def work() -> None:
        world = Streams()
        async with served(world) as port:
            reader = Reader(port)
            await reader.ask("/v1/watch")
            found = await reader.until(b"}\n\r\n")
            await world.leave()
            world.server.leave(drains=False)
            body = unchunked(found + await reader.rest())
            assert body.endswith(b'{"type":"goodbye","index":100}\n')

    asyncio.run(work())


def test_a_connection_that_is_lost_ends_its_stream() -> None:
    async def work() -> None:
        world = Streams()
        async with served(world) as port:
            reader = Reader(port)
            await reader.ask("/v1/watch")
            await reader.some()
            assert world.service.watchers == 1
            reader.socket.close()
            while world.service.watchers:
                await asyncio.sleep(0)

    asyncio.run(work())


def test_a_connection_serves_the_next_request_after_a_stream_has_ended() -> None:
    async def work() -> None:
        world = Streams()
        async with served(world) as port:
            reader = Reader(port)
            await reader.ask("/v1/watch")
            await reader.until(b"}\n\r\n")
            await world.leave()
            assert b"goodbye" in await reader.until(LAST_CHUNK)
            await reader.ask("/livez")
            await reader.until(b'{"live":true}')
            reader.socket.close()

    asyncio.run(work())
