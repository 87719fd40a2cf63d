"""Keeps leases alive in the background. Leases of one owner and TTL share one heartbeat.

The rules: a failed renewal has an unknown outcome and is tried again until the lease's own deadline. A refused renewal
means that the lease is lost at once. A watch that does no I/O, and so cannot hang, reports the loss at the deadline.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from raftmem.client.effects import Clock, Driver, Flag, Program, Rest
from raftmem.client.lease import Lease

_IDLE_ROUNDS: Final = 2  # in which a heartbeat has nothing to do before it ends
_WATCH_IDLE_S: Final = 10.0
Renew = Callable[[Sequence[Lease]], Program[None]]


class _Group:
    """The leases of one heartbeat. `wakes_at`: when its loop next wakes by itself."""

    def __init__(self, flag: Flag) -> None:
        self.leases: list[Lease] = []
        self.flag = flag
        self.runs = False
        self.wakes_at = 0.0


class Keeper:
    """Any thread. `renew`: renews some leases and tells each its outcome."""

    def __init__(self, clock: Clock, driver: Driver, renew: Renew) -> None:
        self._clock = clock
        self._driver = driver
        self._renew = renew
        self._guard = threading.Lock()
        self._groups: dict[tuple[str, float], _Group] = {}
        self._watched = _Group(driver.flag())
        self._closed = False

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on, until it is dropped or lost."""
        with self._guard:
            group = self._groups.get((lease.owner, lease.ttl))
            if group is None:
                group = self._groups[lease.owner, lease.ttl] = _Group(self._driver.flag())
            begun = [self._add(lease, group, lease.renew_at), self._add(lease, self._watched, lease.until)]
        if begun[0]:
            self._driver.spawn(self._beating(group, lease.ttl, (lease.owner, lease.ttl)))
        if begun[1]:
            self._driver.spawn(self._watching())

    @staticmethod
    def _add(lease: Lease, group: _Group, due: float) -> bool:
        """True: the loop of the group must be started."""
        group.leases.append(lease)
        if group.runs:
            if due < group.wakes_at:
                group.flag.set()
            return False
        group.runs = True
        return True

    def drop(self, lease: Lease) -> None:
        """Stop to renew a lease that is over or given back. A second call does nothing."""
        with self._guard:
            for group in (self._groups.get((lease.owner, lease.ttl)), self._watched):
                if group is not None and lease in group.leases:
                    group.leases.remove(lease)

    def close(self) -> None:
        """End both loops. The leases expire."""
        with self._guard:
            self._closed = True
            for group in (*self._groups.values(), self._watched):
                group.flag.set()

    # --- the two loops ------------------------------------------------------------------------------
    def _beating(self, group: _Group, ttl: float, name: tuple[str, float]) -> Program[None]:
        idle = 0
        while True:
            with self._guard:
                now = self._clock.now()
                group.leases = [lease for lease in group.leases if lease.reason is None]
                idle = 0 if group.leases else idle + 1
                if idle > _IDLE_ROUNDS or self._closed:
                    self._groups.pop(name, None)
                    return
                due = min((lease.renew_at for lease in group.leases), default=now + ttl / 3)
                group.wakes_at = due
                leases = list(group.leases)
            if due > now:
                yield Rest(group.flag, due - now)
            else:
                yield from self._renew(leases)

    def _watching(self) -> Program[None]:
        group, idle = self._watched, 0
        while True:
            leases = list(group.leases)
            lost = [lease for lease in leases if lease.is_lost()]
            with self._guard:
                now = self._clock.now()
                group.leases = [lease for lease in group.leases if lease not in lost]
                idle = 0 if group.leases else idle + 1
                if idle > _IDLE_ROUNDS or self._closed:
                    group.runs = False
                    return
                due = min((lease.until for lease in group.leases), default=now + _WATCH_IDLE_S)
                group.wakes_at = due
            if due > now:
                yield Rest(group.flag, due - now)
