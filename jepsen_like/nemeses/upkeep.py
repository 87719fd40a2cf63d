"""Upkeep of a healthy group: leadership is handed over, snapshots are taken, and logs are compacted."""

import random
import signal

from jepsen_like.cluster.client import Client, Lost
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.standing import leader, spare, standing
from jepsen_like.runs.world import World

ANSWER_S = 6.0
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

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        group = world.group
        leads = leader(group)
        others = [one for one in standing(group) if one is not leads]
        if leads is None or not others or not spare(group):
            return None
        down = self._down = chance.choice(others)
        down.send(signal.SIGKILL)
        down.ended()
        return Struck((down.id,), f"killed {down.id}; {self._taken(world)}")

    def end(self, world: World) -> None:
        down = self._down
        if down is None:
            return
        self._taken(world)
        self._down = None
        if down in world.group.replicas and not down.runs:
            down.start()

    def _taken(self, world: World) -> str:
        taken = [replica.id for replica in standing(world.group) if _tell(replica, "/v1/admin/snapshot")]
        return f"snapshots taken by {', '.join(sorted(taken)) or 'nobody'}"
