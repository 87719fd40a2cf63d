"""A process that holds a lock through the client library and works on numbers that it is given, so that it can be
stopped.

`python -m jepsen_like.workloads.holder_process URLS ACTOR`. Its parent writes a line of JSON and reads one: `{"hold":
name, "owner": …, "ttl": s, "wait": s}` -> `{"token", "guard"}` or `{"refused": why}`; `{"number": n}` -> `{"number": n
+ 1}`; `{"release": true}` -> `{"lost": why or ""}`. It checks no lease before it answers: the resource must refuse
what comes late. It ends with its parent.
"""

import sys
from contextlib import ExitStack
from typing import Final

import msgspec

from raftmem.client import LeaseLost, LockHeld, RaftmemClient, RaftmemClientError

CALL_S: Final = 4.0  # of one call with all its attempts


class Word(msgspec.Struct, omit_defaults=True):
    """One line of the parent: one of the three."""

    hold: str | None = None
    owner: str = ""
    ttl: float = 1.0
    wait: float = 0.0
    number: int | None = None
    release: bool = False


class Reply(msgspec.Struct, omit_defaults=True):
    """`refused`: a code of the API, or the name of an error."""

    token: int = 0
    guard: dict[str, object] = {}
    refused: str = ""
    number: int = 0
    lost: str = ""


class Holder:
    """Holds one lock at a time."""

    def __init__(self, client: RaftmemClient) -> None:
        self._client = client
        self._held = ExitStack()

    def answer(self, word: Word) -> Reply:
        if word.hold is not None:
            return self._hold(word.hold, word)
        if word.number is not None:
            return Reply(number=word.number + 1)
        return self._release()

    def _hold(self, name: str, word: Word) -> Reply:
        hold = self._client.locks.hold(name, ttl=word.ttl, wait=word.wait, owner=word.owner)
        try:
            self._held.enter_context(hold)
        except LockHeld as held:
            return Reply(refused=held.code)
        except RaftmemClientError as error:
            return Reply(refused=error.code or type(error).__name__)
        return Reply(token=hold.token, guard=hold.guard)

    def _release(self) -> Reply:
        try:
            self._held.close()
        except LeaseLost as lost:
            return Reply(lost=lost.reason)
        return Reply()


def main(urls: str, actor: str) -> None:
    decode = msgspec.json.Decoder(Word).decode
    with RaftmemClient(urls, actor=actor, timeout=CALL_S) as client:
        holder = Holder(client)
        for line in sys.stdin:
            sys.stdout.buffer.write(msgspec.json.encode(holder.answer(decode(line))) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
