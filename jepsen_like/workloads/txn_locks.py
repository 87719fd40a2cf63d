"""Two locks and a write in one transaction, all of it or nothing, so that none is held while another is waited for.

A client with both locks counts up the memory that they guard, and gives both back in one transaction; some vanish.
"""

import random
import time
from typing import Final

from jepsen_like.checkers import counting, locks, txns
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads import settled
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Agent, Choices, Workload
from jepsen_like.workloads.locks import owner_of
from jepsen_like.workloads.records import record_of

TTL_MS: Final = 1_500
PAUSE_S: Final = 0.03  # after a refusal, at most
COUNTER: Final = "both-counter"
NOTE: Final = "both-note"  # says who took the locks last
COMMON: Final = "both-common"  # in every pair, so that it guards the counter

Item = dict[str, object]


class TxnLocks(Workload):
    name = "txn-locks"
    about = "two locks and a write taken in one transaction, all or nothing"
    fewest = 30

    def prepare(self, world: World) -> None:
        settled.make(world, {COUNTER: 0, NOTE: ""})

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> Agent:
        del world, number
        return PairAgent(connection, self.choices, chance)

    def checkers(self) -> tuple[Checker, ...]:
        return locks.check, txns.check, counting.check


class PairAgent(Agent):
    """Takes a pair of locks, or nothing."""

    def __init__(self, connection: Connection, choices: Choices, chance: random.Random) -> None:
        self._connection = connection
        self._choices = choices
        self._chance = chance

    def step(self) -> None:
        owner = owner_of(self._connection)
        pair = [COMMON, f"both-{self._chance.randrange(self._choices.keys)}"]
        self._chance.shuffle(pair)
        token = self._take(owner, pair)
        if token is None:
            time.sleep(self._chance.uniform(0, PAUSE_S))
            return
        if self._chance.random() < 0.05:
            self._connection.retire()
            return
        self._count(owner, pair, token)
        if owner == owner_of(self._connection):
            self._give(owner, pair, token)

    def _take(self, owner: str, pair: list[str]) -> int | None:
        then: list[Item] = [{"op": "LOCK_ACQUIRE", "name": lock, "owner": owner, "ttl_ms": TTL_MS} for lock in pair]
        then.append({"op": "UPDATE", "memory_id": NOTE, "value": owner})
        told = self._txn("take", owner, pair, then)
        token = told.get("token") if isinstance(told, dict) else None
        return token if isinstance(token, int) else None

    def _give(self, owner: str, pair: list[str], token: int) -> None:
        then: list[Item] = [{"op": "LOCK_RELEASE", "name": lock, "owner": owner, "token": token} for lock in pair]
        self._txn("give", owner, pair, then)

    def _txn(self, f: str, owner: str, pair: list[str], then: list[Item]) -> object:
        value = {"owner": owner, "locks": pair, "ops": [item["op"] for item in then]}
        return self._connection.do(f, "", value, Request("POST", "/v1/txn", {"then": then}), _tokens).result

    def _count(self, owner: str, pair: list[str], token: int) -> None:
        """One higher than it is, under the guard of both."""
        level = self._chance.choice(self._choices.levels)
        request = Request("GET", f"/v1/memories/{COUNTER}?consistency={level}", reads=True)
        seen = self._connection.do("read", COUNTER, None, request, record_of).result
        if not isinstance(seen, dict):
            return
        value = {"owner": owner, "token": token, "value": seen["value"] + 1}
        body = {"value": value["value"], "guards": [{"lock": lock, "token": token} for lock in pair]}
        self._connection.do("count", COUNTER, value, Request("PATCH", f"/v1/memories/{COUNTER}", body))

    def close(self) -> None:
        self._connection.close()


def _tokens(answer: Answer) -> object:
    """Both are the index of the transaction."""
    return {"token": answer.integer("index")}
