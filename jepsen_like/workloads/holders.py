"""The holders of a lock that use a resource: a client of plain requests, or a process of its own that can be stopped.

Both work on a number between its read and its write; `asleep`, if given, returns when the time has come to go on. The
first kind waits meanwhile like a thread that never runs, and renews nothing. The second is stopped by SIGSTOP, its
heartbeats with it.
"""

import contextlib
import random
import select
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from jepsen_like.cluster.client import PATIENCE_S
from jepsen_like.history.record import Operation, Type
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection
from jepsen_like.workloads.holder_process import Reply, Word
from jepsen_like.workloads.locks import Hold, acquire, owner_of, release, shown

TTL_MS: Final = 700
WAIT_MS: Final = 1_500
MOMENT_S: Final = 0.01  # between a read and its write, at most
ANSWER_S: Final = 20.0  # a process that says nothing for so long is given up

Sleep = Callable[[], object]


class Section(NamedTuple):
    """A held lock as its holder sees it."""

    owner: str
    token: int
    guard: dict[str, object]


class Gone(Exception):
    """The holder's process has ended, or does not answer."""


class Holder(ABC):
    """Of one client: one section at a time."""

    @abstractmethod
    def take(self, lock: str) -> Section | None:
        """None: not now. Raises: Gone."""

    @abstractmethod
    def work(self, number: int, asleep: Sleep | None) -> int:
        """The number to be written. Raises: Gone."""

    @abstractmethod
    def give(self) -> None:
        """After a section, however late. Raises: Gone."""

    @abstractmethod
    def close(self) -> None:
        """Nothing of it is left."""


class PlainHolder(Holder):
    """Asks by itself, and never renews."""

    def __init__(self, connection: Connection, chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance
        self._hold: Hold | None = None

    def take(self, lock: str) -> Section | None:
        _, hold = acquire(self._connection, lock, ttl_ms=TTL_MS, wait_ms=WAIT_MS)
        self._hold = hold
        return None if hold is None else Section(hold.owner, hold.token, {"lock": lock, "token": hold.token})

    def work(self, number: int, asleep: Sleep | None) -> int:
        time.sleep(self._chance.uniform(0, MOMENT_S))
        if asleep is not None:
            asleep()
        return number + 1

    def give(self) -> None:
        """Releases the hold. A hold that a retired process id took runs out instead."""
        hold, self._hold = self._hold, None
        if hold is not None and hold.owner == owner_of(self._connection):
            release(self._connection, hold)

    def close(self) -> None:
        """The connection is its agent's."""


class StoppedHolder(Holder):
    """A process that holds through the client library (see `holder_process`), begun again when it has ended."""

    def __init__(self, world: World, connection: Connection, chance: random.Random) -> None:
        self._world = world
        self._connection = connection
        self._chance = chance
        self._process: subprocess.Popen[bytes] | None = None
        self._decode = msgspec.json.Decoder(Reply).decode

    def take(self, lock: str) -> Section | None:
        owner, call = owner_of(self._connection), self._world.recorder.now()
        reply = self._ask(Word(hold=lock, owner=owner, ttl=TTL_MS / 1000, wait=WAIT_MS / 1000))
        self._record(lock, owner, call, reply)
        return None if reply.refused else Section(owner, reply.token, reply.guard)

    def work(self, number: int, asleep: Sleep | None) -> int:
        """Stopped before it is told the number, it answers when it goes on."""
        time.sleep(self._chance.uniform(0, MOMENT_S))
        process = self._running()
        if asleep is None:
            return self._ask(Word(number=number)).number
        process.send_signal(signal.SIGSTOP)
        try:
            self._say(process, Word(number=number))
            asleep()
        finally:
            process.send_signal(signal.SIGCONT)
        return self._hear(process).number

    def give(self) -> None:
        """Releases the hold. The log shows what the client library did."""
        self._ask(Word(release=True))

    @property
    def pid(self) -> int:
        return self._running().pid

    def _record(self, lock: str, owner: str, call: int, reply: Reply) -> None:
        """Its requests are the library's own, so that no X-Request-Id is known."""
        type_: Type = "ok" if not reply.refused else "fail" if reply.refused == "lock-held" else "unknown"
        operation = Operation(
            process=self._connection.process,
            f="acquire",
            key=lock,
            value=shown(owner, permits=1),
            type=type_,
            result=None if reply.refused else {"token": reply.token},
            call=call,
            return_=None if type_ == "unknown" else self._world.recorder.now(),
            error=reply.refused or None,
        )
        self._world.recorder.write(operation)
        if type_ == "unknown":
            self._connection.retire()

    # --- its process --------------------------------------------------------------------------------
    def _running(self) -> "subprocess.Popen[bytes]":
        """In a process group of its own within our session: should we die while it is stopped, the kernel ends it."""
        if self._process is None:
            urls = [*self._world.urls().values()]
            self._chance.shuffle(urls)
            argv = [sys.executable, "-m", "jepsen_like.workloads.holder_process", ",".join(urls)]
            self._process = subprocess.Popen(
                [*argv, self._connection.actor], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
            )
        return self._process

    def _ask(self, word: Word) -> Reply:
        process = self._running()
        self._say(process, word)
        return self._hear(process)

    def _say(self, process: "subprocess.Popen[bytes]", word: Word) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(msgspec.json.encode(word) + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise self._gone(f"it hears nothing: {error}") from error

    def _hear(self, process: "subprocess.Popen[bytes]") -> Reply:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], ANSWER_S)
        line = process.stdout.readline() if ready else b""
        if not line:
            raise self._gone(f"it said nothing within {ANSWER_S:.0f} s, or has ended")
        return self._decode(line)

    def _gone(self, why: str) -> Gone:
        """The hold runs out: no process has its owner any more."""
        self.close()
        self._connection.retire()
        return Gone(why)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(PATIENCE_S)
        with contextlib.suppress(BrokenPipeError):  # of a word that it did not take
            process.communicate()
