"""The watchers of this replica's log: each applied entry is noted only for the subscriptions that it may concern.

A subscription names topics that must all hold. It is found under the most selective one, so an entry costs nothing to
watchers of something else. Only the index is noted: the content stays in the event table. The rule: a subscription is
told of every entry under its topic applied since it began, or that it must look everything up anew.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from raftmem.errors import ShuttingDown, TooManyRequests
from raftmem.limits import WATCH_PENDING_MAX, WATCHERS_MAX
from raftmem.machine.run import Applied
from raftmem.model.records import Outcome
from raftmem.runtime.interfaces import Clock, Loop
from raftmem.service.interface import Topic
from raftmem.service.watch_fair_share import WatchFairShare

_SELECTIVE: Final = ("lock", "gate", "queue", "memory_id", "run_id", "agent_id", "user_id", "app_id", "op", "all")
_RANK: Final = {kind: rank for rank, kind in enumerate(_SELECTIVE)}
_ALL: Final[Topic] = ("all", "")
_INTERNAL: Final = ("RAFT", "MEMBER")  # what an entry without events shows as
_TRIM: Final = 256


def _names(kind: str, found: Outcome) -> tuple[str | None, ...]:
    """The names of an outcome under one kind of topic."""
    about, scope = found.about, found.scope
    match kind:
        case "op":
            return (found.op,)
        case "memory_id":
            return (found.memory_id,)
        case "lock":
            return () if about is None else (about.lock,)
        case "gate":
            return () if about is None else (about.gate,)
        case "queue":
            return () if about is None else about.queues
        case _:
            return () if scope is None else (getattr(scope, kind),)


class _Channel:
    """The indexes under one topic, kept once for all its subscriptions.

    dropped <= subscription.at <= end for each subscription that is not told to look everything up anew.
    """

    __slots__ = ("_trim_at", "dropped", "indexes", "subscriptions", "topic", "waiting")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.indexes: list[int] = []
        self.dropped = 0  # how many stood before the first one
        self.subscriptions: set[HubSubscription] = set()
        self.waiting: dict[HubSubscription, asyncio.Future[None]] = {}
        self._trim_at = _TRIM

    @property
    def end(self) -> int:
        return self.dropped + len(self.indexes)

    def note(self, index: int) -> None:
        if self.indexes and self.indexes[-1] == index:
            return
        self.indexes.append(index)
        if len(self.indexes) >= self._trim_at:
            self._trim()

    def _trim(self) -> None:
        """Drop the indexes that every watcher took; past the bound, drop the older half even if some have not."""
        count = len(self.indexes)
        surplus = min(subscription.at for subscription in self.subscriptions) - self.dropped
        if count >= WATCH_PENDING_MAX:
            surplus = max(surplus, count // 2)
        self._drop(max(surplus, 0))
        self._trim_at = min(WATCH_PENDING_MAX, max(_TRIM, 2 * len(self.indexes)))

    def _drop(self, count: int) -> None:
        del self.indexes[:count]
        self.dropped += count

    def forget(self) -> None:
        """Drop all indexes: every watcher must look everything up anew."""
        self._drop(len(self.indexes))
        self.dropped += 1


class HubSubscription:
    """Implements `raftmem.service.interface.Subscription`."""

    __slots__ = ("_awaited", "_channel", "_closed", "_hub", "at")

    def __init__(self, hub: "WatchHub", channel: _Channel) -> None:
        self._hub = hub
        self._channel = channel
        self._closed = False
        self._awaited: asyncio.Future[None] | None = None
        self.at = channel.end

    def take(self) -> list[int] | None:
        channel = self._channel
        at, self.at = self.at, channel.end
        return None if at < channel.dropped else channel.indexes[at - channel.dropped :]

    async def wait(self, seconds: float) -> None:
        channel = self._channel
        if self.at < channel.end:
            await self.turn()
            return
        if self._closed or self.closing:
            return
        self._awaited = channel.waiting[self] = asyncio.get_running_loop().create_future()
        timer = self._hub.loop.call_later(seconds, self._wait_no_more)
        try:
            await self._awaited
        finally:
            timer.cancel()
            channel.waiting.pop(self, None)

    async def turn(self) -> None:
        if self._closed or self.closing:
            return
        self._awaited = asyncio.get_running_loop().create_future()
        self._hub.turns.ask(self._awaited)
        await self._awaited

    def _wait_no_more(self) -> None:
        if self._channel.waiting.pop(self, None) is not None:  # else it will be woken in its order
            self.wake()

    def wake(self) -> None:
        """Wake it at once, ahead of all others."""
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    @property
    def closing(self) -> bool:
        return self._hub.closing

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._hub.part(self, self._channel)
            self.wake()


class WatchHub:
    """An `Observer` of a replica. Loop thread only."""

    def __init__(self, *, loop: Loop, clock: Clock) -> None:
        self.loop = loop
        self.turns = WatchFairShare(loop=loop, clock=clock)
        self.closing = False
        self.subscriptions = 0
        self._channels: dict[str, dict[str, _Channel]] = {}  # kind -> name

    def subscribe(self, topics: Sequence[Topic]) -> HubSubscription:
        """Raises: TooManyRequests, ShuttingDown."""
        if self.closing:
            raise ShuttingDown("this replica is leaving; ask another one")
        if self.subscriptions >= WATCHERS_MAX:
            raise TooManyRequests(
                f"{self.subscriptions} streams are open here, the most there may be; close some, or ask another replica"
            )
        kind, name = topic = min(topics, key=lambda topic: _RANK[topic[0]], default=_ALL)
        channel = self._channels.setdefault(kind, {}).setdefault(name, _Channel(topic))
        subscription = HubSubscription(self, channel)
        channel.subscriptions.add(subscription)
        self.subscriptions += 1
        return subscription

    def part(self, subscription: HubSubscription, channel: _Channel) -> None:
        """End a subscription."""
        self.subscriptions -= 1
        channel.subscriptions.remove(subscription)
        if not channel.subscriptions:
            kind, name = channel.topic
            del self._channels[kind][name]
            if not self._channels[kind]:
                del self._channels[kind]

    def close(self) -> None:
        """The replica is leaving: everyone is told."""
        self.closing = True
        for channel in self._every():
            for subscription in channel.subscriptions:
                subscription.wake()

    # --- as an observer -----------------------------------------------------------------------------
    def applied(self, entries: Sequence[Applied]) -> None:
        self.turns.count(len(entries))
        for kind, channels in self._channels.items():
            for one in entries:
                for channel in self._concerned(kind, channels, one):
                    channel.note(one.row.index)
                    if channel.waiting:
                        self._call(channel)

    @staticmethod
    def _concerned(kind: str, channels: dict[str, _Channel], one: Applied) -> Iterator[_Channel]:
        """The channels of one kind that an entry concerns; one may come more than once."""
        if kind == "all":
            yield from channels.values()
            return
        for found in one.row.result.outcomes:
            for name in _names(kind, found):
                if name is not None and name in channels:
                    yield channels[name]
        if kind == "op" and not one.row.result.outcomes:
            yield from (channels[op] for op in _INTERNAL if op in channels)

    def installed(self) -> None:
        for channel in self._every():
            channel.forget()
            self._call(channel)

    def _call(self, channel: _Channel) -> None:
        for waiting in channel.waiting.values():
            self.turns.ask(waiting)
        channel.waiting.clear()

    def _every(self) -> Iterator[_Channel]:
        for channels in self._channels.values():
            yield from channels.values()
