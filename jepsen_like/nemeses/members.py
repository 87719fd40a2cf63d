"""Members that come and go while the group works: it grows and shrinks, or one is replaced for good.

Rule: a request to the group is repeated until it is done: taking in and removing are harmless to repeat.
"""

import random
import time

from jepsen_like.cluster.client import PAUSE_S, Answer, Client, Lost, Trouble
from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.standing import leader, look, names, spare, standing
from jepsen_like.runs.world import World

PATH = "/v1/cluster/members"
DONE_S = 45.0  # within which a group that is not healed yet must take in or remove a member
VOTE_S = 30.0  # that a newcomer may take to catch up and vote; it goes on by itself
ANSWER_S = 8.0
NEWCOMERS = 2


def asked(group: LoopbackGroup, method: str, target: str, body: object = None) -> Answer:
    """The deciding answer, from any replica that gives one. Raises: Trouble when none does in time."""
    deadline, heard = time.monotonic() + DONE_S, "nobody stands"
    while time.monotonic() < deadline:
        for replica in standing(group):
            client = Client(replica.url, actor="service/nemesis", timeout_s=ANSWER_S)
            try:
                answer = client.ask(method, f"{target}?timeout_ms=5000", body)
            except Lost as lost:
                heard = str(lost)
                continue
            finally:
                client.close()
            if answer.status < 300 or answer.status in (400, 404, 422):
                return answer
            heard = f"{replica.id} says {answer.status}: {answer.body}"
        time.sleep(PAUSE_S)
    raise Trouble(f"{method} {target} was not done within {DONE_S:.0f} s: {heard}")


def roles(group: LoopbackGroup) -> dict[str, str]:
    """The role of every member by its id, as the leader tells it; empty without a leader."""
    leads = leader(group)
    seen = None if leads is None else look(leads, "/v1/cluster")
    return {} if seen is None else {str(row["id"]): str(row["role"]) for row in seen.rows("members")}


def is_whole(group: LoopbackGroup) -> bool:
    """True if every replica stands and votes, and there is no other member."""
    found = roles(group)
    everyone = {replica.id for replica in group.replicas}
    return len(standing(group)) == len(everyone) and found.keys() == everyone and "learner" not in found.values()


def admit(group: LoopbackGroup, fresh: Served, *, instead_of: Served | None = None) -> None:
    """A newcomer is taken in and started; it votes when it has caught up, and then who it replaces is a member no more.

    Raises: Trouble; then it may be a member or become one all the same, so the same one is to be taken in again, or
    removed.
    """
    if fresh not in group.replicas:
        group.replicas.append(fresh)
    body = {"id": fresh.id, "peer_url": fresh.peer, "rest_url": fresh.url}
    if instead_of is not None:
        body["replaces"] = instead_of.id
    try:
        answer = asked(group, "POST", PATH, body)
        if answer.status >= 300:
            raise Trouble(f"{fresh.id} is not taken in: {answer.status} {answer.body}")
    except Trouble:
        group.part_with(fresh)
        raise
    fresh.start()


def wait_until_whole(group: LoopbackGroup) -> bool:
    """True if the group became whole in time."""
    deadline = time.monotonic() + VOTE_S
    while time.monotonic() < deadline:
        if is_whole(group):
            return True
        time.sleep(PAUSE_S)
    return False


class Members(Nemesis):
    """It ends with as many members as there were, but not with the same, unless connections go over relays: those of
    newcomers do not."""

    name = "members"
    about = "two replicas join under load, and two others, or they, are removed again"
    asks = True
    seconds = (3.0, 8.0)

    def __init__(self) -> None:
        self._leaving: list[Served] = []

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        group = world.group
        if not spare(group) or not is_whole(group):
            return None
        fresh: list[Served] = []
        for _ in range(NEWCOMERS):
            fresh.append(group.newcomer(*standing(group)))
            self._leaving = list(fresh)  # these, should this one or the next fail
            admit(group, fresh[-1])
        if world.links is None:
            self._leaving = chance.sample(group.replicas, len(fresh))
        words = f"{', '.join(names(fresh))} join, {', '.join(names(self._leaving))} are to leave"
        return Struck(names(list({*fresh, *self._leaving})), words)

    def end(self, world: World) -> None:
        group = world.group
        if not self._leaving:
            return
        wait_until_whole(group)
        while self._leaving:
            gone = self._leaving[0]
            gone.may_end = True  # from now on it does not stand, so that another is asked
            answer = asked(group, "DELETE", f"{PATH}/{gone.id}")
            if answer.status not in (200, 404):
                raise Trouble(f"{gone.id} is not removed: {answer.status} {answer.body}")
            leave(group, gone)
            self._leaving.pop(0)


def leave(group: LoopbackGroup, gone: Served) -> None:
    """It is a member no more; it is told, and ends by itself, or is ended if it cannot be told."""
    deadline = time.monotonic() + ANSWER_S
    while gone.runs and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    gone.clean_up()
    if gone in group.replicas:
        group.part_with(gone)
