"""The replicas that stand in a group that may be broken already, and the choice of those to hit.

Rule: nothing here waits for a group that does not answer; its leader is then None.
"""

import random
from typing import Literal

from jepsen_like.cluster.client import Answer, Client, Lost
from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.cluster.served import Served

LOOK_S = 1.0  # that one replica may take to say who leads

Whom = Literal["one", "leader", "majority", "all"]


def standing(group: LoopbackGroup) -> list[Served]:
    """The replicas that run, are not paused, and were not asked to end."""
    return [replica for replica in list(group.replicas) if replica.stands]


def majority(group: LoopbackGroup) -> int:
    return len(group.replicas) // 2 + 1


def spare(group: LoopbackGroup) -> int:
    """The number of replicas that may fall and leave a majority standing."""
    return max(0, len(standing(group)) - majority(group))


def leader(group: LoopbackGroup) -> Served | None:
    """The leader of the newest term that a replica names, if it stands; None while no replica knows one."""
    up = standing(group)
    seen = [answer for answer in (look(one, "/v1/cluster") for one in up) if answer is not None]
    named = [(answer.integer("term"), answer.at("leader")) for answer in seen]
    known = [(term, name) for term, name in named if name is not None]
    if not known:
        return None
    newest = max(known, key=lambda one: one[0])[1]
    return next((one for one in up if one.id == newest), None)


def look(replica: Served, target: str) -> Answer | None:
    """A read that may fail, or take too long: None then."""
    client = Client(replica.url, timeout_s=LOOK_S)
    try:
        answer = client.ask("GET", target)
    except Lost:
        return None
    finally:
        client.close()
    return answer if answer.status == 200 else None


def chosen(whom: Whom, group: LoopbackGroup, chance: random.Random) -> list[Served]:
    """The replicas that fall, in order. One replica or the leader falls only if a majority stands without it."""
    up = standing(group)
    match whom:
        case "one":
            return [chance.choice(up)] if spare(group) else []
        case "leader":
            found = leader(group) if spare(group) else None
            return [] if found is None else [found]
        case "majority":
            return chance.sample(up, min(len(up), majority(group)))
        case "all":
            return chance.sample(up, len(up))


def some(group: LoopbackGroup, chance: random.Random) -> list[Served]:
    """Any of those that stand, one at least if one stands."""
    up = standing(group)
    return chance.sample(up, chance.randint(1, len(up))) if up else []


def names(replicas: list[Served]) -> tuple[str, ...]:
    return tuple(sorted(replica.id for replica in replicas))
