"""The oracle of locks: it judges the events of the log alone against true time.

At every place of the log: at most `permits` hold a lock, and who waits does so because it is full; tokens rise; who
asked first is served first; a hold ends by itself no earlier than promised, and likewise a wait; whoever names a token
is believed if, and only if, that token holds; so are guards.
"""

from msgspec import Struct

from jepsen_like.simulator.leases import Fail, Lease, Leases, Told, told
from jepsen_like.simulator.sometimes import Sometimes
from raftmem.machine.run import Applied
from raftmem.model.commands import Guard, LockAcquire, LockRelease, LockRenew


class Held(Struct):
    token: int
    lease: Lease


class Place(Struct):
    """In a queue. `lease`: of its wait. `ttl_ms`: of the hold that it is for."""

    lease: Lease
    ttl_ms: int


class LockSeen(Struct):
    """`queue`: in order. `newest_token`: the highest that was ever given. `given`: (owner, token), all of them."""

    permits: int = 0
    holders: dict[str, Held] = {}
    queue: dict[str, Place] = {}
    newest_token: int = 0
    given: set[tuple[str, int]] = set()

    @property
    def has_room(self) -> bool:
        return not self.holders or len(self.holders) < self.permits


class LockOracle:
    """Sees every entry once, in order, when it is first applied anywhere."""

    def __init__(self, leases: Leases, sometimes: Sometimes, fail: Fail) -> None:
        self.locks: dict[str, LockSeen] = {}
        self._leases = leases
        self._sometimes = sometimes
        self._fail = fail
        self._expired_here: set[str] = set()  # locks of which this entry has ended a hold whose time was over

    def token_of(self, lock: str, owner: str) -> int | None:
        seen = self.locks.get(lock)
        held = None if seen is None else seen.holders.get(owner)
        return None if held is None else held.token

    def leases_left(self) -> list[str]:
        """The holders and the waiters."""
        return [
            f"{owner} {verb} {name}"
            for name, seen in self.locks.items()
            for verb, owners in (("holds", seen.holders), ("waits for", seen.queue))
            for owner in owners
        ]

    def applies(self, applied: Applied) -> None:
        """Raises: Violation."""
        header = applied.entry.header
        outcomes = applied.row.result.outcomes
        if header is None or not outcomes:
            return
        self._guards(header.guards, outcomes[0].failed, applied.row.index)
        self._expired_here.clear()
        for one in told(applied):
            if one.outcome.about is not None and one.outcome.about.lock is not None:
                self._one(one, one.outcome.about.lock, one.outcome.about.owner or "", one.outcome.about.token)

    def _guards(self, guards: tuple[Guard, ...], failed: tuple[int, ...], index: int) -> None:
        for place, guard in enumerate(guards):
            if guard.lock is None or guard.token is None:
                continue
            seen = self.locks.get(guard.lock, LockSeen())
            owners = seen.holders if guard.owner is None else {guard.owner}
            held = any((found := seen.holders.get(owner)) and found.token == guard.token for owner in owners)
            if held == (place in failed):
                raise self._fail(f"{index} is {'refused though' if held else 'done, and no more'} {guard} holds")
            self._sometimes.saw("guarded write done" if held else "stale token refused")

    def _one(self, one: Told, name: str, owner: str, token: int | None) -> None:
        seen = self.locks.setdefault(name, LockSeen())
        outcome = one.outcome
        if not outcome.applied:
            self._refused(one, name, seen, owner)
        elif outcome.op in ("LOCK_ACQUIRE", "LOCK_GRANT"):
            self._begins(one, name, seen, owner)
        elif outcome.op == "LOCK_WAIT":
            self._waits(one, name, seen, owner)
        elif outcome.op == "LOCK_RENEW":
            self._goes_on(one, name, seen, owner)
        elif token is None:
            self._leaves(one, name, seen, owner)
        elif outcome.op != "NOOP":
            self._ends(one, name, seen, owner)

    def _begins(self, one: Told, name: str, seen: LockSeen, owner: str) -> None:
        token = one.index
        operation, place = one.operation, seen.queue.get(owner)
        if isinstance(operation, LockAcquire):
            seen.permits = seen.permits if seen.holders else operation.permits
            ttl_ms, first = operation.ttl_ms, None
        elif place is not None:
            ttl_ms, first = place.ttl_ms, owner
        else:
            raise self._fail(f"{one.index} gives {name} to {owner}, who does not wait for it")
        if next(iter(seen.queue), None) != first:
            raise self._fail(f"{one.index} gives {name} to {owner}, and {next(iter(seen.queue))} has asked before")
        if owner in seen.holders or len(seen.holders) >= seen.permits:
            raise self._fail(f"{one.index} gives {name} to {owner}, and {[*seen.holders]} hold it ({seen.permits})")
        rises = token > seen.newest_token or (token == seen.newest_token and seen.permits > 1)
        if one.outcome.about is None or one.outcome.about.token != token or not rises or (owner, token) in seen.given:
            raise self._fail(f"{one.index} gives {name} with a token that does not rise above {seen.newest_token}")
        seen.newest_token = token
        seen.given.add((owner, token))
        seen.queue.pop(owner, None)
        seen.holders[owner] = Held(token, self._leases.given(ttl_ms, one.term))
        if one.outcome.op == "LOCK_GRANT" and name in self._expired_here:
            self._sometimes.saw("waiter granted after an expiry")

    def _waits(self, one: Told, name: str, seen: LockSeen, owner: str) -> None:
        """A waiter that asks again keeps its place."""
        if seen.has_room:
            raise self._fail(f"{one.index} lets {owner} wait for {name}, and only {[*seen.holders]} hold it")
        assert isinstance(one.operation, LockAcquire)
        seen.queue[owner] = Place(self._leases.given(one.operation.wait_ms, one.term), one.operation.ttl_ms)

    def _goes_on(self, one: Told, name: str, seen: LockSeen, owner: str) -> None:
        held = self._held(one, name, seen, owner)
        assert isinstance(one.operation, LockAcquire | LockRenew)
        given = one.operation.ttl_ms
        before = held.lease
        held.lease = self._leases.given(round(before.seconds * 1000) if given is None else given, one.term)
        if one.term != before.term:
            self._sometimes.saw("renewal after a leader change")

    def _leaves(self, one: Told, name: str, seen: LockSeen, owner: str) -> None:
        """A wait is over. Of a free lock nothing was taken."""
        place = seen.queue.pop(owner, None)
        if place is None:
            if one.outcome.op != "NOOP":
                raise self._fail(f"{one.index} ends the wait of {owner} for {name}, who did not wait")
        elif one.outcome.op == "LOCK_EXPIRE":
            self._leases.check_over(place.lease, f"at {one.index} the wait of {owner} for {name}", self._fail)
            self._sometimes.saw("waiter expired")

    def _ends(self, one: Told, name: str, seen: LockSeen, owner: str) -> None:
        held = self._held(one, name, seen, owner)
        if one.outcome.op == "LOCK_EXPIRE":
            self._leases.check_over(held.lease, f"at {one.index} the hold of {owner} on {name}", self._fail)
            self._sometimes.saw("lease expired")
            self._expired_here.add(name)
        del seen.holders[owner]

    def _held(self, one: Told, name: str, seen: LockSeen, owner: str) -> Held:
        held = seen.holders.get(owner)
        about = one.outcome.about
        if held is None or about is None or about.token != held.token:
            raise self._fail(f"{one.index} does {one.outcome.op} of {name} for {owner}, who holds {held}")
        return held

    def _refused(self, one: Told, name: str, seen: LockSeen, owner: str) -> None:
        operation, code = one.operation, one.outcome.code
        if code == "lock-held" and seen.has_room:
            raise self._fail(f"{one.index} refuses {name} to {owner}, and only {[*seen.holders]} hold it")
        if code == "stale-token" and isinstance(operation, LockRenew | LockRelease):
            if self.token_of(name, owner) == operation.token:
                raise self._fail(f"{one.index} calls the token {operation.token} of {owner} for {name} stale")
            self._sometimes.saw("stale token refused")
