"""Agents that keep a memory as agents do: they search first, then add, update, or decide that nothing is new.

They share a small number of scopes and of facts, so that duplicates, updates and deletions meet. Every list and search
is recorded with what it showed.
"""

import random
from collections.abc import Callable

from jepsen_like.checkers import scoped
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Choices, Workload
from jepsen_like.workloads.drawing import Client, Draws
from jepsen_like.workloads.records import record_of

APP = "mixed"
FACTS = 30  # that agents may want to add without a duplicate
DIMENSION = 4
TAGS = ("deploy", "review", "urgent")
TTL_MS = (300, 3_000)
PAGE_ROWS = 20
RECENT = 40  # memories that an agent remembers having seen
KEY_NS = 20 * 10**9  # that a user's memories are added to; lists of them stay short


class Mixed(Workload):
    name = "mixed"
    about = "agents add, update, decide, search, list, tag and delete under shared scopes; answers show the log"

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        return _Client(world, connection, Draws(self.choices, number, chance), self.choices, number)

    def checkers(self) -> tuple[Checker, ...]:
        return (scoped.check,)


class _Client(Client):
    """`_recent`: ids that it has lately been shown, the newest last."""

    def __init__(self, world: World, connection: Connection, draws: Draws, choices: Choices, number: int) -> None:
        super().__init__(connection, draws)
        self._now = world.recorder.now
        self._users = choices.keys
        self._number = number
        self._recent: list[str] = []

    def turn(self) -> None:
        turns: tuple[Callable[[], None], ...] = (
            *(self._add, self._add_if_new, self._update, self._delete, self._decide),
            *(self._read, self._list, self._search),
        )
        self.chance.choices(turns, (5, 4, 4, 1, 1, 4, 2, 3))[0]()

    # --- writing ------------------------------------------------------------------------------------
    def _add(self) -> None:
        """Adds a new fact, for one agent, one run or everybody; some facts expire soon."""
        value = self.draws.value()
        body = {**self._where(), **self._said(f"observation {value}"), "id": f"observation-{value}", "value": value}
        if self.chance.random() < 0.15:
            body["ttl_ms"] = self.chance.randint(*TTL_MS)
        self._write("add", str(body["id"]), body, Request("POST", "/v1/memories", body))

    def _add_if_new(self) -> None:
        """A fact that others may be adding at this moment: it is there once."""
        fact = f"fact {self.chance.randrange(FACTS)}"
        scope = {"app_id": APP, "user_id": self._user()}
        body = {**scope, **self._said(fact), "id": f"fact-{self.draws.value()}", "on_duplicate": "noop"}
        self._write("add", str(body["id"]), body, Request("POST", "/v1/memories", body))

    def _update(self) -> None:
        if not self._recent:
            return self._add()
        body: dict[str, object] = {"value": self.draws.value()}
        if self.chance.random() < 0.5:
            body["tags"] = self._tags()
        if self.chance.random() < 0.3:
            body |= {"embedding": self._vector(), "embedding_model": "toy"}
        target = self.chance.choice(self._recent)
        return self._write("update", target, body, Request("PATCH", f"/v1/memories/{target}", body))

    def _delete(self) -> None:
        if self._recent:
            target = self._recent.pop(self.chance.randrange(len(self._recent)))
            self._write("delete", target, None, Request("DELETE", f"/v1/memories/{target}"))

    def _decide(self) -> None:
        """Nothing is new, by the agent's own judgement."""
        matched = self.chance.choice(self._recent) if self._recent else None
        decision = {"by": "llm", "reason": "known", "matched_id": matched, "similarity": 0.9}
        asked = Request("POST", "/v1/events", {"events": [{"op": "NOOP", "decision": decision}]})
        self.draws.saw(self.connection.do("decide", "", decision, asked))

    def _write(self, f: str, key: str, value: object, asked: Request) -> None:
        told = self.draws.saw(self.connection.do(f, key, value, asked, _written))
        if f != "delete" and isinstance(told.result, dict):
            self._saw([str(told.result["id"])])

    # --- reading ------------------------------------------------------------------------------------
    def _read(self) -> None:
        if self._recent:
            target = self.chance.choice(self._recent)
            asked = Request("GET", f"/v1/memories/{target}?{self.draws.level()}", reads=True)
            self.draws.saw(self.connection.do("read", target, None, asked, record_of))

    def _list(self) -> None:
        scope = self._asked_of()
        tags = self.chance.sample(TAGS, self.chance.choice((0, 0, 1, 2)))
        query = [f"{name}={value}" for name, value in scope.items()] + [f"tag={tag}" for tag in tags]
        target = f"/v1/memories?{'&'.join(query)}&limit={PAGE_ROWS}&{self.draws.level()}"
        asked = Request("GET", target, reads=True, pages="memories")
        told = self.draws.saw(self.connection.do("list", APP, {"scope": scope, "tags": tags}, asked, _listed))
        self._saw_all(told.result)

    def _search(self) -> None:
        scope, tags = self._asked_of(), self.chance.sample(TAGS, self.chance.choice((0, 0, 1)))
        body = {"embedding": self._vector(), "top_k": self.chance.choice((3, 10)), "tags": tags, **scope}
        value = {"scope": scope, "tags": tags, "embedding": body["embedding"], "top_k": body["top_k"]}
        asked = Request("POST", f"/v1/memories/search?{self.draws.level()}", body, reads=True)
        told = self.draws.saw(self.connection.do("search", APP, value, asked, _found))
        self._saw_all(told.result)

    def _saw_all(self, rows: object) -> None:
        if isinstance(rows, list):
            self._saw([str(row[0]) for row in rows[-3:]])

    def _saw(self, ids: list[str]) -> None:
        self._recent = [*self._recent, *ids][-RECENT:]

    # --- drawing ------------------------------------------------------------------------------------
    def _user(self) -> str:
        return f"user-{self.chance.randrange(self._users)}-{self._now() // KEY_NS}"

    def _where(self) -> dict[str, object]:
        scope: dict[str, object] = {"app_id": APP, "user_id": self._user()}
        if self.chance.random() < 0.5:
            scope["agent_id"] = f"agent-{self._number}"
        if self.chance.random() < 0.3:
            scope["run_id"] = f"run-{self.chance.randrange(3)}"
        return scope

    def _asked_of(self) -> dict[str, str]:
        """A scope to look into: a user's memories, or only those of an agent or a run."""
        scope = {"app_id": APP, "user_id": self._user()}
        narrower = self.chance.choice(({}, {}, {"agent_id": f"agent-{self._number}"}, {"run_id": "run-1"}))
        return scope | narrower

    def _said(self, text: str) -> dict[str, object]:
        said: dict[str, object] = {"text": text, "tags": self._tags()}
        if self.chance.random() < 0.7:
            said |= {"embedding": self._vector(), "embedding_model": "toy"}
        return said

    def _tags(self) -> list[str]:
        return self.chance.sample(TAGS, self.chance.randint(0, 2))

    def _vector(self) -> list[float]:
        return [round(self.chance.gauss(0, 1), 3) for _ in range(DIMENSION - 1)] + [0.1]  # never all zero


def _written(answer: Answer) -> object:
    return {"id": answer.text("memory", "id"), "version": answer.integer("memory", "version")}


def _listed(answer: Answer) -> object:
    return [[row["id"], row["version"]] for row in answer.rows("memories")]


def _found(answer: Answer) -> object:
    places = range(len(answer.rows("results")))
    return [
        [
            answer.text("results", place, "memory", "id"),
            answer.integer("results", place, "memory", "version"),
            answer.at("results", place, "score"),
        ]
        for place in places
    ]
