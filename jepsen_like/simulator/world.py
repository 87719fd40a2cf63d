"""Virtual time, network and disks: what a replica is given instead of the real ones.

Fault model: a link keeps order while its connection lasts and loses a suffix when it breaks; with `disorder` it also
reorders, doubles, and delivers late data of a connection that was replaced. A crash loses what was not committed to the
log store; a paused replica's messages and timers wait for it. Clocks run at their own rates.
Everything random comes from one seeded generator.
"""

import heapq
import random
from collections.abc import Callable

Key = tuple[str, str]


class World:
    """Virtual time in seconds, and the events that are to come."""

    def __init__(self, seed: int) -> None:
        self.now = 1000.0
        self.random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    def at(self, when: float, event: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (max(when, self.now), self._order, event))

    def step(self) -> bool:
        """Run the next event. False when there is none."""
        if not self._events:
            return False
        self.now, _, event = heapq.heappop(self._events)
        event()
        return True

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Run for some time or until a condition holds; whether it does."""
        end = self.now + seconds
        while not until():
            if not self._events or self._events[0][0] > end:
                self.now = end
                return until()
            self.step()
        return True


class VirtualHandle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualMachine:
    """Loop, clock, randomness and executor of one replica; a new one for each of its lives.

    `rate`: how fast its clock runs. `sync_seconds`: how long a commit of the log takes. `hold_syncs`: they hang.
    `at_commit`: run around the next commit, told whether it is on disk; a True from it ends this life.
    """

    def __init__(self, world: World, *, rate: float = 1.0, sync_seconds: float = 0.001) -> None:
        self._world = world
        self._rate = rate
        self.sync_seconds = sync_seconds
        self.hold_syncs = False
        self.alive = True
        self.paused_until = 0.0
        self.at_commit: Callable[[bool], bool] | None = None
        self._backlog: list[Callable[[], None]] = []  # what came during a pause, in order
        self._busy_until = 0.0
        self._held: list[Callable[[], None]] = []

    # clock
    def boottime(self) -> float:
        return self._world.now * self._rate

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + int(self._world.now * 1000)

    # randomness
    def random(self) -> float:
        return self._world.random.random()

    def bytes(self, count: int) -> bytes:
        return self._world.random.randbytes(count)

    # loop
    def call_soon(self, callback: Callable[[], None]) -> None:
        self.run_at(self._world.now, callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> VirtualHandle:
        handle = VirtualHandle()
        self.run_at(self._world.now + seconds / self._rate, lambda: None if handle.cancelled else callback())
        return handle

    def run_at(self, when: float, callback: Callable[[], None]) -> None:
        """Run on this machine, later if it is paused, never if it is dead by then."""

        def event() -> None:
            self._backlog.append(callback)
            self._go_on()

        self._world.at(when, event)

    def _go_on(self) -> None:
        if self.alive and self.paused_until > self._world.now:
            self._world.at(self.paused_until, self._go_on)
            return
        backlog, self._backlog = self._backlog, []
        for callback in backlog:
            if self.alive:
                callback()

    # executor
    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        if self.hold_syncs:
            self._held.append(lambda: self.submit(work, done))
            return
        self._busy_until = max(self._busy_until, self._world.now) + self.sync_seconds

        def event() -> None:
            if not self.alive or (self.at_commit is not None and self.at_commit(False)):
                return
            try:
                work()
            except Exception as error:  # noqa: BLE001  # reported to the caller, as an executor does
                failed: BaseException | None = error
            else:
                failed = None
            if self.at_commit is not None and self.at_commit(True):
                return
            self.call_soon(lambda: done(failed))

        self._world.at(self._busy_until, event)

    def release_syncs(self) -> None:
        self.hold_syncs = False
        held, self._held = self._held, []
        for again in held:
            again()


class VirtualNetwork:
    """Links between named replicas. A blocked direction holds what is sent; a cut connection loses it."""

    def __init__(self, world: World, *, delay: float = 0.001, jitter: float = 0.001) -> None:
        self._world = world
        self.delay = delay
        self.jitter = jitter
        self.disorder = 0.0  # share of messages that lose their place or come twice
        self.never_doubled: Callable[[bytes], bool] = lambda _data: False  # where TCP's promise is relied on
        self.watch: Callable[[str, str, bytes], None] = lambda _a, _b, _data: None
        self._receive: dict[str, Callable[[str, bytes], None]] = {}
        self._connected: dict[str, Callable[[str], None]] = {}
        self._disconnected: dict[str, Callable[[str], None]] = {}
        self._epoch: dict[Key, int] = {}
        self._up: set[Key] = set()
        self._blocked: set[Key] = set()
        self._held: dict[Key, list[tuple[int, bytes]]] = {}
        self._last: dict[Key, float] = {}

    def attach(
        self,
        name: str,
        receive: Callable[[str, bytes], None],
        connected: Callable[[str], None],
        disconnected: Callable[[str], None],
    ) -> None:
        """A replica came up: it is connected to all others that are up and not cut off."""
        self._receive[name], self._connected[name], self._disconnected[name] = receive, connected, disconnected
        for other in sorted(self._receive):
            if other != name:
                self.connect(name, other)

    def detach(self, name: str) -> None:
        """A replica died: its connections break."""
        for other in sorted(self._receive):
            if other != name:
                self.cut(name, other)
        for table in (self._receive, self._connected, self._disconnected):
            table.pop(name, None)

    def port(self, name: str) -> "VirtualPort":
        return VirtualPort(self, name)

    def connect(self, a: str, b: str) -> None:
        key = (min(a, b), max(a, b))
        if key in self._up or a not in self._receive or b not in self._receive:
            return
        self._up.add(key)
        self._epoch[key] = self._epoch.get(key, 0) + 1
        for me, peer in (key, key[::-1]):
            self._last[me, peer] = self._world.now
            self._held[me, peer] = []
            self._connected[me](peer)

    def cut(self, a: str, b: str) -> None:
        """The connection breaks: what is under way is lost, both ends are told."""
        key = (min(a, b), max(a, b))
        if key not in self._up:
            return
        self._up.discard(key)
        self._epoch[key] += 1
        for me, peer in (key, key[::-1]):
            if me in self._disconnected:
                self._disconnected[me](peer)

    def block(self, a: str, b: str) -> None:
        """Hold what a sends to b."""
        self._blocked.add((a, b))

    def isolate(self, name: str) -> None:
        """No packet in either direction; connections stay as TCP would keep them."""
        for other in self._receive:
            if other != name:
                self.block(name, other)
                self.block(other, name)

    def heal(self) -> None:
        """Unblock everything, deliver what was held, connect what is cut."""
        blocked, self._blocked = sorted(self._blocked), set()
        for link in blocked:
            held, self._held[link] = self._held.get(link, []), []
            for epoch, data in held:
                self._deliver(link, epoch, data)
        names = sorted(self._receive)
        for a in names:
            for b in names:
                if a < b:
                    self.connect(a, b)

    def send(self, a: str, b: str, data: bytes) -> None:
        key = (min(a, b), max(a, b))
        self.watch(a, b, data)
        if key not in self._up:
            return
        if (a, b) in self._blocked:
            self._held.setdefault((a, b), []).append((self._epoch[key], data))
            return
        self._deliver((a, b), self._epoch[key], data)

    def _deliver(self, link: Key, epoch: int, data: bytes) -> None:
        when = self._world.now + self.delay + self.jitter * self._world.random.random()
        a, b = link
        key = (min(a, b), max(a, b))
        astray = self.disorder > 0 and self._world.random.random() < self.disorder

        def event() -> None:
            if (astray or self._epoch.get(key) == epoch) and b in self._receive:
                self._receive[b](a, data)

        if astray:
            self._world.at(when + self._world.random.expovariate(5.0), event)
            if self._world.random.random() < 0.5 or self.never_doubled(data):
                return
        when = self._last[link] = max(self._last.get(link, 0.0), when)
        self._world.at(when, event)


class VirtualPort:
    """The network as one replica sees it."""

    def __init__(self, network: VirtualNetwork, name: str) -> None:
        self._network = network
        self._name = name

    def send(self, peer: str, data: bytes) -> None:
        self._network.send(self._name, peer, data)
