"""The peer port unpickles what anybody sends, before it is known who sent it."""

import errno
import pickle
import struct
import zlib
from collections.abc import Callable

from bench import verdict
from pysyncobj.poller import POLL_EVENT_TYPE, Poller
from pysyncobj.tcp_connection import TcpConnection

ran: list[str] = []


class Harmless:
    """An object that says how it is to be made again: by a call, here one that only remembers that it was made."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return ran_here, ("a call chosen by the sender",)


def ran_here(what: str) -> None:
    ran.append(what)


class Arrived:
    """A socket on which one message has arrived."""

    def __init__(self, message: object) -> None:
        body = zlib.compress(pickle.dumps(message))
        self.left = struct.pack("i", len(body)) + body

    def recv(self, size: int) -> bytes:
        piece, self.left = self.left[:size], self.left[size:]
        if not piece:
            raise BlockingIOError(errno.EAGAIN, "no more for now")
        return piece

    def fileno(self) -> int:
        return 3

    def getsockopt(self, *_: object) -> int:
        return 0

    def close(self) -> None: ...


class Loop(Poller):
    """A poller that hands out the one event it is asked for."""

    def subscribe(self, descr: int, callback: Callable[[int, int], None], eventMask: int) -> None:
        self.event, self.registered = callback, (descr, eventMask)

    def unsubscribe(self, descr: int) -> None: ...


loop = Loop()
told: list[object] = []
connection = TcpConnection(loop, onMessageReceived=told.append, socket=Arrived(Harmless()))
loop.event(3, POLL_EVENT_TYPE.READ)
print("run while decoding:", ran)
print("passed on, to find out who sent it:", told)
verdict(bool(ran), "one message from an unknown sender ran a call of the sender's choice")
