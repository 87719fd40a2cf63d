"""Clients of these tests in processes of their own, so that they can be stopped, continued and killed: both ends.

A program (`*_process.py`, whose first argument are the URLs) tells its parent what happens, a line each, and is told
words. It ends when its parent does.
"""

import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from jepsen_like.cluster.client import PATIENCE_S, until
from jepsen_like.cluster.group import LoopbackGroup

HERE = Path(__file__).parent


class Said(msgspec.Struct, omit_defaults=True):
    """`token`: of the hold that it is about. `text`: a reason, a name. `seconds`: that something took."""

    what: str
    token: int = 0
    text: str = ""
    seconds: float = 0.0


# --- in the program -----------------------------------------------------------------------------------
def say(what: str, *, token: int = 0, text: str = "", seconds: float = 0.0) -> None:
    """Any thread: a line is written whole."""
    os.write(1, msgspec.json.encode(Said(what, token, text, seconds)) + b"\n")


def words() -> "queue.SimpleQueue[str]":
    """What the parent says, from now on."""
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            heard.put(line.strip())
        os._exit(3)  # the parent is gone

    threading.Thread(target=listen, daemon=True).start()
    return heard


# --- in the test --------------------------------------------------------------------------------------
class Program:
    """`heard`: what it has said so far. What it writes to stderr is the test's."""

    def __init__(self, argv: list[str]) -> None:
        self.heard: list[Said] = []
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.heard.append(msgspec.json.decode(line, type=Said))

    def said(self, what: str) -> list[Said]:
        return [one for one in self.heard if one.what == what]

    def wait_said(self, what: str, count: int = 1) -> Said:
        """The last of `count` of these, once there are so many."""

        def found() -> Said | None:
            said = self.said(what)
            assert len(said) >= count or self.runs, f"ended with {self._process.returncode}, having said {self.heard}"
            return said[count - 1] if len(said) >= count else None

        return until(found, what=f"a client says {what!r} {count} times")

    @property
    def runs(self) -> bool:
        """Also while it is stopped."""
        return self._process.poll() is None

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self, *, seconds: float = PATIENCE_S) -> int:
        """The exit code, once there is one and everything that it said was heard."""
        code = self._process.wait(seconds)
        self._listener.join(PATIENCE_S)
        return code

    def kill(self) -> None:
        """In whatever state it is."""
        self.send(signal.SIGKILL)
        self.ended()

    def clean_up(self) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Programs:
    """Those of one test: all that were ever begun."""

    def __init__(self, group: LoopbackGroup) -> None:
        self._group = group
        self._turn = itertools.count()
        self.begun: list[Program] = []

    def begin(self, name: str, *arguments: object) -> Program:
        """`name` as `*_process.py`. Each asks another replica first than the one before."""
        first = next(self._turn) % len(self._group.urls)
        urls = [*self._group.urls[first:], *self._group.urls[:first]]
        argv = [sys.executable, str(HERE / f"{name}_process.py"), ",".join(urls), *map(str, arguments)]
        self.begun.append(Program(argv))
        return self.begun[-1]


@contextmanager
def programs(group: LoopbackGroup) -> Iterator[Programs]:
    """None is left at the end."""
    all_of_them = Programs(group)
    try:
        yield all_of_them
    finally:
        for one in all_of_them.begun:
            one.clean_up()
