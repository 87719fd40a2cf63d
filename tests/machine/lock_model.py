"""The rules of locks again, in plain dictionaries and with no code of the machine: what `apply` is held to.

A lock is there while somebody holds it. An entry works on a deep copy, which replaces the state when it is done.
"""

import copy
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from raftmem.model.commands import (
    LockAcquire,
    LockExpire,
    LockForceRelease,
    LockLeave,
    LockRelease,
    LockRenew,
    OwnerRelease,
)

Told = tuple[str, str | None, str | None, Any, Any, Any, int | None]  # lock, owner and token: where there is one
Locks = dict[str, dict[str, Any]]  # rows of any shape: this file is typed by its tests


class Refused(Exception):
    """By its code."""


class LockModel:
    def __init__(self) -> None:
        self.locks: Locks = {}
        self.consequences: list[Told] = []

    def run(self, index: int, now: int, term: int, operations: list[Any], atomic: bool) -> list[Told]:
        """(op, code, requested op, lock, owner, token, current token) of each operation, then of what followed."""
        before, self.consequences, told = copy.deepcopy(self.locks), [], list[Told]()
        for seq, op in enumerate(operations):
            try:
                told.append(self.do(op, (index, seq), now, term))
            except Refused as refused:
                if atomic:
                    self.locks = before
                    batch = Refused("batch-refused")
                    return [self.no(one, refused if at == seq else batch) for at, one in enumerate(operations)]
                told.append(self.no(op, refused))
        return told + self.consequences

    def no(self, op: Any, refused: Refused) -> Told:
        """As the state stands that stays."""
        names = [getattr(op, name, None) for name in ("lock", "owner", "token")]
        lock, current = self.locks.get(op.lock) if hasattr(op, "lock") else None, None
        if str(refused) == "stale-token" and lock:
            holders = lock["holders"]
            other = next(iter(holders.values())) if holders and lock["permits"] == 1 else None
            current = (holders.get(op.owner) or other or {}).get("token")
        return op.__struct_config__.tag, str(refused), None, names[0], names[1], names[2], current

    def do(self, op: Any, place: tuple[int, int], now: int, term: int) -> Told:
        if isinstance(op, OwnerRelease):
            return self.owner_release(op, place, now)
        name, lock = op.lock, self.locks.get(op.lock)
        holders, queue = (lock["holders"], lock["queue"]) if lock else ({}, [])
        if isinstance(op, LockForceRelease):
            if not lock:
                return "NOOP", None, "LOCK_FORCE_RELEASE", name, None, None, None
            ended = sorted(by_hash(holders), key=lambda owner: int(holders[owner]["token"]))
            tokens = [holders[owner]["token"] for owner in ended]
            first, *others = list[Told](
                ("LOCK_FORCE_RELEASE", None, None, name, owner, token, None)
                for owner, token in zip(ended, tokens, strict=True)
            )
            self.end(name, ended, place, now, others)
            return first
        owner = op.owner
        hold, waiter = holders.get(owner), next((one for one in queue if one["owner"] == owner), None)
        if isinstance(op, LockAcquire):
            return self.acquire(op, place, now)
        if isinstance(op, LockRenew | LockRelease):
            if not hold or hold["token"] != op.token:
                raise Refused("stale-token")
            if isinstance(op, LockRelease):
                self.end(name, [owner], place, now)
                return "LOCK_RELEASE", None, None, name, owner, op.token, None
            ttl = op.ttl_ms or hold["ttl"]
            hold.update(ttl=ttl, expires=now + ttl * 1000, renewals=hold["renewals"] + 1)
            return "LOCK_RENEW", None, None, name, owner, op.token, None
        if isinstance(op, LockLeave):
            if waiter and waiter["asked"][0] == op.asked:
                queue.remove(waiter)
                return "LOCK_LEAVE", None, None, name, owner, None, None
            if not hold or hold["asked"][0] != op.asked or (op.gone and hold["renewals"]):
                raise Refused("moved")
            if op.gone:
                self.end(name, [owner], place, now)
            return "LOCK_RELEASE" if op.gone else "NOOP", None, "LOCK_LEAVE", name, owner, hold["token"], None
        assert isinstance(op, LockExpire)
        row = waiter if op.token is None else hold
        if not row or op.term != term or row["renewals"] != op.renewals or row["expires"] > now:
            raise Refused("moved")
        if op.token is None:
            queue.remove(row)
        elif row["token"] != op.token:
            raise Refused("moved")
        else:
            self.end(name, [owner], place, now)
        return "LOCK_EXPIRE", None, None, name, owner, op.token, None

    def acquire(self, op: LockAcquire, place: tuple[int, int], now: int) -> Told:
        lock = self.locks.get(op.lock) or {"permits": op.permits, "holders": {}, "queue": []}
        if lock["permits"] != op.permits:
            raise Refused("permits-mismatch")
        asked = {"asked": place, "ttl": op.ttl_ms}
        lease = {**asked, "expires": now + op.ttl_ms * 1000}
        hold = lock["holders"].get(op.owner)
        if hold:
            hold.update(lease, renewals=hold["renewals"] + 1)
            return "LOCK_RENEW", None, "LOCK_ACQUIRE", op.lock, op.owner, hold["token"], None
        if len(lock["holders"]) < op.permits:
            self.locks[op.lock] = lock
            lock["holders"][op.owner] = {**lease, "token": place[0], "renewals": 0}
            return "LOCK_ACQUIRE", None, None, op.lock, op.owner, place[0], None
        if not op.wait_ms:
            raise Refused("lock-held")
        wait = {**asked, "expires": now + (op.wait_ms + op.leave_ms) * 1000}
        waiter = next((one for one in lock["queue"] if one["owner"] == op.owner), None)
        if waiter:
            waiter.update(wait, renewals=waiter["renewals"] + 1)
        else:
            lock["queue"].append({**wait, "owner": op.owner, "renewals": 0})
        return "LOCK_WAIT", None, None, op.lock, op.owner, None, None

    def owner_release(self, op: OwnerRelease, place: tuple[int, int], now: int) -> Told:
        held = [name for name in by_hash(self.locks) if op.owner in self.locks[name]["holders"]]
        if any(self.locks[name]["holders"][op.owner]["token"] == place[0] for name in held):
            raise Refused("wrong-state")
        for name in held:
            token = self.locks[name]["holders"][op.owner]["token"]
            self.end(name, [op.owner], place, now, [("LOCK_FORCE_RELEASE", None, None, name, op.owner, token, None)])
        for name in by_hash(self.locks):
            stay = [one for one in self.locks[name]["queue"] if one["owner"] != op.owner]
            if len(stay) < len(self.locks[name]["queue"]):
                self.locks[name]["queue"] = stay
                self.consequences.append(("LOCK_LEAVE", None, None, name, op.owner, None, None))
        return "OWNER_RELEASE", None, None, None, op.owner, None, None

    def end(
        self, name: str, owners: list[str], place: tuple[int, int], now: int, events: list[Told] | None = None
    ) -> None:
        lock = self.locks[name]
        if any(lock["holders"][owner]["token"] == place[0] for owner in owners):
            raise Refused("wrong-state")
        for owner in owners:
            del lock["holders"][owner]
        self.consequences += events or []
        while lock["queue"] and len(lock["holders"]) < lock["permits"]:
            waiter = lock["queue"].pop(0)
            owner = waiter["owner"]
            if waiter["expires"] <= now:
                self.consequences.append(("LOCK_EXPIRE", None, None, name, owner, None, None))
                continue
            lease = {"expires": now + waiter["ttl"] * 1000, "token": place[0], "renewals": 0}
            lock["holders"][owner] = {"asked": waiter["asked"], "ttl": waiter["ttl"], **lease}
            self.consequences.append(("LOCK_GRANT", None, None, name, owner, place[0], None))
        if not lock["holders"]:
            del self.locks[name]


def by_hash(names: Iterable[str]) -> list[str]:
    """The order in which rows of equal place are found."""
    return sorted(names, key=lambda name: blake2b(name.encode(), digest_size=16).digest())
