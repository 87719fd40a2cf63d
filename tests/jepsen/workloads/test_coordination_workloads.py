"""The workloads of coordination against one healthy group: a short burst each, judged by its own checkers."""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from jepsen_like.checkers import durability, reflected, sessions
from jepsen_like.checkers.evidence import Ending, Evidence, Finding, worst
from jepsen_like.cluster.client import Client, together, until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.history.jsonl import read_history
from jepsen_like.history.logged import Event, Log, log_of
from jepsen_like.history.recorder import Recorder
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection
from jepsen_like.workloads.contract import Choices, Workload
from jepsen_like.workloads.gates import Gates
from jepsen_like.workloads.guarded import FencedLocks, Guarded, UnfencedLocks
from jepsen_like.workloads.holders import Gone, PlainHolder, StoppedHolder
from jepsen_like.workloads.locks import Locks
from jepsen_like.workloads.pinned_gates import PinnedGates
from jepsen_like.workloads.resource import Fenced, Resource
from jepsen_like.workloads.semaphores import Semaphores
from jepsen_like.workloads.task_work import Tasks
from jepsen_like.workloads.txn_locks import TxnLocks

CLIENTS = 4


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackGroup]:
    with new_group(tmp_path_factory.mktemp("coordination")) as group:
        yield group


@pytest.fixture
def world(group: LoopbackGroup, tmp_path: Path) -> Iterator[World]:
    """One that is recorded to a file of its own."""
    recorder = Recorder(tmp_path / "history.jsonl")
    yield World(tmp_path, group, recorder)
    recorder.close()


def burst(workload: Workload, world: World, *, steps: int, clients: int = CLIENTS, seed: int = 7) -> Evidence:
    """So many turns of each client, what came of them, and the log of the group."""
    workload.prepare(world)

    def run(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        connection = Connection(world.urls, world.recorder, actor=f"agent/c{number}", chance=chance)
        agent = workload.agent(world, connection, number, chance)
        try:
            for _ in range(steps):
                agent.step()
        finally:
            agent.close()

    together(clients, run)
    extra = dict(workload.final(world))
    world.recorder.close()
    log = whole_log(world.group)
    return Evidence(history=read_history(world.folder / "history.jsonl"), log=log, ending=Ending(extra=extra))


def whole_log(group: LoopbackGroup) -> Log:
    index, client, events, cursor = group.settle(), Client(group.urls[0]), list[Event](), ""
    while True:
        page = client.ask("GET", f"/v1/events?include=internal&to={index}&limit=1000{cursor}")
        events += [msgspec.convert(row, Event) for row in page.rows("events")]
        if page.at("next_cursor") is None:
            client.close()
            return log_of(events)
        cursor = f"&cursor={page.text('next_cursor')}"


def judge(workload: Workload, evidence: Evidence) -> list[Finding]:
    universal = (durability.check, reflected.check, sessions.check)
    findings = [check(evidence) for check in (*workload.checkers(), *universal)]
    for finding in findings:
        print(finding.name, finding.verdict, finding.summary, *finding.details, sep="\n  ")
    return findings


def outcomes(evidence: Evidence) -> Counter[tuple[str, str]]:
    """How often which operation was done, or refused for which reason."""
    return Counter((one.f, one.error or one.type) for one in evidence.history.operations)


CHOICES = Choices(clients=CLIENTS, keys=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "steps", "seen"),
    [
        (Locks, 40, [("acquire", "ok"), ("acquire", "lock-held"), ("renew", "ok"), ("release", "ok")]),
        (Semaphores, 40, [("acquire", "ok"), ("renew", "ok"), ("release", "ok")]),
        (
            Tasks,
            50,
            [("add", "ok"), ("complete", "ok"), ("complete", "stale-token"), ("fail", "ok"), ("heartbeat", "ok")],
        ),
        (Gates, 80, [("put", "ok"), ("approve", "ok"), ("consume", "ok"), ("consume", "wrong-state"), ("read", "ok")]),
        (PinnedGates, 120, [("act", "ok"), ("act", "precondition-failed"), ("change", "ok"), ("consume", "ok")]),
        (TxnLocks, 40, [("take", "ok"), ("take", "lock-held"), ("count", "ok"), ("give", "ok")]),
        (FencedLocks, 10, [("acquire", "ok"), ("use", "ok"), ("use", "fenced"), ("count", "precondition-failed")]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_healthy_group_is_found_good(
    kind: type[Workload], steps: int, seen: list[tuple[str, str]], world: World
) -> None:
    workload = kind(CHOICES)
    evidence = burst(workload, world, steps=steps)
    counted = outcomes(evidence)
    print(counted)
    assert worst(judge(workload, evidence)) == "good" == workload.expected
    assert [one for one in seen if not counted[one]] == []
    assert not [one for one in counted if one[1] in ("unknown", "nonsense", "gone")]


class SleepyUnfenced(UnfencedLocks):
    oversleeps = 1.0


class SleepyFenced(FencedLocks):
    oversleeps = 1.0  # so long that its own guard is refused, too
    memory = "sleepy-counter"  # the group is another's too


@pytest.mark.parametrize("kind", [SleepyUnfenced, SleepyFenced])
def test_holders_that_oversleep_lose_updates_unless_the_resource_looks_at_tokens(
    kind: type[Guarded], world: World
) -> None:
    """Whoever comes first sleeps until the second has read, whichever those are."""
    workload = kind(CHOICES)
    evidence = burst(workload, world, steps=1, clients=3)
    findings = judge(workload, evidence)
    assert next(finding.verdict for finding in findings if finding.name == "locks") == workload.expected
    assert [finding.name for finding in findings if finding.verdict == "bad"] == ([] if kind.fenced else ["locks"])
    counted = outcomes(evidence)
    assert (counted["use", "fenced"] > 0) == kind.fenced
    lost = [line for finding in findings for line in finding.details if line.startswith("lost-update")]
    assert bool(lost) == (not kind.fenced)


def test_process_stopped_past_its_time_goes_on_and_is_refused_everywhere(world: World) -> None:
    def connect(name: str) -> Connection:
        return Connection(world.urls, world.recorder, actor=f"agent/{name}", chance=random.Random(name))

    resource = Resource(world.folder / "resource", fenced=True)
    holder = StoppedHolder(world, connect("stopped"), random.Random(1))
    other = PlainHolder(connect("other"), random.Random(2))

    def taken_by_another() -> None:
        section = until(lambda: other.take("stopped"), what="its time is over")
        assert resource.read(section.token) == 0

    try:
        section = until(lambda: holder.take("stopped"), what="the lock is held")
        changed = holder.work(resource.read(section.token), taken_by_another)
        assert changed == 1
        with pytest.raises(Fenced):
            resource.write(section.token, changed)
        late = Client(world.group.urls[0])
        answer = late.ask("POST", "/v1/memories", {"text": "late", "guards": [section.guard]})
        late.close()
        assert (answer.status, answer.text("code")) == (412, "precondition-failed")
        holder.give()
    finally:
        holder.close()


def test_holder_whose_process_is_killed_is_gone_and_begun_again_under_another_name(world: World) -> None:
    connection = Connection(world.urls, world.recorder, actor="agent/killed", chance=random.Random(1))
    holder = StoppedHolder(world, connection, random.Random(1))
    try:
        section = until(lambda: holder.take("killed"), what="the lock is held")
        with pytest.raises(Gone):
            holder.work(0, lambda: os.kill(holder.pid, signal.SIGKILL))
        again = until(lambda: holder.take("killed"), what="what it held has run out")
        assert again.owner != section.owner
        assert again.token > section.token
    finally:
        holder.close()
