"""The agents of a schedule: how many there are, who follows the dead, and how their requests reach the group.

Their times and choices have a random stream of their own, so that they stay the same when a fault is left out.
"""

import random
from collections.abc import Callable
from typing import Final

from jepsen_like.simulator.agent import Agent, Died, Life, Reply
from jepsen_like.simulator.group import Group
from jepsen_like.simulator.lock_agent import lock_work
from jepsen_like.simulator.options import Options
from jepsen_like.simulator.task_agent import task_work
from raftmem.model.commands import Draft, OwnerRelease

TASK_SHARE: Final = 0.45
DECLARED_DEAD: Final = 0.3  # share of the dead whose successor says so


class Agents:
    """`number`: the next one of a command. Goes on by itself from `start` until `stopped`."""

    def __init__(self, group: Group, options: Options, number: Callable[[], int]) -> None:
        self.stopped = False
        self.timeout = options.election_timeout
        self.number = number
        assert group.coordination is not None
        self._group = group
        self._coordination = group.coordination
        self._ttl = options.ttl
        self._choose = random.Random(f"agents {options.seed}")
        self._count = options.agents
        self._born = 0

    def start(self) -> None:
        for _ in range(self._count):
            self._be_born(None)

    def _be_born(self, dead: Agent | None) -> None:
        self._born += 1
        agent = Agent(f"a{self._born}", self, self._choose, self._ttl)
        if dead is not None and self._choose.random() < DECLARED_DEAD:
            agent.tell(OwnerRelease(dead.owner))
        self._go_on(agent, self._live(agent))

    def _live(self, agent: Agent) -> Life:
        while True:
            yield self._choose.expovariate(2.0) * self.timeout
            yield from (task_work if self._choose.random() < TASK_SHARE else lock_work)(agent)

    def _go_on(self, agent: Agent, life: Life) -> None:
        if self.stopped:
            return
        world = self._group.world
        try:
            pause = next(life)
        except Died:
            self._group.sometimes.saw("agent died")
            world.at(world.now + self._choose.expovariate(1.0) * self.timeout, lambda: self._be_born(agent))
            return
        world.at(world.now + pause, lambda: self._go_on(agent, life))

    # --- requests -----------------------------------------------------------------------------------
    def send(self, number: int, draft: Draft) -> None:
        """To the leader or by way of another; a process that is stopped reads it when it goes on."""
        group, choose = self._group, self._choose
        replicas = list(group.replicas.values())
        other, to_leader = replicas[int(choose.random() * len(replicas))], choose.random() < 0.6
        leader = group.leader()
        self._coordination.leases.asked[draft.header.request_id] = group.world.now
        if leader is not None and to_leader:
            leader.machine.perform(lambda: self._coordination.give(number, leader, draft))
        else:
            other.machine.perform(lambda: self._coordination.pass_on(number, other, draft))

    def reply(self, number: int) -> Reply | None:
        group = self._group
        place = group.proposed.get(number)
        applied = None if place is None else group.referee.applied.get(place[0])
        if place is None or applied is None or applied.row.term != place[1]:
            return None
        return Reply(applied.row.result.outcomes[self._coordination.seqs.get(number, 0)], place[0])

    def token_of(self, lock: str, owner: str) -> int | None:
        return self._coordination.locks.token_of(lock, owner)
