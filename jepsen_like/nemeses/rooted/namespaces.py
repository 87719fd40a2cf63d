"""A network for a group: each replica in a network namespace of its own, all on one bridge, as is the harness.

So the kernel can drop packets between two of them without a word to either, and clients go on asking over the bridge.
It reaches nobody beyond this machine. Rule: everything that is made bears one random tag and is gone after `close`.
"""

import secrets
import sys
from collections.abc import Iterable
from functools import cache
from subprocess import PIPE, Popen
from typing import Final
from weakref import WeakKeyDictionary

from jepsen_like.cluster.client import Trouble
from jepsen_like.cluster.group import REPLICAS_MAX, Site
from jepsen_like.nemeses.rooted.commands import missing, run
from jepsen_like.runs.world import World

SETTINGS: Final = "insecure = true\n"  # nobody else can reach these addresses
PACKAGES: Final = {"ip": "iproute2", "tc": "iproute2", "iptables-restore": "iptables"}
_SUBNETS: Final = 256
_OURS: Final = 254
_LISTEN: Final = "import socket; s=socket.create_server((%r,9)); print(flush=True); s.accept()"
_CONNECT: Final = "import socket; socket.create_connection((%r,9),5)"


class Namespaces:
    """`count` of them, numbered from 0. Faults lie in chains, named by who laid them; each lays and lifts its own."""

    def __init__(self, count: int) -> None:
        self._tag = secrets.token_hex(3)
        self._bridge = f"rm{self._tag}"
        self._subnet = _free_subnet()
        self.names = [f"raftmem-{self._tag}-{k + 1}" for k in range(count)]
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        lines = [
            f"link add {self._bridge} type bridge",
            f"addr add {self._subnet}.{_OURS}/24 dev {self._bridge}",
            f"link set {self._bridge} up",
        ]
        for place, name in enumerate(self.names):
            end = f"{self._bridge}v{place}"
            lines += [
                f"netns add {name}",
                f"link add {end} type veth peer name eth0 netns {name}",
                f"link set {end} master {self._bridge} up",
            ]
        run("ip", "-batch", "-", given="\n".join(lines))
        for place, name in enumerate(self.names):
            inside = f"addr add {self.host(place)}/24 dev eth0\nlink set lo up\nlink set eth0 up"
            run("ip", "-n", name, "-batch", "-", given=inside)

    def host(self, place: int) -> str:
        return f"{self._subnet}.{place + 1}"

    def site(self, place: int) -> Site:
        return Site(self.host(place), ("ip", "netns", "exec", self.names[place]))

    # --- faults -------------------------------------------------------------------------------------
    def drop(self, chain: str, place: int, sources: Iterable[int], *, share: float = 1) -> None:
        """Of what comes to it from those, this share of the packets is lost."""
        some = "" if share >= 1 else f"-m statistic --mode random --probability {share:.3f} "
        rules = [f"-A {chain} -s {self.host(source)} {some}-j DROP" for source in sources]
        self._lay(place, [f":{chain} - [0:0]", f"-A INPUT -j {chain}", *rules])

    def lift(self, chain: str) -> None:
        for place, name in enumerate(self.names):
            if f"-j {chain}\n" in run("ip", "netns", "exec", name, "iptables", "-w", "-S", "INPUT"):
                self._lay(place, [f":{chain} - [0:0]", f"-D INPUT -j {chain}", f"-X {chain}"])

    def _lay(self, place: int, lines: Iterable[str]) -> None:
        text = "\n".join(["*filter", *lines, "COMMIT", ""])
        run("ip", "netns", "exec", self.names[place], "iptables-restore", "-w", "-n", given=text)

    def unplug(self, place: int) -> None:
        run("ip", "-n", self.names[place], "link", "set", "eth0", "down")

    def plug_in(self) -> None:
        for name in self.names:
            run("ip", "-n", name, "link", "set", "eth0", "up")

    def choke(self, place: int, *, kbit: int) -> None:
        """Packets that leave it wait in a queue; a packet that would wait for long is dropped."""
        shape = f"rate {kbit}kbit burst 4kb latency 400ms".split()
        run("tc", "-n", self.names[place], "qdisc", "replace", "dev", "eth0", "root", "tbf", *shape)

    def let_breathe(self) -> None:
        for name in self.names:
            if "tbf" in run("tc", "-n", name, "qdisc", "show", "dev", "eth0"):
                run("tc", "-n", name, "qdisc", "del", "dev", "eth0", "root")

    # --- the end ------------------------------------------------------------------------------------
    def close(self) -> None:
        """Everything is gone. Again is nothing."""
        rows = run("ip", "-o", "link", "show").splitlines()
        links = [row.split()[1].rstrip(":").partition("@")[0] for row in rows]
        for link in links:
            if link.startswith(self._bridge):  # the bridge and our ends of its cables; the other ends go with them
                run("ip", "link", "del", link)
        left = run("ip", "netns", "list").split()
        for name in self.names:
            if name in left:
                run("ip", "netns", "del", name)


def _free_subnet() -> str:
    used = run("ip", "-o", "-4", "addr", "show")
    free = [f"10.99.{k}" for k in range(_SUBNETS) if f" 10.99.{k}." not in used]
    if not free:
        raise Trouble("all of 10.99.0.0/16 is in use on this machine")
    return secrets.choice(free)


_of_worlds: WeakKeyDictionary[World, Namespaces] = WeakKeyDictionary()


def prepare(world: World) -> None:
    """Moves the group of this world into namespaces, once. Raises: Trouble."""
    if world in _of_worlds:
        return
    if world.links is not None:
        raise Trouble("replicas in network namespaces do not reach our relays: use relays, or namespaces")
    made = _of_worlds[world] = Namespaces(REPLICAS_MAX)
    world.group.move([made.site(place) for place in range(REPLICAS_MAX)])


def of(world: World) -> Namespaces:
    return _of_worlds[world]


def places(world: World) -> dict[str, int]:
    """Of the replicas of now, in their order: the numbers of their namespaces."""
    by_name = {name: place for place, name in enumerate(of(world).names)}
    return {replica.id: by_name[replica.wrapper[-1]] for replica in world.group.replicas}


def clean_up(world: World) -> None:
    made = _of_worlds.pop(world, None)
    if made is not None:
        made.close()


@cache
def unavailable() -> str | None:
    """Why there can be no such network here; it tries everything once."""
    if reason := missing(PACKAGES):
        return reason
    try:
        network = Namespaces(2)
    except Trouble as trouble:
        return f"network namespaces do not work here: {trouble}"
    try:
        return _tried(network)
    except Trouble as trouble:
        return f"the kernel lacks a part: {trouble}"
    finally:
        network.close()


def _tried(network: Namespaces) -> str | None:
    host = network.host(0)
    listen, connect = ([*network.site(k).wrapper, sys.executable, "-c"] for k in (0, 1))
    with Popen([*listen, _LISTEN % host], stdout=PIPE, stderr=PIPE) as listener:
        try:
            if listener.stdout is None or not listener.stdout.readline():
                return "nothing can listen in a network namespace here"
            try:
                run(*connect, _CONNECT % host)
            except Trouble:
                return "packets do not pass the bridge between two namespaces: a firewall of the machine drops them"
        finally:
            listener.kill()
    network.drop("tried", 0, [1], share=0.5)
    network.lift("tried")
    network.choke(0, kbit=64)
    network.let_breathe()
    return None
