"""The network between replicas, for those who hold it: every connection to a peer port goes through one of these.

Rule: held bytes are neither lost nor passed on; let go, they arrive in their order, as late as that may be.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK_BYTES = 1 << 16


class Links:
    """Relays on a loop and a thread of their own. Each has a gate, named by who calls and who is called."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._gates: dict[tuple[str, str], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, caller: str, called: str, address: tuple[str, int]) -> int:
        """A port on loopback that stands for the address."""
        return asyncio.run_coroutine_threadsafe(self._open((caller, called), address), self._loop).result()

    async def _open(self, ends: tuple[str, str], address: tuple[str, int]) -> int:
        gate = self._gates[ends] = asyncio.Event()
        gate.set()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far_reader, far_writer = await asyncio.open_connection(*address)
            except OSError:
                writer.close()
                return
            for source, sink in ((reader, far_writer), (far_reader, writer)):
                task = self._loop.create_task(_pump(source, sink, gate))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Meanwhile nothing reaches that replica and nothing leaves it."""
        gates = [gate for ends, gate in self._gates.items() if name in ends]
        for gate in gates:
            self._loop.call_soon_threadsafe(gate.clear)
        try:
            yield
        finally:
            for gate in gates:
                self._loop.call_soon_threadsafe(gate.set)

    def close(self) -> None:
        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event) -> None:
    try:
        while data := await source.read(CHUNK_BYTES):
            await gate.wait()
            sink.write(data)
            await sink.drain()
    except OSError:
        return  # an end was lost: so is the other, below
    finally:
        sink.close()
