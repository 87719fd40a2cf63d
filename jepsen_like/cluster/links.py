"""The network between replicas, and of clients: each connection goes through a relay that faults can hold or break.

A fault names the sender and the receiver, whichever of the two opened the connection. Faults add up: bytes pass where
no fault holds them, and as late as all delays together. Rule: held or delayed bytes, and the end of a connection, are
neither lost nor reordered: they arrive when they may.
"""

import asyncio
import random
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import uvloop

HOST = "127.0.0.1"
CHUNK_BYTES = 1 << 16
CHUNKS_MAX = 512  # read from one end and not yet written to the other; then its sender has to wait

Ends = tuple[str, str]  # who calls and who is called; or who sends and who receives


@dataclass(frozen=True)
class Passage:
    """The fate of bytes that one replica sends to another.

    `cut`: connections between the two are broken off, new ones too.
    """

    held: bool = False
    cut: bool = False
    delay_ms: float = 0.0
    jitter_ms: float = 0.0


class _Flow:
    """The sum of all faults on the way from one to another. On the loop's thread."""

    def __init__(self) -> None:
        self.laid: dict[int, Passage] = {}
        self.is_open = asyncio.Event()
        self.is_open.set()

    def changed(self) -> None:
        if any(one.held for one in self.laid.values()):
            self.is_open.clear()
        else:
            self.is_open.set()

    @property
    def is_cut(self) -> bool:
        return any(one.cut for one in self.laid.values())

    def delay_s(self) -> float:
        return sum(one.delay_ms + one.jitter_ms * random.random() for one in self.laid.values()) / 1000


class Links:
    """Relays on a loop and a thread of their own; every method may be called from any thread."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links")
        self._thread.start()
        self._flows: dict[Ends, _Flow] = {}
        self._connections: dict[Ends, set[asyncio.Task[None]]] = {}
        self._servers: list[asyncio.Server] = []
        self._laid = 0

    # --- relays -------------------------------------------------------------------------------------
    def open(self, caller: str, called: str, address: tuple[str, int]) -> int:
        """A port on loopback that stands for the address."""
        return asyncio.run_coroutine_threadsafe(self._open((caller, called), address), self._loop).result()

    async def _open(self, ends: Ends, address: tuple[str, int]) -> int:
        there = self._flows.setdefault(ends, _Flow())
        back = self._flows.setdefault((ends[1], ends[0]), _Flow())
        connections = self._connections.setdefault(ends, set())

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(_relay(reader, writer, address, there, back))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(accept, HOST, 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    @property
    def ways(self) -> frozenset[Ends]:
        """The pairs (sender, receiver) whose bytes pass these relays: only there a fault can be laid."""
        return frozenset(self._flows)

    # --- faults -------------------------------------------------------------------------------------
    def lay(self, faults: Mapping[Ends, Passage]) -> int:
        """In force when this returns; its number, to lift it by. `faults`: by who sends and who receives.

        Raises: KeyError when there is no such way.
        """
        return asyncio.run_coroutine_threadsafe(self._lay(faults), self._loop).result()

    async def _lay(self, faults: Mapping[Ends, Passage]) -> int:
        flows = {ends: self._flows[ends] for ends in faults}
        self._laid += 1
        for ends, flow in flows.items():
            flow.laid[self._laid] = faults[ends]
            flow.changed()
            if faults[ends].cut:
                self._break_off(ends)
        return self._laid

    def _break_off(self, ends: Ends) -> None:
        for either in (ends, (ends[1], ends[0])):
            for task in self._connections.get(either, ()):
                task.cancel()

    def lift(self, *numbers: int) -> None:
        """These faults are no more; again is nothing."""
        asyncio.run_coroutine_threadsafe(self._lift(numbers), self._loop).result()

    async def _lift(self, numbers: Iterable[int]) -> None:
        for flow in self._flows.values():
            for number in numbers:
                flow.laid.pop(number, None)
            flow.changed()

    def heal(self) -> None:
        """Heals every fault, whichever nemesis laid it."""
        self.lift(*range(1, self._laid + 1))

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Meanwhile nothing reaches that replica and nothing leaves it."""
        number = self.lay({ends: Passage(held=True) for ends in self.ways if name in ends})
        try:
            yield
        finally:
            self.lift(number)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for connections in self._connections.values() for task in connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: tuple[str, int], there: _Flow, back: _Flow
) -> None:
    """One connection, until both directions have ended, or it is cancelled: then both ends are broken off."""
    far: asyncio.StreamWriter | None = None
    try:
        await there.is_open.wait()  # whoever calls is not heard before its bytes may pass
        if there.is_cut or back.is_cut:
            return
        far_reader, far = await asyncio.open_connection(*address)
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, far, there))
            both.create_task(_pump(far_reader, writer, back))
    except* OSError:
        pass  # an end was lost: so is the other, below
    finally:
        for end in (writer, far):
            if end is not None:
                end.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, flow: _Flow) -> None:
    """Its reading goes on while what was read is on its way, so that a delay costs time and no throughput."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_MAX)

    async def read() -> None:
        data = b" "
        while data:
            try:
                data = await source.read(CHUNK_BYTES)
            except OSError:
                data = b""  # a lost end is told as late as all else
            await under_way.put((loop.time() + flow.delay_s(), data))

    reading = loop.create_task(read())
    try:
        while True:
            due, data = await under_way.get()
            if (left := due - loop.time()) > 0:
                await asyncio.sleep(left)
            await flow.is_open.wait()
            if not data:
                break
            sink.write(data)
            await sink.drain()
        if not sink.is_closing():
            sink.write_eof()
    finally:
        reading.cancel()
