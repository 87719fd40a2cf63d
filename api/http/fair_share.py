"""Limits that clients share: one client address has at most half of each, so that others always find room.

The limit in all is of the service (`wait_registry`, `watch_hub`, the search pool); this module only keeps one address
from taking it alone. Where the server does not know the address, nothing is counted.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from raftmem.errors import TooManyRequests
from raftmem.limits import SEARCHES_IN_FLIGHT_MAX, WAITING_MAX, WATCHERS_MAX


class FairShare:
    """`limit`: in all. `unit`: of what, in the plural."""

    def __init__(self, limit: int, unit: str) -> None:
        self._most = limit // 2
        self._unit = unit
        self._held: dict[str, int] = {}

    def check(self, client: str) -> None:
        """Raises: TooManyRequests for an address that has half."""
        if client and self._held.get(client, 0) >= self._most:
            raise TooManyRequests(
                f"{self._most} {self._unit} of this address are open here, the most one address may have; end some, or "
                "ask another replica"
            )

    def hold(self, client: str) -> AbstractContextManager[None]:
        """Count one more while the block runs. Raises: TooManyRequests, at once."""
        self.check(client)
        return self.count(client)

    @contextmanager
    def count(self, client: str) -> Iterator[None]:
        """As `hold`, for what was checked before."""
        held = self._held
        held[client] = held.get(client, 0) + 1
        try:
            yield
        finally:
            left = held[client] - 1
            if left:
                held[client] = left
            else:
                del held[client]


class FairShares(NamedTuple):
    waits: FairShare
    watches: FairShare
    searches: FairShare


def fair_shares() -> FairShares:
    return FairShares(
        FairShare(WAITING_MAX, "requests that wait"),
        FairShare(WATCHERS_MAX, "streams"),
        FairShare(SEARCHES_IN_FLIGHT_MAX, "searches"),
    )
