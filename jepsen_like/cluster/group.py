"""A real group, on loopback unless it is moved: one process a replica, its folder beside those of the others.

Ports lie below the range that the kernel gives to outgoing connections, and a block of them is claimed for the life of
the group.
"""

import contextlib
import json
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from jepsen_like.cluster.client import Client, Trouble, Writer, until
from jepsen_like.cluster.links import Links
from jepsen_like.cluster.served import Served
from raftmem.cli.group import HOST, Group, Replica, settings_text
from raftmem.cli.ports import is_free
from raftmem.lifecycle.peer_credentials import FILE, make
from raftmem.runtime.system import SystemRandomness

PORTS = range(12_000, 28_000, 16)
REPLICAS_MAX = PORTS.step // 2  # that one group ever has: a REST port and a peer port each


class Site(NamedTuple):
    """Where a replica runs: the address that it listens on, and the words before its command that take it there."""

    host: str = HOST
    wrapper: tuple[str, ...] = ()


class _Placed(Replica, frozen=True):
    host: str = HOST

    @property
    def rest_url(self) -> str:
        return f"http://{self.host}:{self.rest_port}"

    @property
    def peer(self) -> str:
        return f"{self.host}:{self.peer_port}"


class LoopbackGroup:
    """Replicas in one folder, `count` at first.

    `extra`: lines of settings for every replica; `{id}` in them stands for its id.
    """

    def __init__(
        self,
        data: Path,
        *,
        base: int,
        extra: str = "",
        names_folders: bool = True,
        count: int = 3,
        cluster_id: str | None = None,
    ) -> None:
        self.data = data
        make(data / FILE, SystemRandomness())
        self._base = base
        self._sites = [Site()] * REPLICAS_MAX
        described = tuple(self._described(f"n{k + 1}", k) for k in range(count))
        self._group = Group(cluster_id or secrets.token_hex(4), described)
        self._names_folders = names_folders
        self.replicas = [self._served(one) for one in described]
        self.ever = list(self.replicas)  # also those that left
        self.dress: list[Callable[[Served], None]] = []  # what is done to each newcomer, before its first start
        self.configure(extra)

    def _described(self, name: str, place: int) -> Replica:
        if place >= REPLICAS_MAX:
            raise Trouble(f"no port for {name}: a group has had at most {REPLICAS_MAX} replicas at a time")
        ports = {"rest_port": self._base + place, "peer_port": self._base + REPLICAS_MAX + place}
        return _Placed(name, secrets.token_hex(16), **ports, host=self._sites[place].host)

    def _served(self, described: Replica) -> Served:
        made = Served(described, self.data / f"{described.id}.toml", self.data / described.id)
        made.wrapper = self._sites[described.rest_port - self._base].wrapper
        return made

    def move(self, sites: Sequence[Site]) -> None:
        """Before anything has started: replicas are at these sites, `REPLICAS_MAX` of them, in the order of their
        ports."""
        if any(replica.output.exists() for replica in self.ever):
            raise Trouble("the group has started: its addresses are in its log")
        self._sites = list(sites)
        replicas = zip(self._group.replicas, self.replicas, self._sites, strict=False)
        moved: list[Replica] = []
        for described, served, site in replicas:
            ports = {"rest_port": described.rest_port, "peer_port": described.peer_port}
            placed = _Placed(described.id, described.folder_id, **ports, host=site.host)
            served.url, served.peer, served.wrapper = placed.rest_url, placed.peer, site.wrapper
            moved.append(placed)
        self._group = msgspec.structs.replace(self._group, replicas=tuple(moved))
        self.configure(self._extra)

    def configure(self, extra: str) -> None:
        """Write the settings of the first replicas; they hold from each one's next start."""
        self._extra = extra
        for described in self._group.replicas:
            text = settings_text(self._group, described)
            if not self._names_folders:
                text = "\n".join(line for line in text.splitlines() if not line.startswith("folder_id"))
            (self.data / f"{described.id}.toml").write_text(f"{self._extra_of(described.id)}\n{text}\n")

    def relay(self, links: Links) -> None:
        """From each replica's next start, what goes between two of the first replicas goes over a link of theirs."""
        if any(site.host != HOST for site in self._sites):
            raise Trouble("replicas that were moved do not reach our relays: use relays, or network namespaces")
        for caller in self._group.replicas:
            text = (self.data / f"{caller.id}.toml").read_text()
            for called in self._group.replicas:
                if called is not caller:
                    port = links.open(caller.id, called.id, (HOST, called.peer_port))
                    text = text.replace(f'peer = "{called.peer}"', f'peer = "{HOST}:{port}"')
            (self.data / f"{caller.id}.toml").write_text(text)

    def _extra_of(self, name: str) -> str:
        return self._extra.replace("{id}", name)

    def newcomer(self, *via: Served, extra: str = "") -> Served:
        """A replica, not started yet, that is to join through the members named (any if none).

        Its id is new; its ports are too, while there are any, and then those of one that left.
        """
        places = [self._described(f"n{len(self.ever) + 1}", place) for place in range(REPLICAS_MAX)]
        used = [one.url for one in self.ever]
        now = [one.url for one in self.replicas]
        free = (one for one in places if one.rest_url not in now)
        made = self._served(min(free, key=lambda one: used.count(one.rest_url)))
        self.let_join(made, *via or self.replicas, extra=extra)
        for dress in self.dress:
            dress(made)
        self.replicas.append(made)
        self.ever.append(made)
        return made

    def let_join(self, replica: Served, *via: Served, extra: str = "") -> None:
        """Write settings with which it joins, under the id that it has; they hold from its next start."""
        lines = {
            "node_id": replica.id,
            "data": replica.folder.name,
            "join": ",".join(one.url for one in via),
            "rest": replica.url.removeprefix("http://"),
            "peer": replica.peer,
            "peer_secret_file": FILE,
        }
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
        replica.settings.write_text(f"{self._extra_of(replica.id)}\n{extra}\n{text}")

    def part_with(self, gone: Served) -> None:
        """It is a member no more, or never was, and has ended: its ports are free."""
        if gone.runs:
            raise Trouble(f"{gone.id} still runs")
        self.replicas.remove(gone)

    @property
    def cluster_id(self) -> str:
        return self._group.cluster_id

    def __getitem__(self, name: str) -> Served:
        return next(replica for replica in self.replicas if replica.id == name)

    @property
    def urls(self) -> list[str]:
        return [replica.url for replica in self.replicas]

    @property
    def every_url(self) -> list[str]:
        """The addresses of all members, also of those that may still come; some may not answer."""
        return [f"http://{site.host}:{self._base + place}" for place, site in enumerate(self._sites)]

    def others(self, one: Served) -> list[Served]:
        return [replica for replica in self.replicas if replica is not one]

    # --- life ---------------------------------------------------------------------------------------
    def start(self, *, bootstrap: bool = False) -> None:
        """Every replica that does not run; ready when this returns."""
        for replica in self.replicas:
            if not replica.runs:
                replica.start(bootstrap=bootstrap)
        self.wait_ready()

    def wait_ready(self, replicas: Sequence[Served] | None = None) -> None:
        for replica in self.replicas if replicas is None else replicas:
            until(partial(_readiness, replica), what=f"{replica.id} is ready")

    def clean_up(self) -> None:
        for replica in self.ever:
            replica.clean_up()

    # --- looking ------------------------------------------------------------------------------------
    def leader(self, *, but: Served | None = None) -> Served:
        """The replica that leads by its own word and another's, as soon as there is one. `but`: not this one.

        Where one alone is running, its own word is enough.
        """

        def find() -> Served | None:
            seen = [(one, one.look("/v1/cluster")) for one in self.replicas if one.runs and one is not but]
            words = [(one, answer.at("term"), answer.at("leader")) for one, answer in seen if answer is not None]
            for one, term, named in words:
                if one.id == named and sum((t, n) == (term, named) for _, t, n in words) >= min(2, len(seen)):
                    return one
            return None

        return until(find, what="a leader is elected")

    def roles(self) -> dict[str, str]:
        """The role of every member by its id, as the leader tells it; empty without a leader."""
        for replica in (one for one in self.replicas if one.runs):
            answer = replica.look("/v1/cluster")
            if answer is not None and answer.at("leader") == replica.id:
                return {str(row["id"]): str(row["role"]) for row in answer.rows("members")}
        return {}

    def wait_voters(self, *voters: Served) -> None:
        """Waits until exactly these are members and vote."""
        wanted = {one.id for one in voters}

        def found() -> bool:
            roles = self.roles()
            return roles.keys() == wanted and "learner" not in roles.values()

        until(found, what=f"{', '.join(sorted(wanted))} are the voters")

    def settle(self) -> int:
        """The index that every running replica has applied, once there is nothing more to apply."""

        def find() -> int | None:
            applied: set[object] = set()
            for replica in (one for one in self.replicas if one.runs):
                answer = replica.look("/v1/cluster")
                if answer is None:
                    return None
                applied.add(answer.at("commit_index"))
                applied |= {row["applied_index"] for row in answer.rows("members") if row["id"] == replica.id}
            only = next(iter(applied))
            return only if len(applied) == 1 and isinstance(only, int) else None

        return until(find, what="every replica has applied everything")

    def highest(self) -> int:
        """The greatest commit index that any running replica knows of."""
        seen = [one.look("/v1/cluster") for one in self.replicas if one.runs]
        return max(answer.integer("commit_index") for answer in seen if answer is not None)

    def digests(self, index: int) -> set[str]:
        """Of every running replica at one index: a single one when they agree."""
        return {
            replica.ask("GET", f"/v1/state/digest?at={index}").text("digest")
            for replica in self.replicas
            if replica.runs
        }

    def memories(self, query: str) -> list[dict[str, object]]:
        """All pages of a list, read from the first running replica."""
        client = Client(next(one for one in self.replicas if one.runs).url)
        found: list[dict[str, object]] = []
        cursor = ""
        try:
            while True:
                page = client.ask("GET", f"/v1/memories?limit=1000&{query}{cursor}")
                if page.status != 200:
                    raise Trouble(f"a page of memories was refused: {page}")
                found += page.rows("memories")
                if page.at("next_cursor") is None:
                    return found
                cursor = f"&cursor={page.text('next_cursor')}"
        finally:
            client.close()

    def writer(self, name: str, *, first: int = 0, urls: Sequence[str] = ()) -> Writer:
        """`urls`: where it may ask; the replicas of now if none are given. It begins with one of these."""
        return Writer(urls or self.urls, name=name, first=first % len(self.replicas))


def _readiness(replica: Served) -> bool:
    if not replica.runs:
        raise Trouble(f"{replica.id} has ended:\n{replica.said()[-2000:]}")
    return replica.look("/readyz") is not None


@contextlib.contextmanager
def claimed_ports() -> Iterator[int]:
    """The first port of a free block, claimed against other callers of this function and released at the end."""
    with socket.socket(socket.AF_UNIX) as claim:
        for base in secrets.SystemRandom().sample(PORTS, len(PORTS)):
            if not all(is_free(base + k) for k in range(PORTS.step)):
                continue
            try:
                claim.bind(f"\0raftmem-test-{base}")
            except OSError:
                continue
            yield base
            return
    raise Trouble("no free block of ports")


@contextlib.contextmanager
def new_group(
    data: Path, *, extra: str = "", names_folders: bool = True, count: int = 3, cluster_id: str | None = None
) -> Iterator[LoopbackGroup]:
    """A group that has just been made, ready; all its processes are gone afterwards."""
    with claimed_ports() as base:
        group = LoopbackGroup(
            data, base=base, extra=extra, names_folders=names_folders, count=count, cluster_id=cluster_id
        )
        try:
            group.start(bootstrap=True)
            yield group
        finally:
            group.clean_up()
            for replica in group.ever:  # shown by pytest when the test has failed
                print(f"--- {replica.id} ({replica.url}) said, at the end:\n{replica.said()[-3000:]}")
