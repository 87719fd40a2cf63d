"""A few stock PySyncObj nodes in one process, driven by hand: nothing moves that the script does not move.

The library is the one from PyPI, unchanged. Given from outside are its transport (a public constructor argument) and,
in the module, the clock and the random numbers, so that every run is the same. No threads, no sockets, no sleeps.
A link keeps its order and may lose only what was sent last, as a TCP connection does when it breaks.
"""

import logging
import sys
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NoReturn

import pysyncobj.syncobj as library
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated
from pysyncobj.node import Node
from pysyncobj.transport import Transport

SEND_S = 0.0001  # what sending a message costs: a loop that waits for time to pass must see it pass
TICK_S = 0.11  # a little over appendEntriesPeriod: a leader sends in every tick
ELECTION_S = 1.5  # a little over raftMaxTimeout
REASONS = {code: name for name, code in vars(FAIL_REASON).items() if not name.startswith("_")}

Message = dict  # whatever the library puts into it: text to anything


class Peer(Node):
    """A node whose place in a set does not depend on the hash seed of the process."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class Links(Transport):
    """The transport of one node: what it sends waits in the bench until the script delivers or loses it."""

    def __init__(self, bench: "Bench", name: str) -> None:
        super().__init__(None, None, [])
        self._bench, self._name = bench, name

    def send(self, node: Node, message: Message) -> bool:
        self._bench.now += SEND_S
        self._bench.wire[self._name, node.id].append(dict(message))
        return True


class Values(SyncObj):
    """The replicated object: a list."""

    def __init__(self, me: Node, others: Iterable[Node], conf: SyncObjConf, transport: Transport) -> None:
        super().__init__(me, list(others), conf, transport=transport)
        self.values: list[str] = []

    @replicated
    def add(self, value: str) -> int:
        self.values.append(value)
        return len(self.values) - 1


class Bench:
    """Nodes by name, messages in flight by (sender, receiver), outcomes by value."""

    def __init__(self, names: str = "ABC", *, files: bool = False, **settings: object) -> None:
        logging.disable(logging.CRITICAL)
        self.now = 1000.0
        self.names, self.files, self.settings = names, files, settings
        self.peers = {name: Peer(name) for name in "ABCDE"}
        self.nodes: dict[str, Values] = {}
        self.wire: dict[tuple[str, str], list[Message]] = defaultdict(list)
        self.outcome: dict[str, tuple[object, str]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="upstream")
        library.monotonicTime = lambda: self.now
        library.random = self
        for name in names:
            self.start(name)

    @staticmethod
    def random() -> float:
        """In place of random.random(): every election timeout is the middle one."""
        return 0.5

    def path(self, name: str, suffix: str) -> Path:
        return Path(self._folder.name) / f"{name}.{suffix}"

    def start(self, name: str, others: str | None = None) -> Values:
        """A process starts and is connected to all that run; its files, if there are any, are found again."""
        settings: dict[str, object] = {"autoTick": False, "useFork": False, "pollerType": "select"}
        if self.files:
            settings |= {"journalFile": str(self.path(name, "journal")), "fullDumpFile": str(self.path(name, "dump"))}
        conf = SyncObjConf(**(settings | self.settings))
        peers = [self.peers[other] for other in (self.names if others is None else others) if other != name]
        node = Values(self.peers[name], peers, conf, Links(self, name))
        for other, running in self.nodes.items():
            transport_of(running)._onNodeConnected(self.peers[name])
            transport_of(node)._onNodeConnected(self.peers[other])
        self.nodes[name] = node
        return node

    def kill(self, name: str) -> None:
        """The process ends at once: files stay as they are, what was in flight to and from it is lost."""
        del self.nodes[name]
        for other, running in self.nodes.items():
            self.lose(name, other)
            self.lose(other, name)
            transport_of(running)._onNodeDisconnected(self.peers[name])

    def add(self, name: str, *values: str) -> None:
        """A client asks `name` to add each value; what it is told stands in `outcome`."""
        for value in values:
            self.ask(name, value, partial(self._told, value))

    def ask(self, name: str, value: str, callback: Callable[[object, int], None]) -> None:
        self.nodes[name].add(value, callback=callback)  # pyright: ignore[reportCallIssue]  # added by the decorator

    def _told(self, value: str, result: object, reason: int) -> None:
        self.outcome[value] = (result, REASONS[reason])

    def tick(self, *names: str, after_s: float = TICK_S) -> None:
        for name in names:
            self.now += after_s
            self.nodes[name].doTick(0.0)

    def deliver(self, sender: str, receiver: str, count: int | None = None) -> None:
        """Hand over what is in flight on one link, in order: the first `count`, or all."""
        link = self.wire[sender, receiver]
        for _ in range(len(link) if count is None else count):
            transport_of(self.nodes[receiver])._onMessageReceived(self.peers[sender], link.pop(0))

    def lose(self, sender: str, receiver: str) -> None:
        self.wire[sender, receiver].clear()

    def elect(self, name: str, voters: str) -> None:
        """The node's election timeout passes; it asks for votes and these voters are reached."""
        self.tick(name, after_s=ELECTION_S)
        for voter in voters:
            self.deliver(name, voter)
            self.deliver(voter, name)

    def settle(self, leader: str, followers: str, rounds: int = 4) -> None:
        """Some rounds in which the leader and these followers hear all of each other."""
        for _ in range(rounds):
            self.tick(leader)
            for follower in followers:
                self.deliver(leader, follower)
                self.tick(follower)
                self.deliver(follower, leader)

    def leads(self, name: str) -> bool:
        return bool(self.nodes[name]._isLeader())

    def status(self, name: str, field: str) -> object:
        return self.nodes[name].getStatus()[field]

    def log(self, name: str) -> list[str]:
        """The node's log as index/term."""
        return [f"{index}/{term}" for _, index, term in private(self.nodes[name], "raftLog")[:]]


def private(node: SyncObj, name: str):
    """What the library keeps under that name, whatever it is."""
    return getattr(node, f"_SyncObj__{name}")


def transport_of(node: SyncObj) -> Transport:
    return private(node, "transport")


def verdict(shown: bool, text: str) -> NoReturn:
    """Say what was found; exit 0 while the library behaves as the report says, 1 when it no longer does."""
    print(f"{'DEFECT SHOWN' if shown else 'NOT SHOWN'}: {text}")
    sys.exit(0 if shown else 1)
