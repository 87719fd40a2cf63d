"""The clients of a schedule: writes to the leader or by way of another replica, reads at each level, in bursts.

Their times and choices have a random stream of their own, so that they stay the same when a fault is left out.
"""

import random

from jepsen_like.simulator import commands
from jepsen_like.simulator.group import Group
from jepsen_like.simulator.options import Options
from jepsen_like.simulator.replicas import Replica

AGAIN = 3.0  # election timeouts after which a client that knows nothing sends a keyed command once more


class Workload:
    """`quiet_until`: reads alone before then, so that a replica that was cut off could still win."""

    def __init__(self, group: Group, options: Options) -> None:
        self.quiet_until = 0.0
        self.stopped = False
        self._group = group
        self._rate = options.commands_per_second
        self._burst = options.burst
        self._timeout = options.election_timeout
        self._choose = random.Random(f"workload {options.seed}")
        self._next_number = 0

    def start(self) -> None:
        """Goes on by itself until `stopped`."""
        choose = self._choose
        size = self._burst if self._burst > 1 and choose.random() < 0.5 / self._burst else 1
        self._group.world.at(self._group.world.now + choose.expovariate(self._rate), lambda: self._turn(size))

    def number(self) -> int:
        self._next_number += 1
        return self._next_number

    def _turn(self, size: int) -> None:
        if self.stopped:
            return
        for _ in range(size):
            self._one()
        self.start()

    def _one(self) -> None:
        group, choose = self._group, self._choose
        replicas = list(group.replicas.values())
        replica = replicas[int(choose.random() * len(replicas))]
        way, what, choice = choose.random(), choose.random(), choose.random()
        if group.world.now >= self.quiet_until:
            number = self.number()
            if what < 0.6:
                body = commands.command(number)
            elif what < 0.9:
                body = commands.contended(number, choice)
            else:
                body = commands.keyed(number)
                self._again_later(number, body)
            self._send(number, body, replica if way < 0.3 else None)
        if way < 0.5:
            group.lease_read(replica)
        if what < 0.25:
            group.read(replica, quorum=choice < 0.5)

    def _send(self, number: int, body: bytes, by_way_of: Replica | None) -> None:
        if by_way_of is None:
            self._group.propose(number, body)
        else:
            self._group.forward(number, by_way_of, body)

    def _again_later(self, number: int, body: bytes) -> None:
        group = self._group

        def again() -> None:
            if number not in group.acked and body not in group.referee.refused and not self.stopped:
                group.sent_again.add(body)
                group.propose(self.number(), body)

        group.world.at(group.world.now + AGAIN * self._timeout, again)
