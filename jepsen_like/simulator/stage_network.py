"""A network whose messages wait until a script says what becomes of them.

Rules: a direction keeps order unless the script takes a message out of its turn; what waits when a connection breaks is
late, and reaches nobody unless the script delivers it all the same (the late data of a replaced connection).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from raftmem.raft import messages as m

Way = tuple[str, str]  # from, to


class Letter(NamedTuple):
    """One message on its way. `number`: in the order of sending, over the whole stage."""

    number: int
    sender: str
    to: str
    data: bytes

    @property
    def message(self) -> m.Message:
        return m.decode(self.data)

    def is_kind(self, kind: str | None) -> bool:
        return kind is None or type(self.message).__name__ == kind


class StageNetwork:
    """`on_connected`, `on_disconnected`: tell (one end, about the other). `may_connect`: the handshake."""

    def __init__(
        self,
        *,
        may_connect: Callable[[str, str], bool],
        on_connected: Callable[[str, str], None],
        on_disconnected: Callable[[str, str], None],
    ) -> None:
        self.present: set[str] = set()
        self.held: set[Way] = set()
        self._may_connect = may_connect
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._connected: set[frozenset[str]] = set()
        self._waiting: dict[Way, list[Letter]] = {}
        self._late: dict[Way, list[Letter]] = {}
        self._apart: set[frozenset[str]] = set()
        self._sent = 0

    # --- connections ------------------------------------------------------------------------------
    def attach(self, name: str) -> None:
        """A replica came up: it is connected to all that are up and talk to it."""
        self.present.add(name)
        self.connect_all(name)

    def detach(self, name: str) -> None:
        """A replica died: its connections break."""
        for other in sorted(self.present):
            self.break_off(name, other)
        self.present.discard(name)

    def connect_all(self, name: str) -> None:
        for other in sorted(self.present):
            self.connect(name, other)

    def is_connected(self, a: str, b: str) -> bool:
        return frozenset((a, b)) in self._connected

    def connect(self, a: str, b: str) -> None:
        pair = frozenset((a, b))
        if a == b or not pair <= self.present or pair in self._connected or pair in self._apart:
            return
        if self._may_connect(a, b):
            self._connected.add(pair)
            for me, peer in sorted(((a, b), (b, a))):
                self._on_connected(me, peer)

    def break_off(self, a: str, b: str) -> None:
        """The connection breaks: both ends are told, what waits on it is late."""
        if not self.is_connected(a, b):
            return
        self._connected.discard(frozenset((a, b)))
        for way in ((a, b), (b, a)):
            self._late.setdefault(way, []).extend(self._waiting.pop(way, []))
        for me, peer in sorted(((a, b), (b, a))):
            if me in self.present:
                self._on_disconnected(me, peer)

    def keep_apart(self, a: str, b: str) -> None:
        """Break off, and stay so until `allow`."""
        self._apart.add(frozenset((a, b)))
        self.break_off(a, b)

    def allow(self, a: str, b: str) -> None:
        self._apart.discard(frozenset((a, b)))
        self.connect(a, b)

    # --- messages -----------------------------------------------------------------------------------
    def send(self, sender: str, to: str, data: bytes) -> None:
        if self.is_connected(sender, to):
            self._sent += 1
            self._waiting.setdefault((sender, to), []).append(Letter(self._sent, sender, to, data))

    def waiting(self, *, held: bool = False) -> list[Letter]:
        """All that may be delivered now, or also what is held, in the order of sending."""
        free = (letters for way, letters in self._waiting.items() if held or way not in self.held)
        return sorted(letter for letters in free for letter in letters)

    def on(self, way: Way) -> Iterator[Letter]:
        """The messages that wait on one way, held or not, in order."""
        return iter(tuple(self._waiting.get(way, ())))

    def late(self, way: Way) -> Iterator[Letter]:
        """Second copies, and what was waiting on connections that broke."""
        return iter(tuple(self._late.get(way, ())))

    def come_late(self, letter: Letter) -> None:
        """It will be there once more."""
        self._late.setdefault((letter.sender, letter.to), []).append(letter)

    def take(self, letter: Letter) -> bool:
        """Out of the queue; whether it was still there."""
        for queues in (self._waiting, self._late):
            letters = queues.get((letter.sender, letter.to), [])
            if letter in letters:
                letters.remove(letter)
                return True
        return False
