"""Faults of the network that the kernel makes, between namespaces: packets vanish, and nobody is told.

Clients reach every replica all the while, but for one whose cable is pulled.
"""

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.rooted import namespaces
from jepsen_like.nemeses.rooted.namespaces import Namespaces
from jepsen_like.runs.world import World

_LOSSES = (0.1, 0.3, 0.6)
_RATES_KBIT = (32, 128, 512)


class _InNamespaces(Nemesis):
    portable: ClassVar[bool] = False
    moves: ClassVar[bool] = True
    settings: ClassVar[str] = namespaces.SETTINGS

    def unavailable(self) -> str | None:
        return namespaces.unavailable()

    def prepare(self, world: World) -> None:
        namespaces.prepare(world)

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        places = namespaces.places(world)
        if len(places) < 2:
            return None
        return self.strike(namespaces.of(world), places, chance)

    @abstractmethod
    def strike(self, network: Namespaces, places: Mapping[str, int], chance: random.Random) -> Struck:
        """`places`: at least two."""

    def end(self, world: World) -> None:
        namespaces.of(world).lift(self.name)

    def clean_up(self, world: World) -> None:
        namespaces.clean_up(world)


def _halves(places: Mapping[str, int], chance: random.Random) -> tuple[list[str], list[str]]:
    """The smaller first, of at least one."""
    names = chance.sample(sorted(places), len(places))
    cut = chance.randint(1, len(names) // 2)
    return names[:cut], names[cut:]


def _numbers(names: Sequence[str], places: Mapping[str, int]) -> list[int]:
    return [places[name] for name in names]


class NamespacePartition(_InNamespaces):
    name: ClassVar[str] = "netns-partition"
    about: ClassVar[str] = "a minority and the others lose every packet to each other (iptables)"

    def strike(self, network: Namespaces, places: Mapping[str, int], chance: random.Random) -> Struck:
        few, many = _halves(places, chance)
        for name in few:
            network.drop(self.name, places[name], _numbers(many, places))
        for name in many:
            network.drop(self.name, places[name], _numbers(few, places))
        return Struck(tuple(few), f"nothing passes between {', '.join(few)} and {', '.join(many)}")


class NamespaceOneWay(_InNamespaces):
    name: ClassVar[str] = "netns-one-way"
    about: ClassVar[str] = "packets from some replicas to the others vanish, those the other way arrive (iptables)"

    def strike(self, network: Namespaces, places: Mapping[str, int], chance: random.Random) -> Struck:
        sides = list(_halves(places, chance))
        chance.shuffle(sides)
        deaf, unheard = sides
        for name in deaf:
            network.drop(self.name, places[name], _numbers(unheard, places))
        return Struck(tuple(unheard), f"nothing from {', '.join(unheard)} reaches {', '.join(deaf)}")


class NamespaceLoss(_InNamespaces):
    name: ClassVar[str] = "netns-loss"
    about: ClassVar[str] = "a share of all packets between replicas is lost (iptables)"

    def strike(self, network: Namespaces, places: Mapping[str, int], chance: random.Random) -> Struck:
        share = chance.choice(_LOSSES)
        for place in places.values():
            others = [other for other in places.values() if other != place]
            network.drop(self.name, place, others, share=share)
        return Struck(tuple(places), f"{share:.0%} of the packets between replicas are lost")


class NamespaceDown(_InNamespaces):
    name: ClassVar[str] = "netns-down"
    about: ClassVar[str] = "the network interface of one replica is down, for its clients too"

    def strike(self, network: Namespaces, places: Mapping[str, int], chance: random.Random) -> Struck:
        target = chance.choice(sorted(places))
        network.unplug(places[target])
        return Struck((target,), f"the cable of {target} is pulled")

    def end(self, world: World) -> None:
        namespaces.of(world).plug_in()


class Choke(_InNamespaces):
    name: ClassVar[str] = "choke"
    about: ClassVar[str] = "what one replica or all of them send goes through a narrow pipe (tc tbf)"

    def strike(self, network: Namespaces, places: Mapping[str, int], chance: random.Random) -> Struck:
        targets = sorted(places) if chance.random() < 0.3 else [chance.choice(sorted(places))]
        kbit = chance.choice(_RATES_KBIT)
        for name in targets:
            network.choke(places[name], kbit=kbit)
        return Struck(tuple(targets), f"{', '.join(targets)} can send {kbit} kbit/s")

    def end(self, world: World) -> None:
        namespaces.of(world).let_breathe()
