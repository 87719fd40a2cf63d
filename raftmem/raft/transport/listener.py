"""The listener accepts calls, secures them if TLS is on, and leaves each to its connection.

The accept is our own because a server of asyncio keeps the certificates of its start. The rule: callers that have not
said who they are in time are cut, and there are at most `PEER_HANDSHAKES_MAX` of them.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from raftmem.limits import PEER_HANDSHAKES_MAX
from raftmem.raft.transport import connection as timing
from raftmem.raft.transport.connection import PeerConnection
from raftmem.raft.transport.tls import PeerTls

PAUSE_SECONDS: Final = 0.1  # after an accept that failed: no descriptor is left, or the caller has gone


class Listener:
    """Owns the listening socket. `make`: a connection for a caller; `complain(reason)`: of strangers."""

    def __init__(
        self, *, make: Callable[[], PeerConnection], complain: Callable[[str], None], tls: PeerTls | None
    ) -> None:
        self._make = make
        self._complain = complain
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._callers: set[PeerConnection] = set()
        self._admissions: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        self._task = asyncio.create_task(self._run(listening))

    async def stop(self) -> None:
        tasks = list(self._admissions) if self._task is None else [self._task, *self._admissions]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, listening: socket.socket) -> None:
        with listening:
            while True:
                try:
                    connection, _ = await self._loop.sock_accept(listening)
                except OSError as error:
                    self._complain(f"cannot accept: {error}")
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    self._accepted(connection)

    def _accepted(self, connection: socket.socket) -> None:
        self._callers = {caller for caller in self._callers if caller.is_unknown()}
        if len(self._callers) >= PEER_HANDSHAKES_MAX:
            self._complain(f"hung up: {PEER_HANDSHAKES_MAX} callers have not said yet who they are")
            connection.close()
            return
        connection.setblocking(False)
        caller = self._make()
        self._callers.add(caller)
        admission = asyncio.create_task(self._admit(connection, caller))
        self._admissions.add(admission)
        admission.add_done_callback(self._admissions.discard)

    async def _admit(self, connection: socket.socket, caller: PeerConnection) -> None:
        try:
            async with asyncio.timeout(timing.HANDSHAKE_SECONDS):
                if self._tls is None:
                    await self._loop.connect_accepted_socket(lambda: caller, connection)
                else:
                    await self._loop.connect_accepted_socket(
                        lambda: caller,
                        connection,
                        ssl=self._tls.server(),
                        ssl_shutdown_timeout=timing.HANDSHAKE_SECONDS,
                    )
        except OSError as error:  # a timeout, and whatever TLS objects to, too
            self._callers.discard(caller)
            self._complain(f"TLS failed: {error.strerror or str(error) or 'too slow'}")
