"""One agent: a process with a name of its own that asks, waits for answers, and may die or sleep too long.

What it does is written as a generator of pauses. It relies on nothing but what its requests came to.
"""

import random
from collections.abc import Generator
from typing import Final, NamedTuple, Protocol

from raftmem.model.commands import Actor, Content, Draft, Guard, Header, Operation
from raftmem.model.records import Outcome

LOOKS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)  # election timeouts between two looks for an answer


class Died(Exception):
    """It says nothing more."""


class Reply(NamedTuple):
    """The result of a request, and its position."""

    outcome: Outcome
    at: int


Life = Generator[float, None, None]
Asked = Generator[float, None, Reply | None]


class Post(Protocol):
    """The carrier of requests. `timeout`: of an election, in seconds."""

    timeout: float

    def number(self) -> int: ...

    def send(self, number: int, draft: Draft) -> None: ...

    def reply(self, number: int) -> Reply | None:
        """None: there is none yet, or never will be."""
        ...

    def token_of(self, lock: str, owner: str) -> int | None:
        """As one sees it who watches the log."""
        ...


class Agent:
    """`ttl`: of the leases that it asks for, in seconds, before chance has its say."""

    def __init__(self, owner: str, post: Post, choose: random.Random, ttl: float) -> None:
        self.owner = owner
        self.post = post
        self.choose = choose
        self._ttl = ttl

    def ttl_ms(self) -> int:
        """Comparable with an election."""
        return int(self._ttl * 1000 * self.choose.choice([1, 1, 1.5, 3]))

    def tell(self, *operations: Operation, guards: tuple[Guard, ...] = (), content: Content | None = None) -> int:
        """Send it and do not wait. Of several operations all are done, or none."""
        number = self.post.number()
        header = Header(Actor("agent", self.owner), f"q{number}", operations, guards)
        self.post.send(number, Draft(header, (content, *(None,) * (len(operations) - 1))))
        return number

    def ask(self, *operations: Operation) -> Asked:
        """Send it, and wait some time for the answer. None: unknown."""
        number = self.tell(*operations)
        for pause in LOOKS:
            yield pause * self.post.timeout
            reply = self.post.reply(number)
            if reply is not None:
                return reply
        return None

    def may_die(self, chance: float) -> None:
        """Raises: Died."""
        if self.choose.random() < chance:
            raise Died
