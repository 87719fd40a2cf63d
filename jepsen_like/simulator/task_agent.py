"""An agent that uses tasks: it adds some, claims, shows that it lives, and ends what it has, in time or too late."""

from typing import Final

from jepsen_like.simulator.agent import Agent, Life
from raftmem.model.commands import (
    Backoff,
    TaskAdd,
    TaskCancel,
    TaskClaim,
    TaskComplete,
    TaskFail,
    TaskHeartbeat,
    TaskRelease,
    TaskRetry,
)

QUEUES: Final = ("build", "test")


def task_work(agent: Agent) -> Life:
    """Raises: Died."""
    choose = agent.choose
    if choose.random() < 0.5:
        _add(agent)
    ttl_ms = agent.ttl_ms()
    reply = yield from agent.ask(TaskClaim(QUEUES, agent.owner, ttl_ms, choose.choice([1, 1, 2])))
    if reply is None or reply.outcome.about is None or reply.outcome.about.token is None:
        return
    for task in reply.outcome.about.task_ids:
        yield from _do(agent, task, reply.outcome.about.token, ttl_ms)


def _add(agent: Agent) -> None:
    """Some wait for the one before them, which may never come."""
    choose, number = agent.choose, agent.post.number()
    agent.tell(
        TaskAdd(
            f"t{number}",
            choose.choice(QUEUES),
            priority=choose.randrange(3),
            delay_ms=choose.choice([0, 0, agent.ttl_ms()]),
            max_attempts=choose.choice([1, 2, 5]),
            backoff=Backoff(100, 2000, 1000),
            depends_on=(f"t{number - 4}",) if choose.random() < 0.2 else (),
        )
    )
    if choose.random() < 0.1:
        older = f"t{number - choose.randrange(30)}"
        agent.tell(TaskCancel(older) if choose.random() < 0.5 else TaskRetry(older))


def _do(agent: Agent, task: str, token: int, ttl_ms: int) -> Life:
    choose = agent.choose
    for _ in range(choose.randrange(4)):
        yield ttl_ms / 1000 * choose.choice([0.3, 0.6, 1.0])
        agent.tell(TaskHeartbeat(task, token, None if choose.random() < 0.7 else ttl_ms))
    agent.may_die(0.15)
    if choose.random() < 0.25:
        yield ttl_ms / 1000 * choose.uniform(1.0, 3.0)
    way = choose.random()
    if way < 0.6:
        yield from agent.ask(TaskComplete(task, token))
    elif way < 0.85:
        delay_ms = choose.choice([None, 0, ttl_ms])
        yield from agent.ask(TaskFail(task, token, retryable=choose.random() < 0.8, delay_ms=delay_ms))
    else:
        yield from agent.ask(TaskRelease(task, token))
