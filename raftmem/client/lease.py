"""A lease: one hold or one claim, for as long as its holder can know that it is in force.

The rule: the holder counts from the moment it *sent* the request that renewed it, on a clock that counts suspended
time, and stops a margin before its TTL is over: `until = sent + ttl * (1 - drift) - margin`. The service counts from
when the entry was applied, which is later, so the holder always knows first. A lost lease stays lost, whatever a later
answer says.
"""

import os
import threading
from collections.abc import Callable
from typing import Final

from raftmem.client.effects import Clock
from raftmem.client.errors import LeaseLost

DRIFT: Final = 0.001  # by which the clocks of a holder and of the service may run apart
MARGIN_S_MIN: Final = 0.1  # what a thread may need to hear of it
MARGIN_SHARE: Final = 0.05
MARGIN_SHARE_MAX: Final = 0.25  # of a very short TTL
RENEW_SHARE: Final = 1 / 3
RETRY_SHARE: Final = 1 / 10


def span(ttl: float) -> float:
    """The seconds for which a lease of `ttl` seconds is reliable, counted from the send of its request."""
    margin = min(max(MARGIN_SHARE * ttl, MARGIN_S_MIN), MARGIN_SHARE_MAX * ttl)
    return ttl * (1 - DRIFT) - margin


class Lease:
    """Any thread. `sent`: when the request that gave or renewed it left. `on_lost`: called once, when the loss is seen.

    `reason`: why it is over; None: it is not. `refused`: the service said so. `ended`: its holder did. `leaving`: it is
    being given back, and what a renewal comes to that crosses the release says nothing.
    `settled`: nothing that was sent for it can end a later hold of its owner.
    """

    def __init__(
        self, clock: Clock, *, name: str, owner: str, token: int, ttl: float, sent: float, on_lost: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._process = os.getpid()
        self._on_lost = on_lost
        self.name = name
        self.owner = owner
        self.token = token
        self.ttl = ttl
        self.until = sent + span(ttl)
        self.renew_at = sent + ttl * RENEW_SHARE
        self.reason: str | None = None
        self.refused = False
        self.leaving = False
        self.ended = False
        self.settled = False

    def renewed(self, sent: float) -> None:
        """The service has renewed it, at some time after `sent`."""
        with self._guard:
            if self.reason is None:
                self.until = max(self.until, sent + span(self.ttl))
                self.renew_at = sent + self.ttl * RENEW_SHARE

    def retry(self) -> None:
        """The outcome of the renewal is unknown: try again soon."""
        self.renew_at = self._clock.now() + min(self.ttl * RETRY_SHARE, 1.0)

    def lose(self, reason: str, *, refused: bool = False) -> None:
        """`refused`: the service itself says so."""
        with self._guard:
            self.refused = self.refused or refused
            if self.reason is not None:
                return
            self.reason = reason
        self._on_lost()

    def end(self) -> None:
        """The holder gives it back: nothing relies on it any more, and its expiry is not reported."""
        with self._guard:
            self.ended = self.reason is None
            self.reason = self.reason or "it was released"

    def is_lost(self) -> bool:
        """True once it is lost by the clock, also right after a pause of the process."""
        if self.reason is None:
            if os.getpid() != self._process:
                self.lose("this process is a fork of the one that holds it", refused=True)
            elif self._clock.now() >= self.until:
                self.lose("it was not renewed in time")
        return self.reason is not None

    def check(self) -> None:
        """Raises: LeaseLost."""
        if self.is_lost():
            raise LeaseLost(self.name, self.token, self.reason or "")

    @property
    def remaining(self) -> float:
        """Seconds for which it can be relied on without another renewal."""
        return 0.0 if self.is_lost() else max(0.0, self.until - self._clock.now())
