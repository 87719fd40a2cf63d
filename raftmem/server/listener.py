"""The listening socket of REST: it accepts a connection only where there is room for it.

asyncio's own servers accept whatever waits, many at once, before anybody can refuse; for a moment that takes every
descriptor of the process. So this listener accepts one by one and closes what has no room, after a word why. The rule:
nothing that a client does ends it: when descriptors run out it goes on a moment later.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from raftmem.server.room import Room, address_of

_ACCEPTED_A_TURN: Final = 32
_PAUSE_SECONDS: Final = 0.05  # after there was no room: what waits in the queue of the socket is asked again
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_UNREAD_BYTES: Final = 64 << 10
log = logging.getLogger("raftmem.http")


class Listener:
    """`refusal()`: the reply to a client that finds no room."""

    def __init__(
        self,
        listening: socket.socket,
        *,
        room: Room,
        protocol: Callable[[], asyncio.BaseProtocol],
        refusal: Callable[[], bytes],
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._room = room
        self._protocol = protocol
        self._refusal = refusal
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.refused = 0

    def start(self) -> None:
        self._pause = None
        if not self._is_closed:
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more, and close the socket."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._listening.fileno())
        if self._pause is not None:
            self._pause.cancel()
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            try:
                accepted, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    log.warning("a connection could not be accepted: %s", error)
                    return
                self._hold_back(f"no descriptor for another connection ({error.strerror})")
                self._room.make_room("")
                return
            if self._room.connections + len(self._opening) < self._room.connections_max or self._room.has_place_for(
                address_of(peer)
            ):
                self._open(accepted)
            else:
                self._turn_away(accepted)
                self._hold_back(f"{self._room.connections} connections are open, the most there may be")
                return

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        opening = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, accepted))
        self._opening.add(opening)
        opening.add_done_callback(lambda opened: self._opened(opened, accepted))

    def _opened(self, opened: "asyncio.Task[object]", accepted: socket.socket) -> None:
        self._opening.discard(opened)
        if not opened.cancelled() and (error := opened.exception()) is not None:
            log.warning("a connection could not be served: %s", error)
            accepted.close()

    def _turn_away(self, accepted: socket.socket) -> None:
        with accepted, suppress(OSError):
            accepted.setblocking(False)
            accepted.send(self._refusal())
            accepted.shutdown(socket.SHUT_WR)
            accepted.recv(_UNREAD_BYTES)  # what stays unread would take the reply away again (RFC 9112, 9.6)

    def _hold_back(self, why: str) -> None:
        if not self.refused & (self.refused - 1):  # the first, then ever more rarely
            log.warning("%s; clients are refused, %d so far", why, self.refused + 1)
        self.refused += 1
        self._loop.remove_reader(self._listening.fileno())
        self._pause = self._loop.call_later(_PAUSE_SECONDS, self.start)
