"""A bank: money moves from one memory to another, and the total over all of them is the same at every index."""

import random
from collections.abc import Mapping

from jepsen_like.checkers import bank
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads import settled
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Choices, Workload
from jepsen_like.workloads.drawing import Client, Draws

APP = "bank"
BALANCE = 100  # of every account at first
MUCH = 30  # that is sent at most
PAGE_ROWS = 3  # fewer than there are accounts, so that a read is of several pages


class Bank(Workload):
    """An account never sinks below zero: the amount depends on the balance, and the write on its version."""

    name = "bank"
    about = "money is sent between memories in transactions; the total is the same at every index"

    def __init__(self, choices: Choices) -> None:
        super().__init__(choices)
        self._accounts = [f"account-{number}" for number in range(choices.keys + 1)]
        self._opened = 0  # the index at which there are all of them

    def prepare(self, world: World) -> None:
        self._opened = settled.make(world, dict.fromkeys(self._accounts, BALANCE), app_id=APP)

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        del world
        return _Client(connection, Draws(self.choices, number, chance), self._opened)

    def final(self, world: World) -> Mapping[str, object]:
        return {"total": BALANCE * len(self._accounts), "balances": settled.values(world, app_id=APP)}

    def checkers(self) -> tuple[Checker, ...]:
        return (bank.check,)


class _Client(Client):
    """`opened`: no read looks at a time before. `_known`: (version, balance) of each account as of its last read."""

    def __init__(self, connection: Connection, draws: Draws, opened: int) -> None:
        super().__init__(connection, draws)
        draws.seen = opened
        self._opened = opened
        self._known: dict[str, tuple[int, int]] = {}

    def turn(self) -> None:
        turn = self.chance.random()
        if turn < 0.1:
            self._read(f"at={self.chance.randint(self._opened, self.draws.seen)}")
        elif turn < 0.4 or len(self._known) < 2:
            level = self.draws.level()
            self._known = self._read(level if "min_index" in level else f"{level}&min_index={self._opened}")
        else:
            self._transfer()

    def _read(self, when: str) -> dict[str, tuple[int, int]]:
        """(version, balance) of each account; empty if it was not to be had."""
        found: dict[str, tuple[int, int]] = {}

        def balances(answer: Answer) -> object:
            for place, row in enumerate(answer.rows("memories")):
                at = ("memories", place)
                found[str(row["id"])] = answer.integer(*at, "version"), answer.integer(*at, "value")
            return {name: balance for name, (_, balance) in found.items()}

        target = f"/v1/memories?app_id={APP}&limit={PAGE_ROWS}&{when}"
        value = {"at": int(when.removeprefix("at="))} if when.startswith("at=") else None
        asked = Request("GET", target, reads=True, pages="memories")
        self.draws.saw(self.connection.do("read", APP, value, asked, balances))
        return found

    def _transfer(self) -> None:
        sender, receiver = self.chance.sample(sorted(self._known), 2)
        if self._known[sender][1] < self._known[receiver][1]:
            sender, receiver = receiver, sender  # who has less may have nothing
        much = self.chance.randint(0, max(0, min(MUCH, self._known[sender][1])))
        value = {"from": sender, "to": receiver, "amount": much}
        told = self.draws.saw(self.connection.do("transfer", APP, value, self._request(sender, receiver, much), _sent))
        if told.result == {"succeeded": True}:
            del self._known[sender], self._known[receiver]
        else:
            self._known.clear()  # of these two something was wrong, of the others it may be

    def _request(self, sender: str, receiver: str, much: int) -> Request:
        """One of three ways: by merges in a transaction, by balances in one, or as a batch that is refused if false."""
        has = self._guard(sender)
        added = {"op": "UPDATE", "memory_id": receiver, "merge": {"value": {"op": "inc", "by": much}}}
        taken = {"op": "UPDATE", "memory_id": sender, "merge": {"value": {"op": "inc", "by": -much}}}
        match self.chance.randrange(3):
            case 0:
                return Request("POST", "/v1/txn", {"guards": [has], "then": [taken, added]})
            case 1:
                return Request("POST", "/v1/events", {"guards": [has], "events": [taken, added], "atomic": True})
        balances = {sender: self._known[sender][1] - much, receiver: self._known[receiver][1] + much}
        then = [{"op": "UPDATE", "memory_id": name, "value": balance} for name, balance in balances.items()]
        return Request("POST", "/v1/txn", {"guards": [has, self._guard(receiver)], "then": then})

    def _guard(self, account: str) -> dict[str, object]:
        return {"memory": account, "version": self._known[account][0]}


def _sent(answer: Answer) -> object:
    """True if the money was sent: a transaction whose guards are false is answered, and does nothing."""
    body = answer.body
    return {"succeeded": body["succeeded"] if isinstance(body, dict) and "succeeded" in body else True}
