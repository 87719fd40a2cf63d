"""Upkeep of a healthy group: leadership is handed over, snapshots are taken, and logs are compacted."""

import random
import re
import signal
from contextlib import suppress

from jepsen_like.cluster.client import Client, Lost, Trouble, until
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.standing import leader, spare, standing
from jepsen_like.runs.world import World

ANSWER_S = 6.0
FORGOTTEN_S = 4.0
STILL_TAKEN = 20  # entries that it may take between that look and its end
HANDOVERS = (1, 4)


def _tell(replica: Served, target: str, body: object = None) -> bool:
    """True if it was done. A lost answer or a refusal is no trouble."""
    client = Client(replica.url, actor="service/nemesis", timeout_s=ANSWER_S)
    try:
        return client.ask("POST", f"{target}?timeout_ms=3000", body).status < 300
    except Lost:
        return False
    finally:
        client.close()


def _log_index(replica: Served, which: str) -> int | None:
    """`first` or `last` of its log, as its metrics tell."""
    answer = replica.look("/metrics")
    found = None if answer is None else re.search(rf"^raftmem_log_{which}_index (\S+)$", answer.raw.decode(), re.M)
    return None if found is None else int(float(found[1]))


class Transfer(Nemesis):
    name = "transfer"
    about = "the lead is handed over to another, several times in a row"
    seconds = (0.5, 2.0)

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        heirs: list[str] = []
        for _ in range(chance.randint(*HANDOVERS)):
            leads = leader(world.group)
            others = [one for one in standing(world.group) if one is not leads]
            if leads is None or not others:
                break
            heir, asked = chance.choice(others), chance.choice(standing(world.group))
            if _tell(asked, "/v1/cluster/leader", {"id": heir.id}):
                heirs.append(heir.id)
        return Struck(tuple(sorted(set(heirs))), f"handed over to {', '.join(heirs)}") if heirs else None

    def end(self, world: World) -> None:
        del world


class Snapshot(Nemesis):
    """The settings keep so little of the log that a replica which was down for a moment is sent a snapshot."""

    name = "snapshot"
    about = "one replica is down while the others take snapshots and forget their logs: it comes back by a snapshot"
    settings = "snapshot_entries = 100\nlog_keep_entries = 10\n"
    seconds = (1.5, 4.0)

    def __init__(self) -> None:
        self._down: Served | None = None
        self._last = 0  # last index of its log, about, when it went down

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        group = world.group
        leads = leader(group)
        others = [one for one in standing(group) if one is not leads]
        if leads is None or not others or not spare(group):
            return None
        down = self._down = chance.choice(others)
        self._last = (_log_index(down, "last") or 0) + STILL_TAKEN
        down.send(signal.SIGKILL)
        down.ended()
        return Struck((down.id,), f"killed {down.id}; {self._taken(world)}")

    def end(self, world: World) -> None:
        down = self._down
        if down is None:
            return
        with suppress(Trouble):  # too little was written meanwhile: then it comes back by the log
            until(lambda: self._is_forgotten(world), what=f"{self._last} is forgotten", seconds=FORGOTTEN_S)
        self._down = None
        if down in world.group.replicas and not down.runs:
            down.start()

    def _is_forgotten(self, world: World) -> bool:
        """No log of the others still holds the entries that the one that is down lacks."""
        self._taken(world)
        return all((_log_index(one, "first") or 0) > self._last for one in standing(world.group))

    def _taken(self, world: World) -> str:
        taken = [replica.id for replica in standing(world.group) if _tell(replica, "/v1/admin/snapshot")]
        return f"snapshots taken by {', '.join(sorted(taken)) or 'nobody'}"
