"""Random operations on locks while time moves at random, against the model, and against what must always hold."""

import random
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from lock_model import LockModel, Told
from machine_world import (
    Step,
    World,
    acquire,
    expire_lock,
    force_release,
    holds_in,
    leave,
    queue_in,
    release,
    release_owner,
    renew,
)

from raftmem.machine.run import step_entry
from raftmem.model.coordination_rows import DUE, LOCKS, Hold, Lock, Waiter, due_until, owned_by
from raftmem.model.records import Outcome
from raftmem.storage.state.store import LmdbStateStore

LOCKS_USED = ("mutex", "pool")
USUAL_PERMITS = {"mutex": 1, "pool": 2}
OWNERS = ("p", "q", "r", "s", "t")
TTLS = (100, 400, 2000)
WAITS = (0, 300, 1500)


class Ask(NamedTuple):
    """One operation, before it is known which tokens there are. `token`: whose, or another one."""

    kind: Literal["acquire", "renew", "release", "force", "leave", "expire", "owner"]
    lock: str
    owner: str
    token: Literal["own", "other", "here", "old"] = "own"
    ttl_ms: int = 400
    wait_ms: int = 0
    odd: bool = False  # other permits, gone, a wrong term
    off: int = 0  # of the renewals that an expiry saw


class Call(NamedTuple):
    """`due`: what the leader's expiry finds, and nothing else."""

    asks: list[Ask]
    wait_ms: int
    atomic: bool
    due: bool


KINDS = ["acquire"] * 6 + ["renew"] * 2 + ["release"] * 3 + ["force", "leave", "leave", "expire", "expire", "owner"]
ASKS = st.builds(
    Ask,
    kind=st.sampled_from(KINDS),
    lock=st.sampled_from(LOCKS_USED),
    owner=st.sampled_from(OWNERS),
    token=st.sampled_from(["own", "own", "own", "other", "here", "old"]),
    ttl_ms=st.sampled_from(TTLS),
    wait_ms=st.sampled_from(WAITS),
    odd=st.sampled_from([False, False, False, True]),
    off=st.sampled_from([0, 0, 0, 1]),
)
CALLS = st.builds(
    Call,
    asks=st.lists(ASKS, min_size=1, max_size=4),
    wait_ms=st.sampled_from([0, 0, 50, 250, 1000]),
    atomic=st.booleans(),
    due=st.sampled_from([False, False, False, True]),
)


def step_of(ask: Ask, model: LockModel, index: int) -> Step:
    lock = model.locks.get(ask.lock, {"holders": {}, "queue": []})
    rows = {**{one["owner"]: one for one in lock["queue"]}, **lock["holders"]}
    row = rows.get(ask.owner, {"token": 0, "asked": (index - 1, 0), "renewals": 0})
    others = [hold["token"] for owner, hold in lock["holders"].items() if owner != ask.owner]
    tokens = {"other": (others or [0])[0], "here": index, "old": max(0, index - 2)}
    token = tokens.get(ask.token, row.get("token", 0))
    usual = USUAL_PERMITS[ask.lock]
    match ask.kind:
        case "acquire":
            permits = 3 - usual if ask.odd else usual
            return acquire(
                ask.lock, ask.owner, ttl_ms=ask.ttl_ms, permits=permits, wait_ms=ask.wait_ms, leave_ms=ask.wait_ms // 2
            )
        case "renew":
            return renew(ask.lock, ask.owner, token, None if ask.odd else ask.ttl_ms)
        case "release":
            return release(ask.lock, ask.owner, token)
        case "force":
            return force_release(ask.lock)
        case "leave":
            asked = {"here": index, "old": index - 2}.get(ask.token) or row["asked"][0]
            return leave(ask.lock, ask.owner, asked, gone=ask.odd)
        case "expire":
            saw = row["renewals"] + ask.off
            seen_token = row.get("token") if ask.token == "own" else token
            return expire_lock(ask.lock, ask.owner, seen_token, saw, term=2 if ask.odd else 1)
        case "owner":
            return release_owner(ask.owner)


def due_steps(world: World) -> list[Step]:
    """What the leader's expiry proposes."""
    found = [one.row for one in world.store.read().scan(DUE, limit=256, stop=due_until(world.time))]
    rows = [row for row in found if isinstance(row, Hold | Waiter)]
    return [expire_lock(row.lock, row.owner, getattr(row, "token", None), row.renewals) for row in rows]


def told(outcome: Outcome) -> Told:
    about = outcome.about
    assert about is not None
    assert outcome.applied == (outcome.code is None)
    named = (about.lock, about.owner, about.token, about.current_token)
    return (outcome.op, outcome.code, outcome.requested_op, *named)


class Seen(NamedTuple):
    """The rows after one entry."""

    locks: dict[str, Lock]
    holds: dict[tuple[str, str, int], Hold]
    queues: dict[str, list[Waiter]]

    @classmethod
    def of(cls, world: World) -> "Seen":
        rows = [one.row for one in world.store.read().scan(LOCKS, limit=100)]
        return cls(
            {row.name: row for row in rows if isinstance(row, Lock)},
            {(row.lock, row.owner, row.token): row for name in LOCKS_USED for row in holds_in(world, name)},
            {name: queue_in(world, name) for name in LOCKS_USED},
        )


class Watch:
    """What must hold of the rows, and between them and the events, whatever the model says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.before = Seen.of(world)
        self.ever: set[tuple[str, str, int]] = set()
        self.last_token: dict[str, int] = dict.fromkeys(LOCKS_USED, 0)

    def look(self, index: int, outcomes: list[Told]) -> None:
        before, after = self.before, Seen.of(self.world)
        self.rows_agree(after)
        done = [one for one in outcomes if one[1] is None]
        self.every_end_is_told(before, after, done)
        self.every_grant_is_told(before, after, done, index)
        self.first_come_first(before, after, done)
        self.before = after

    @staticmethod
    def rows_agree(seen: Seen) -> None:
        for name in LOCKS_USED:
            holders = [owner for lock, owner, _ in seen.holds if lock == name]
            waiters = [waiter.owner for waiter in seen.queues[name]]
            lock = seen.locks.get(name)
            if lock is None:
                assert not holders
                assert not waiters
                continue
            assert (lock.held, lock.waiting) == (len(holders), len(waiters))
            assert 0 < lock.held <= lock.permits
            assert lock.waiting == 0 or lock.held == lock.permits
            assert len({*holders, *waiters}) == lock.held + lock.waiting

    def every_end_is_told(self, before: Seen, after: Seen, done: list[Told]) -> None:
        ends = [
            (op, (lock, owner, token))
            for op, _, _, lock, owner, token, _ in done
            if op in ("LOCK_RELEASE", "LOCK_FORCE_RELEASE", "LOCK_EXPIRE") and token is not None
        ]
        assert sorted(end for _, end in ends) == sorted(before.holds.keys() - after.holds.keys())
        for op, end in ends:
            assert op != "LOCK_EXPIRE" or before.holds[end].expires <= self.world.time

    def every_grant_is_told(self, before: Seen, after: Seen, done: list[Told], index: int) -> None:
        grants = [one[3:6] for one in done if one[0] in ("LOCK_ACQUIRE", "LOCK_GRANT")]
        new = after.holds.keys() - before.holds.keys()
        assert sorted(grants) == sorted(new)
        assert not new & self.ever
        self.ever |= new
        for name, _, token in new:
            assert token == index
            assert self.last_token[name] < index or after.locks[name].permits > 1
            self.last_token[name] = index

    @staticmethod
    def first_come_first(before: Seen, after: Seen, done: list[Told]) -> None:
        since = {(w.lock, w.owner): w.since for queue in before.queues.values() for w in queue}
        for op, _, _, name, owner, _, _ in done:
            if op == "LOCK_GRANT" and (name, owner) in since:
                assert all(waiter.since > since[name, owner] for waiter in after.queues[name])


def state_of(seen: Seen) -> dict[str, Any]:
    """The rows in the shape of the model."""
    return {
        name: {
            "permits": lock.permits,
            "holders": {
                hold.owner: {
                    "asked": (hold.asked.index, hold.asked.seq),
                    "ttl": hold.ttl_ms,
                    "expires": hold.expires,
                    "token": hold.token,
                    "renewals": hold.renewals,
                }
                for hold in seen.holds.values()
                if hold.lock == name
            },
            "queue": [
                {
                    "asked": (one.asked.index, one.asked.seq),
                    "ttl": one.ttl_ms,
                    "expires": one.expires,
                    "owner": one.owner,
                    "renewals": one.renewals,
                }
                for one in seen.queues[name]
            ],
        }
        for name, lock in seen.locks.items()
    }


def run_script(script: list[Call], world: World) -> list[Told]:
    model, watch = LockModel(), Watch(world)
    every: list[Told] = []
    for call in script:
        world.later(ms=call.wait_ms)
        index = world.store.head().index + 1
        steps = due_steps(world) if call.due else [step_of(ask, model, index) for ask in call.asks]
        outcomes = [told(outcome) for outcome in world.run(*steps, atomic=call.atomic and not call.due)]
        expected = model.run(index, world.time, 1, [step[0] for step in steps], call.atomic and not call.due)
        assert outcomes == expected
        watch.look(index, outcomes)
        assert state_of(watch.before) == model.locks
        every += outcomes
    return every


def nothing_is_left_in_the_end(world: World) -> None:
    """Everybody is gone: within a few rounds of expiries no row and no index key remains."""
    world.later(ms=100_000)
    while steps := due_steps(world):
        assert any(outcome.applied for outcome in world.run(*steps, atomic=False))
        world.later(ms=100_000)
    reader = world.store.read()
    assert reader.scan(LOCKS, limit=9) == []
    assert reader.scan(DUE, limit=9) == []
    assert [reader.scan(owned_by(owner), limit=9) for owner in OWNERS] == [[]] * len(OWNERS)
    assert [(holds_in(world, name), queue_in(world, name)) for name in LOCKS_USED] == [([], [])] * len(LOCKS_USED)


@settings(max_examples=300, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=25))
def test_locks_do_what_the_model_says(script: list[Call]) -> None:
    world = World()
    run_script(script, world)
    nothing_is_left_in_the_end(world)


def random_call(dice: random.Random) -> Call:
    def ask() -> Ask:
        return Ask(
            kind=dice.choice(KINDS),  # type: ignore[arg-type]  # one of them
            lock=dice.choice(LOCKS_USED),
            owner=dice.choice(OWNERS),
            token=dice.choice(["own"] * 6 + ["other", "here", "here", "old"]),  # type: ignore[arg-type]  # one of them
            ttl_ms=dice.choice(TTLS),
            wait_ms=dice.choice(WAITS),
            odd=dice.random() < 0.15,
            off=int(dice.random() < 0.15),
        )

    asks = [ask() for _ in range(dice.choice([1, 1, 1, 2, 3]))]
    if dice.random() < 0.2:  # more of one owner on one lock, as it stands after this entry's own grant
        asks.append(asks[0]._replace(kind=dice.choice(["release", "leave", "expire"]), token="here"))  # type: ignore[arg-type]  # one of them
    return Call(asks, dice.choice([0, 0, 50, 250, 1000]), dice.random() < 0.5, dice.random() < 0.2)


def test_a_long_history_meets_everything_that_can_happen() -> None:
    """So the random scripts above do look at it all, and both stores come to the same digest."""
    dice = random.Random(4)
    world = World()
    every = run_script([random_call(dice) for _ in range(1500)], world)
    met = {(op, code, requested_op) for op, code, requested_op, *_ in every}
    expected = {
        *[("LOCK_ACQUIRE", code, None) for code in (None, "lock-held", "permits-mismatch", "batch-refused")],
        *[("LOCK_RENEW", None, None), ("LOCK_RENEW", None, "LOCK_ACQUIRE"), ("LOCK_RENEW", "stale-token", None)],
        *[("LOCK_RELEASE", code, None) for code in (None, "stale-token", "wrong-state")],
        *[("LOCK_FORCE_RELEASE", None, None), ("LOCK_FORCE_RELEASE", "wrong-state", None)],
        *[("LOCK_LEAVE", None, None), ("LOCK_LEAVE", "moved", None), ("LOCK_RELEASE", None, "LOCK_LEAVE")],
        *[("LOCK_EXPIRE", None, None), ("LOCK_EXPIRE", "moved", None), ("OWNER_RELEASE", None, None)],
        *[("OWNER_RELEASE", "wrong-state", None), ("LOCK_GRANT", None, None), ("LOCK_WAIT", None, None)],
        *[("NOOP", None, "LOCK_FORCE_RELEASE"), ("NOOP", None, "LOCK_LEAVE")],
    }
    assert expected - met == set()
    nothing_is_left_in_the_end(world)
    with tempfile.TemporaryDirectory() as folder:
        store = LmdbStateStore(Path(folder) / "state", map_bytes=256 << 20)
        for index, data in enumerate(world.log, start=1):
            with store.write() as writer:
                step_entry(writer, index, 1, data)
        assert store.head() == world.store.head()
        store.close(clean=False)
