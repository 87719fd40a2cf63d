"""Connections that are held, delayed or broken off: between replicas, and between clients and a replica.

Relays of the harness do it, so it needs no root. A replica that joins later is connected to the others without a
relay: clients reach it over one, but cuts are drawn among those that have relays. A held connection is as silent as a
cable that was pulled: neither end is told, and what was sent arrives when the fault is over.
"""

import random
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import permutations
from urllib.parse import urlsplit

from jepsen_like.cluster.client import Trouble
from jepsen_like.cluster.links import HOST, Ends, Links, Passage
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.standing import leader, standing
from jepsen_like.runs.world import CLIENTS, World

HELD = Passage(held=True)
CUT = Passage(cut=True)
Faults = Mapping[Ends, Passage]


@contextmanager
def relayed(world: World) -> Iterator[Links]:
    """Meanwhile the group's connections, and those of clients to `world.urls()`, go over relays.

    The group has been made and may run: its replicas are started again then, and are ready.
    """
    links, group = Links(), world.group

    def front(replica: Served) -> None:
        where = urlsplit(replica.url)
        if where.hostname is None or where.port is None:
            raise Trouble(f"{replica.id} has no address: {replica.url}")
        world.fronts[replica.id] = f"http://{HOST}:{links.open(CLIENTS, replica.id, (where.hostname, where.port))}"

    try:
        running = [replica for replica in group.replicas if replica.runs]
        for replica in running:
            replica.stop()
        group.relay(links)
        for replica in group.replicas:
            front(replica)
        group.dress.append(front)
        world.links = links
        if running:
            group.start()
        yield links
    finally:
        world.links = None
        world.fronts.clear()
        if front in group.dress:
            group.dress.remove(front)
        links.close()


class _Network(Nemesis):
    needs_links = True
    seconds = (2.0, 6.0)

    def __init__(self) -> None:
        self._laid: list[int] = []

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        if world.links is None:
            raise Trouble(f"{self.name} needs connections that go over relays")
        found = self._faults(world, world.links, chance)
        if found is None:
            return None
        faults, struck = found
        self._laid.append(world.links.lay(faults))
        return struck

    @abstractmethod
    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None: ...

    def end(self, world: World) -> None:
        laid, self._laid = self._laid, []
        if world.links is not None:
            world.links.lift(*laid)


def related(world: World, links: Links) -> list[str]:
    """The replicas that have relays between them, whether they stand or not."""
    there = {replica.id for replica in list(world.group.replicas)}
    return sorted(name for name in there if any(name in ends and CLIENTS not in ends for ends in links.ways))


def _across(links: Links, one: Iterable[str], other: Iterable[str], passage: Passage, *, back: bool = True) -> Faults:
    """From each of one side to each of the other, and back."""
    ones, others = set(one), set(other)
    there = {(sender, receiver) for sender in ones for receiver in others}
    ways = there | {(receiver, sender) for sender, receiver in there} if back else there
    return dict.fromkeys(ways & links.ways, passage)


def _said(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


# --- between replicas -----------------------------------------------------------------------------------
class Partition(_Network):
    name = "partition"
    about = "two halves that do not hear each other, by silence or with connections broken off"

    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None:
        all_ = related(world, links)
        if len(all_) < 2:
            return None
        one = chance.sample(all_, chance.randint(1, len(all_) // 2))
        other = [name for name in all_ if name not in one]
        passage, how = chance.choice(((HELD, "held"), (CUT, "broken off")))
        words = f"{_said(one)} | {_said(other)}, {how}"
        return _across(links, one, other, passage), Struck(tuple(sorted(one)), words)


class PartitionLeader(_Network):
    name = "partition-leader"
    about = "the leader is alone: it hears nobody and nobody hears it"

    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None:
        del chance
        alone, all_ = leader(world.group), related(world, links)
        if alone is None or alone.id not in all_ or len(all_) < 2:
            return None
        others = [name for name in all_ if name != alone.id]
        return _across(links, [alone.id], others, HELD), Struck(
            (alone.id,), f"{alone.id}, the leader | {_said(others)}"
        )


class PartitionOneWay(_Network):
    name = "partition-one-way"
    about = "one replica, often the leader, is heard and hears nothing, or hears and is not heard"

    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None:
        all_ = related(world, links)
        leads = leader(world.group) if chance.random() < 0.5 else None
        if len(all_) < 2:
            return None
        deaf = leads.id if leads is not None and leads.id in all_ else chance.choice(all_)
        others = [name for name in all_ if name != deaf]
        if chance.random() < 0.5:
            faults, words = _across(links, others, [deaf], HELD, back=False), f"{deaf} hears nobody and is heard"
        else:
            faults, words = _across(links, [deaf], others, HELD, back=False), f"{deaf} is not heard and hears all"
        return faults, Struck((deaf,), words)


class PartitionBridge(_Network):
    name = "partition-bridge"
    about = "two sides that do not hear each other, and one replica between them that hears both"

    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None:
        all_ = related(world, links)
        if len(all_) < 3:
            return None
        bridge, *rest = chance.sample(all_, len(all_))
        one, other = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        words = f"{_said(one)} | {_said(other)}, and {bridge} hears both"
        return _across(links, one, other, HELD), Struck(tuple(sorted(rest)), words)


class Hold(_Network):
    name = "hold"
    about = "what one replica sends to one other is held, or what both send, and arrives all at once in the end"

    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None:
        pairs = sorted(pair for pair in permutations(related(world, links), 2) if pair in links.ways)
        if not pairs:
            return None
        one, other = chance.choice(pairs)
        both = chance.random() < 0.5
        words = f"held: {one} {'<->' if both else '->'} {other}"
        return _across(links, [one], [other], HELD, back=both), Struck((one, other), words)


class Delay(_Network):
    name = "delay"
    about = "everything between the replicas takes 10 to 300 ms longer, more or less"

    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None:
        all_ = related(world, links)
        if len(all_) < 2:
            return None
        passage = Passage(delay_ms=chance.randint(10, 200), jitter_ms=chance.randint(0, 100))
        words = f"{passage.delay_ms:.0f} to {passage.delay_ms + passage.jitter_ms:.0f} ms between all"
        return _across(links, all_, all_, passage), Struck(tuple(all_), words)


# --- before clients -------------------------------------------------------------------------------------
class HoldClients(_Network):
    name = "hold-clients"
    about = "one replica's clients are held: their requests, its replies, or both; they arrive late, after timeouts"

    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None:
        target = _one_with_clients(world, links, chance)
        if target is None:
            return None
        there, back = {(CLIENTS, target): HELD}, {(target, CLIENTS): HELD}
        faults, what = chance.choice(
            ((there, "requests to"), (back, "replies of"), (there | back, "requests to and replies of"))
        )
        return faults, Struck((target,), f"{what} {target} are held")


class CutClients(_Network):
    name = "cut-clients"
    about = "all connections of clients to one replica are broken off, new ones too"

    def _faults(self, world: World, links: Links, chance: random.Random) -> tuple[Faults, Struck] | None:
        target = _one_with_clients(world, links, chance)
        if target is None:
            return None
        return {(CLIENTS, target): CUT}, Struck((target,), f"clients of {target} are cut off")


def _one_with_clients(world: World, links: Links, chance: random.Random) -> str | None:
    found = sorted(one.id for one in standing(world.group) if (CLIENTS, one.id) in links.ways)
    return chance.choice(found) if found else None
