"""An agent that uses a lock: it gets or awaits it, renews, writes under its guard, lets go, in time or too late.

Some renewals are sent when the lease is as good as over; whoever overslept writes and renews with its old token.
"""

from collections.abc import Generator
from typing import Final

from jepsen_like.simulator.agent import Agent, Life
from raftmem.model.commands import (
    Content,
    Fields,
    Guard,
    LockAcquire,
    LockForceRelease,
    LockLeave,
    LockRelease,
    LockRenew,
    Put,
)

LOCKS: Final = {"deploy/prod": 1, "deploy/test": 1, "gpus": 2}  # name -> permits
GAPS: Final = (0.3, 0.3, 0.3, 0.6, 0.95, 1.05)  # of a time to live, between two signs of life
TRIES: Final = 2
Token = Generator[float, None, int | None]


def lock_work(agent: Agent) -> Life:
    """Raises: Died."""
    choose = agent.choose
    if choose.random() < 0.03:
        agent.tell(LockForceRelease(choose.choice([*LOCKS])))
        return
    if choose.random() < 0.1:
        yield from _both(agent)
        return
    name, ttl_ms = choose.choice([*LOCKS]), agent.ttl_ms()
    token = yield from _acquire(agent, name, ttl_ms)
    if token is not None:
        agent.may_die(0.05)
        yield from _hold(agent, name, token, ttl_ms)


def _both(agent: Agent) -> Life:
    """Two locks at once, or none of them; both are renewed together, each by a request of its own."""
    ttl_ms, owner = agent.ttl_ms(), agent.owner
    first, second, _ = LOCKS
    reply = yield from agent.ask(LockAcquire(first, owner, ttl_ms), LockAcquire(second, owner, ttl_ms))
    if reply is None or reply.outcome.about is None or reply.outcome.about.token is None:
        return
    token = reply.outcome.about.token
    for _ in range(agent.choose.randrange(4)):
        yield ttl_ms / 1000 * 0.3
        agent.tell(LockRenew(first, owner, token))
        agent.tell(LockRenew(second, owner, token))
    agent.may_die(0.2)
    agent.tell(LockRelease(first, owner, token), LockRelease(second, owner, token))


def _acquire(agent: Agent, name: str, ttl_ms: int) -> Token:
    """Asks again when nobody knows what became of it: it is given the same token, or keeps its place."""
    wait_ms = int(ttl_ms * agent.choose.choice([0, 0.5, 2, 6, 6]))
    for _ in range(TRIES):
        reply = yield from agent.ask(LockAcquire(name, agent.owner, ttl_ms, LOCKS[name], wait_ms))
        if reply is None:
            continue
        if reply.outcome.op == "LOCK_WAIT":
            agent.may_die(0.05)
            return (yield from _queue(agent, name, reply.at, wait_ms))
        about = reply.outcome.about
        return about.token if reply.outcome.applied and about is not None else None
    return None


def _queue(agent: Agent, name: str, asked: int, wait_ms: int) -> Token:
    """Until it is served, renews first thing, or gives up."""
    choose, owner = agent.choose, agent.owner
    patience = wait_ms / 1000 * choose.choice([0.5, 0.9, 1.5])
    while patience > 0:
        token = agent.post.token_of(name, owner)
        if token is not None:
            agent.tell(LockRenew(name, owner, token))
            return token
        pause = 0.2 * agent.post.timeout
        patience -= pause
        yield pause
    reply = yield from agent.ask(LockLeave(name, owner, asked, gone=choose.random() < 0.3))
    about = None if reply is None else reply.outcome.about
    return about.token if reply is not None and reply.outcome.op == "NOOP" and about is not None else None


def _hold(agent: Agent, name: str, token: int, ttl_ms: int) -> Life:
    choose = agent.choose
    for _ in range(choose.randrange(7)):
        yield ttl_ms / 1000 * choose.choice(GAPS)
        _show(agent, name, token, None if choose.random() < 0.7 else ttl_ms)
    agent.may_die(0.2)
    if choose.random() < 0.25:
        yield ttl_ms / 1000 * choose.uniform(1.0, 3.0)
        _show(agent, name, token, None)
        _write(agent, name, token)
    yield from agent.ask(LockRelease(name, agent.owner, token))


def _show(agent: Agent, name: str, token: int, ttl_ms: int | None) -> None:
    """A sign of life, or a write that only the holder may do."""
    if agent.choose.random() < 0.7:
        agent.tell(LockRenew(name, agent.owner, token, ttl_ms))
    else:
        _write(agent, name, token)


def _write(agent: Agent, name: str, token: int) -> None:
    owner = agent.owner if LOCKS[name] > 1 or agent.choose.random() < 0.3 else None
    guard = Guard(lock=name, token=token, owner=owner)
    agent.tell(Put("guarded", Fields()), guards=(guard,), content=Content(text=f"{agent.owner} {token}"))
