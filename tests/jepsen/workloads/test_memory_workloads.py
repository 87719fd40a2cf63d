"""Each workload for memories, for a moment, against a group to which nothing happens: what it did is judged good."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from jepsen_like.checkers import reflected, sessions
from jepsen_like.checkers.evidence import Checker, Ending, Evidence
from jepsen_like.cluster.client import Client, together
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.history.logged import Event, Log, log_of
from jepsen_like.history.record import History
from jepsen_like.history.recorder import Recorder
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection
from jepsen_like.workloads.contract import Choices
from jepsen_like.workloads.registry import make

CLIENTS = 4
STEPS = 70  # of each client
STREAMS = 4  # of each client that watches: every second one
LEVELS = ("lease", "linearizable", "session", "bounded", "eventual")

#: workload -> what its history must hold, so that its checkers had something to judge: (f, type, error)
SHOWN: dict[str, list[tuple[str, str, str | None]]] = {
    "register": [("read", "ok", None), ("write", "ok", None)],
    "cas": [("cas", "ok", None), ("cas", "fail", "precondition-failed"), ("delete", "ok", None)],
    "memory": [("patch", "ok", None), ("patch", "fail", "precondition-failed"), ("delete", "ok", None)],
    "counter": [("add", "ok", None), ("read", "ok", None)],
    "list-append": [("append", "ok", None), ("txn", "ok", None), ("read", "ok", None)],
    "sets": [("add", "ok", None), ("read", "ok", None)],
    "bank": [("transfer", "ok", None), ("transfer", "fail", "precondition-failed"), ("read", "ok", None)],
    "watch": [("watch", "ok", None), ("write", "ok", None), ("write", "fail", "precondition-failed")],
    "session": [("read", "ok", None), ("write", "ok", None)],
    "idempotent": [("add", "ok", None), ("add", "unknown", "unknown-outcome")],
    "mixed": [("add", "ok", None), ("update", "ok", None), ("list", "ok", None), ("search", "ok", None)],
}


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackGroup]:
    """The workloads do not meet: each has its own names."""
    with new_group(tmp_path_factory.mktemp("group")) as made:
        yield made


def the_log(group: LoopbackGroup) -> Log:
    """All of it, as a run gathers it in the end."""
    group.settle()
    client, found, cursor = Client(group.urls[0]), list[Event](), ""
    try:
        while True:
            page = client.ask("GET", f"/v1/events?include=internal&limit=1000{cursor}")
            found += msgspec.convert(page.rows("events"), list[Event])
            if page.at("next_cursor") is None:
                return log_of(found)
            cursor = f"&cursor={page.text('next_cursor')}"
    finally:
        client.close()


def burst(group: LoopbackGroup, folder: Path, name: str) -> Evidence:
    """A short run of a workload, its choices drawn from one seed."""
    recorder = Recorder(folder / "history.jsonl")
    world = World(folder, group, recorder)
    workload = make(name, Choices(clients=CLIENTS, keys=3, levels=LEVELS))
    workload.prepare(world)

    def client(number: int) -> None:
        chance = random.Random(number)
        connection = Connection(world.urls, world.recorder, actor=f"agent/{name}-{number}", chance=chance)
        agent = workload.agent(world, connection, number, random.Random(f"{name} {number}"))
        try:
            for _ in range(STREAMS if name == "watch" and number % 2 == 0 else STEPS):
                agent.step()
        finally:
            agent.close()

    together(CLIENTS, client)
    extra = dict(workload.final(world))
    recorder.close()
    history = History(None, tuple(sorted(recorder.operations, key=lambda operation: operation.call)))
    return Evidence(history=history, log=the_log(group), ending=Ending(extra=extra))


def judged(evidence: Evidence, checkers: Sequence[Checker]) -> None:
    findings = [check(evidence) for check in checkers]
    assert [finding.verdict for finding in findings] == ["good"] * len(findings), findings


@pytest.mark.parametrize("name", SHOWN)
def test_a_workload_on_a_healthy_group_is_judged_good(group: LoopbackGroup, tmp_path: Path, name: str) -> None:
    evidence = burst(group, tmp_path, name)
    seen: Counter[tuple[str, str, str | None]] = Counter(
        (one.f, one.type, one.error) for one in evidence.history.operations
    )
    assert not [kind for kind in SHOWN[name] if seen[kind] == 0], seen
    if name not in ("watch", "idempotent"):  # which read nothing by itself
        assert {one.level for one in evidence.history.operations if one.type == "ok"} >= set(LEVELS)
    checkers: tuple[Checker, ...] = make(name, Choices()).checkers()
    judged(evidence, [*checkers, reflected.check, sessions.check])


def test_an_unknown_workload_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ValueError, match=f"no such workload: banks; there are .*{', '.join(SHOWN)}"):
        make("banks", Choices())
