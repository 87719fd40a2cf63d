"""Waiting for a gate: in turns of what one request may wait, until it is open or the wait is over."""

import httpx
import pytest
from client_world import URLS, Asked, Dice, OwnedTime, Replicas, answer

from raftmem.client import RaftmemClient, WaitTimeout


class World:
    """A gate that opens at its time."""

    def __init__(self, *, opens_after: float) -> None:
        self.time = OwnedTime(jumps=True)
        self.opens = self.time.now() + opens_after
        self.replicas = Replicas(self._answer)
        self.client = RaftmemClient(URLS, transport=self.replicas, time=self.time, randomness=Dice())

    def _answer(self, asked: Asked) -> httpx.Response:
        waits = int(asked.query.get("wait_ms", 0)) / 1000
        self.time.advance(max(0.0, min(waits, self.opens - self.time.now())))
        shown = {"name": "g", "required": 2, "approvers": [], "approvals": [], "pins": [], "consumed_index": None}
        return answer({**shown, "open": self.time.now() >= self.opens})


def test_gate_that_opens_late_is_waited_for_in_turns() -> None:
    world = World(opens_after=100.0)
    assert world.client.gates.wait_open("g").open
    assert [one.query["wait_ms"] for one in world.replicas.asked] == ["60000", "60000"]


def test_gate_that_does_not_open_in_time_says_what_is_missing() -> None:
    world = World(opens_after=100.0)
    with pytest.raises(WaitTimeout, match="within 70 s: 0 of 2 approvals"):
        world.client.gates.wait_open("g", 70)
    assert world.time.now() == 1070.0
