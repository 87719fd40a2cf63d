"""Links between named replicas.

Fault model, level `tcp`: a connection keeps order and loses a suffix when it breaks, both ends being told; a blocked
direction holds what is sent (TCP tries again) until it is healed or breaks. Level `async` (`disorder` above 0) besides:
any message may be lost, lose its place, come twice, or come after its connection was replaced. A message that would do
harm twice (`never_doubled`) relies on TCP's promise, and so is not doubled.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from jepsen_like.simulator.world import Event, World


class Ends(NamedTuple):
    """The callbacks by which the network reaches one replica's machine."""

    receive: Callable[[str, bytes], None]
    connected: Callable[[str], None]
    disconnected: Callable[[str], None]


class _Pair:
    """One connection, or none. `epoch` moves on whenever it breaks or is made."""

    __slots__ = ("epoch", "up")

    def __init__(self) -> None:
        self.epoch = 0
        self.up = False


class _Link:
    """One direction. `slow`: how many times the usual delay it takes."""

    __slots__ = ("blocked", "held", "last", "pair", "slow")

    def __init__(self, pair: _Pair, slow: float) -> None:
        self.pair = pair
        self.slow = slow
        self.blocked = False
        self.held: list[tuple[int, bytes]] = []
        self.last = 0.0


class VirtualNetwork:
    """`may_connect(a, b)`: asked before each connection (the handshake). `watch(a, b, data)`: sees all that is sent."""

    def __init__(self, world: World, *, seed: int = 0, delay: float = 0.001, jitter: float = 0.001) -> None:
        self._world = world
        self._random = random.Random(f"network {seed}")
        self.delay = delay
        self.jitter = jitter
        self.disorder = 0.0
        self.uneven = 0.0  # how many times slower one link may be than another
        self.may_connect: Callable[[str, str], bool] = lambda _a, _b: True
        self.never_doubled: Callable[[bytes], bool] = lambda _data: False
        self.watch: Callable[[str, str, bytes], None] = lambda _a, _b, _data: None
        self._ends: dict[str, Ends] = {}
        self._links: dict[tuple[str, str], _Link] = {}
        self._names: set[str] = set()  # of all that ever were
        self._exiled: set[str] = set()

    # --- replicas --------------------------------------------------------------------------------
    def attach(self, name: str, ends: Ends) -> None:
        """A replica came up: it is connected to all that are up, not cut off and talk to it."""
        self._names.add(name)
        self._ends[name] = ends
        self.connect_all(name)

    def detach(self, name: str) -> None:
        """A replica died: its connections break."""
        for other in sorted(self._ends):
            self.cut(name, other)
        self._ends.pop(name, None)

    def port(self, name: str) -> "VirtualPort":
        return VirtualPort(self, name)

    # --- connections -----------------------------------------------------------------------------
    def connect_all(self, name: str) -> None:
        for other in sorted(self._ends):
            self.connect(name, other)

    def is_connected(self, a: str, b: str) -> bool:
        return a != b and self._link(a, b).pair.up

    def connect(self, a: str, b: str) -> None:
        if a == b or a not in self._ends or b not in self._ends or a in self._exiled or b in self._exiled:
            return
        there, back = self._link(a, b), self._link(b, a)
        if there.pair.up or there.blocked or back.blocked or not self.may_connect(a, b):
            return
        there.pair.up = True
        there.pair.epoch += 1
        for link in (there, back):
            link.last = self._world.now
            link.held.clear()
        for me, peer in sorted(((a, b), (b, a))):
            self._ends[me].connected(peer)

    def cut(self, a: str, b: str) -> None:
        """The connection breaks: what is under way is lost, both ends are told."""
        if a == b or not self._link(a, b).pair.up:
            return
        pair = self._link(a, b).pair
        pair.up = False
        pair.epoch += 1
        for me, peer in sorted(((a, b), (b, a))):
            if me in self._ends:
                self._ends[me].disconnected(peer)

    def block(self, a: str, b: str) -> None:
        """Hold what a sends to b."""
        self._link(a, b).blocked = True

    def isolate(self, name: str) -> None:
        """No packet in either direction; connections stay as TCP would keep them."""
        for other in sorted(self._names):
            if other != name:
                self.block(name, other)
                self.block(other, name)

    def unblock(self, a: str, b: str) -> None:
        """Deliver what was held, in order; connect if there is no connection."""
        if a in self._exiled or b in self._exiled:
            return
        link = self._link(a, b)
        link.blocked = False
        held, link.held = link.held, []
        for epoch, data in held:
            self._deliver(a, b, link, epoch, data)
        self.connect(a, b)

    def rejoin(self, name: str) -> None:
        """The end of `isolate`."""
        for a, b in sorted(self._links):
            if name in (a, b) and self._links[a, b].blocked:
                self.unblock(a, b)

    def exile(self, name: str, *, exiled: bool) -> None:
        """Isolated, whatever else is healed; or no more."""
        if exiled:
            self._exiled.add(name)
            self.isolate(name)
        else:
            self._exiled.discard(name)
            self.rejoin(name)

    def heal(self) -> None:
        """Unblock everything, connect what is cut."""
        for a, b in sorted(self._links):
            if self._links[a, b].blocked:
                self.unblock(a, b)
        for name in sorted(self._ends):
            self.connect_all(name)

    # --- messages --------------------------------------------------------------------------------
    def send(self, a: str, b: str, data: bytes) -> None:
        self.watch(a, b, data)
        link = self._link(a, b)
        if not link.pair.up:
            return
        if link.blocked:
            link.held.append((link.pair.epoch, data))
        else:
            self._deliver(a, b, link, link.pair.epoch, data)

    def _deliver(self, a: str, b: str, link: _Link, epoch: int, data: bytes) -> None:
        draw = self._random.random
        when = self._world.now + (self.delay + self.jitter * draw()) * link.slow

        def arrives() -> None:
            if link.pair.epoch == epoch and b in self._ends:
                self._ends[b].receive(a, data)

        if self.disorder > 0 and draw() < self.disorder:
            self._astray(a, b, when, data, arrives)
            return
        if self.disorder == 0:
            when = link.last = max(link.last, when)
        self._world.at(when, arrives)

    def _astray(self, a: str, b: str, when: float, data: bytes, arrives: Event) -> None:
        """Lost, late, or both in time and late; the late copy comes even if the connection was replaced by then."""

        def late() -> None:
            if b in self._ends:
                self._ends[b].receive(a, data)

        fate = self._random.random()
        if fate < 0.2:
            return
        self._world.at(when + self._random.expovariate(5.0), late)
        if fate < 0.6 and not self.never_doubled(data):
            self._world.at(when, arrives)

    def _link(self, a: str, b: str) -> _Link:
        link = self._links.get((a, b))
        if link is None:
            pair = self._links[b, a].pair if (b, a) in self._links else _Pair()
            link = self._links[a, b] = _Link(pair, 1.0 + self.uneven * self._random.random())
        return link


class VirtualPort:
    """The network as one replica sees it."""

    def __init__(self, network: VirtualNetwork, name: str) -> None:
        self._network = network
        self._name = name

    def send(self, peer: str, data: bytes) -> None:
        self._network.send(self._name, peer, data)
