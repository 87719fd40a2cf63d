"""The holders of each lock at each index, replayed from the log's events, and what the log itself must not show.

Between a grant and its end, a mutex is granted to nobody else, and a semaphore to no more than `permits`. Tokens rise.
An operation that names a token names the one in force. An entry under the guard of a lock is applied only if that
token held just before it.
"""

from msgspec import Struct

from jepsen_like.checkers.complaints import Complaints
from jepsen_like.checkers.order import by_entry
from jepsen_like.checkers.payloads import Guard, guards, integer, text
from jepsen_like.history.logged import Event, Log


class Held(Struct):
    """One lock. `holders`: owner -> token. `newest`: the greatest token ever given."""

    permits: int = 1
    holders: dict[str, int] = {}
    newest: int = 0


class Holds:
    """`grants`: (lock, owner, token) of every grant. `guarded`: entries that were done under a lock's guard."""

    def __init__(self, complaints: Complaints) -> None:
        self.locks: dict[str, Held] = {}
        self.grants: set[tuple[str, str, int]] = set()
        self.guarded = 0
        self._complaints = complaints

    def replay(self, log: Log) -> None:
        for entry in by_entry(log):
            self._guards(entry)
            for event in entry:
                if event.lock is not None and event.outcome == "applied":
                    self._one(event, event.lock, event.owner or text(event, "owner") or "")

    def _guards(self, entry: tuple[Event, ...]) -> None:
        first = entry[0]
        named = [guard for guard in guards(first) if guard.lock is not None]
        done = first.succeeded if first.op == "TXN" else any(event.outcome == "applied" for event in entry)
        if not named or not done:
            return
        self.guarded += 1
        for guard in named:
            if not self._holds(guard):
                held = self.locks.get(guard.lock or "", Held()).holders
                self._complaints.add(
                    "stale-guard",
                    f"the {first.op} at index {first.index} was done with token {guard.token} of {guard.lock}, which "
                    f"was held by {_people(held)}",
                )

    def _holds(self, guard: Guard) -> bool:
        held = self.locks.get(guard.lock or "", Held()).holders
        if guard.owner is not None:
            return guard.token is not None and held.get(guard.owner) == guard.token
        return guard.token in held.values()

    def _one(self, event: Event, name: str, owner: str) -> None:
        match event.op:
            case "LOCK_ACQUIRE" | "LOCK_GRANT":
                self._begins(event, name, owner)
            case "LOCK_RENEW":
                self._named(event, name, owner)
            case "LOCK_RELEASE" | "LOCK_FORCE_RELEASE" | "LOCK_EXPIRE" if event.token is not None:
                self._named(event, name, owner)
                self.locks.setdefault(name, Held()).holders.pop(owner, None)

    def _begins(self, event: Event, name: str, owner: str) -> None:
        lock, token = self.locks.setdefault(name, Held()), event.token
        if event.op == "LOCK_ACQUIRE" and not lock.holders:
            lock.permits = integer(event, "permits") or 1
        if len(lock.holders) >= lock.permits or owner in lock.holders:
            self._complaints.add(
                "two-holders",
                f"index {event.index} grants {name} ({lock.permits} permits) to {owner}, and it is held by "
                f"{_people(lock.holders)}",
            )
        rises = token is not None and (token > lock.newest or (token == lock.newest and lock.permits > 1))
        if token != event.index or not rises:
            self._complaints.add(
                "token-does-not-rise",
                f"index {event.index} grants {name} to {owner} with token {token}, after {lock.newest}",
            )
        if token is not None:
            lock.newest = max(lock.newest, token)
            lock.holders[owner] = token
            self.grants.add((name, owner, token))

    def _named(self, event: Event, name: str, owner: str) -> None:
        held = self.locks.get(name, Held()).holders
        if held.get(owner) != event.token:
            self._complaints.add(
                "stale-token-taken",
                f"{event.op} of {name} by {owner} with token {event.token} was done at index {event.index}; it was "
                f"held by {_people(held)}",
            )


def _people(holders: dict[str, int]) -> str:
    return ", ".join(f"{owner} with token {token}" for owner, token in holders.items()) or "nobody"
