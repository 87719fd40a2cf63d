"""Streams of the log from any replica, resumed wherever they broke off, while others write.

A session is one filter and one position. Each stream of it is one operation of the history and begins right after the
last item of the one before.
"""

import random
import secrets
from collections.abc import Callable

import msgspec

from jepsen_like.checkers import watches
from jepsen_like.checkers.evidence import Checker
from jepsen_like.history.record import Operation
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Choices, Workload
from jepsen_like.workloads.drawing import Client, Draws
from jepsen_like.workloads.streaming import Delivered, Reader

SECONDS = 1.5  # that a stream is read at most
ITEMS = 500
STREAMS = 12  # of one session at most
TAGS = ("red", "green")
APP = "watched"
WRITES = 3  # by a client that watches, between two streams


class Watching(Workload):
    """Every second client watches, the others only write."""

    name = "watch"
    about = "streams of the log, resumed elsewhere after every break, show it in order, whole, without gap or repeat"

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        draws = Draws(self.choices, number, chance)
        return _Watcher(world, connection, draws, self.choices) if number % 2 == 0 else _Client(connection, draws)

    def checkers(self) -> tuple[Checker, ...]:
        return (watches.check,)


class _Client(Client):
    """Writes in every way that shows in a filter: applied and refused, one or several in an entry, with tags."""

    def turn(self) -> None:
        self.write()

    def write(self) -> None:
        key = f"watched-{self.draws.slot()}"
        turns: tuple[Callable[[str], Request], ...] = (self._put, self._patch, self._batch, self._delete)
        asked = self.chance.choices(turns, (5, 4, 2, 1))[0](key)
        self.draws.saw(self.connection.do("write", key, None, asked))

    def _put(self, key: str) -> Request:
        return Request("PUT", f"/v1/memories/{key}", self._content())

    def _patch(self, key: str) -> Request:
        """On condition of a version that is sometimes right."""
        guards = [{"memory": key, "version": self.chance.randint(1, 5)}] if self.chance.random() < 0.3 else []
        return Request("PATCH", f"/v1/memories/{key}", {**self._content(), "guards": guards})

    def _batch(self, key: str) -> Request:
        """Three in one entry, of which some may be refused."""
        changed = {"op": "UPDATE", "memory_id": key, **self._content()}
        added = {"op": "ADD", "app_id": APP, **self._content()}
        decided = {"op": "NOOP", "decision": {"by": "agent", "reason": "known"}}
        return Request("POST", "/v1/events", {"events": [changed, added, decided], "atomic": False})

    def _delete(self, key: str) -> Request:
        return Request("DELETE", f"/v1/memories/{key}")

    def _content(self) -> dict[str, object]:
        return {"value": self.draws.value(), "tags": self.chance.sample(TAGS, self.chance.randint(0, len(TAGS)))}


class _Watcher(_Client):
    """`_next`: the first index that it has not been shown. `_streams`: of this session, so far."""

    def __init__(self, world: World, connection: Connection, draws: Draws, choices: Choices) -> None:
        super().__init__(connection, draws)
        self._world = world
        self._process = world.recorder.new_process()  # that reads the streams; what it writes is another's
        self._keys = choices.keys
        self._session = ""
        self._streams = 0
        self._filters: dict[str, str] = {}
        self._next = 1

    def turn(self) -> None:
        for _ in range(WRITES):
            self.write()
        if self._streams == 0:
            self._begin()
        delivered = self._watch()
        self._next = max(self._next, delivered.covered + 1)
        over = delivered.ended == "compacted" or delivered.refused in ("index-compacted", "future-index")
        self._streams = 0 if over else (self._streams + 1) % STREAMS

    def _begin(self) -> None:
        """A new session: from the beginning of the log, from a while ago, or from what comes next."""
        self._session = f"session-{secrets.token_hex(4)}"
        self._filters = self.chance.choice(self._every_filter())
        self._next = self.chance.choice((1, max(1, self.draws.seen - 200), self.draws.seen + 1))

    def _every_filter(self) -> list[dict[str, str]]:
        key = f"watched-{self.chance.randrange(self._keys)}"
        return [
            {},
            {"include": "internal"},
            {"op": "UPDATE"},
            {"op": "ADD", "outcome": "applied"},
            {"outcome": "refused"},
            {"memory_id": key},
            {"memory_id": key, "op": "UPDATE", "outcome": "applied"},
            {"tag": TAGS[0]},
            {"app_id": APP},
            {"actor_id": self.connection.actor.partition("/")[2]},
        ]

    def _watch(self) -> Delivered:
        """One stream, recorded."""
        urls, name = self._world.urls(), secrets.token_hex(8)
        node = self.chance.choice(sorted(urls))
        reader = Reader(urls[node], {"X-Request-Id": name}, seconds=SECONDS, items=ITEMS)
        call = self._world.recorder.now()
        found = reader.read(self._next, self._filters, by_event=self.chance.random() < 0.5)
        told = {"items": msgspec.to_builtins(found.items), "bookmarks": found.bookmarks, "ended": found.ended}
        self._world.recorder.write(
            Operation(
                process=self._process,
                f="watch",
                key=self._session,
                value={"from": self._next, "filters": self._filters},
                type="ok" if found.refused is None else "fail",
                result=told if found.refused is None else None,
                call=call,
                return_=self._world.recorder.now(),
                index=found.index,
                node=node,
                error=found.refused,
                request=name,
            )
        )
        return found
