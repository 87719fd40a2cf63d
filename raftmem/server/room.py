"""The room that the clients of one server share: connections, bytes of request bodies, unread bytes of replies.

The rules: each is bounded in all, and one client address has at most half of it while others ask; who takes a share
too large is refused or hung up on, never who comes after. An address is an IPv4 address, or the first 64 bits of an
IPv6 address, since one host often has all the others.
"""

import heapq
import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Protocol

from raftmem.errors import Overloaded, RaftmemError, TooManyRequests
from raftmem.limits import BODY_BYTES_HELD_MAX, CONNECTIONS_MAX, UNREAD_BYTES_MAX

_EVICTED_SHARE: Final = 64  # of the connections, one in so many is closed at once: each look costs as much as all


class Occupant(Protocol):
    """A connection, as the room sees it."""

    @property
    def client(self) -> str:
        """Its client's address."""
        ...

    @property
    def idle_since(self) -> float | None:
        """Loop time; None: a request has begun to arrive or is being served."""
        ...

    @property
    def arriving_since(self) -> float | None:
        """Loop time; None: no request is arriving, or one is being served."""
        ...

    @property
    def unread_since(self) -> float:
        """Loop time at which the client last took something of what waits for it."""
        ...

    def abort(self) -> None:
        """Close now, without sending what waits."""
        ...


def address_of(peer: object) -> str:
    """The client address of a socket's peer name."""
    if not isinstance(peer, tuple) or not peer or not isinstance(peer[0], str):
        return ""
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0])
    except ValueError:
        return peer[0]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False).network_address)
        address = address.ipv4_mapped
    return str(address)


class Shares:
    """A number of units, in all and by client address."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self.by_address: defaultdict[str, int] = defaultdict(int)

    def add(self, client: str, count: int) -> None:
        self.total += count
        share = self.by_address[client] + count
        if share:
            self.by_address[client] = share
        else:
            del self.by_address[client]

    def has_half(self, client: str) -> bool:
        return 2 * self.by_address.get(client, 0) >= self.limit

    def largest(self) -> str:
        """The address that has most. Not to be called while nobody has any."""
        return max(self.by_address, key=self.by_address.__getitem__)


class Bodies:
    """Bytes of request bodies that are arriving, wait for their turn or are being served."""

    def __init__(self, limit: int = BODY_BYTES_HELD_MAX) -> None:
        self._shares = Shares(limit)

    @property
    def held(self) -> int:
        return self._shares.total

    def take(self, client: str, count: int) -> RaftmemError | None:
        """Why there is no room for so many bytes more; None: they are counted."""
        shares = self._shares
        own = shares.by_address.get(client, 0)
        if 2 * (own + count) > shares.limit:
            return TooManyRequests(
                f"requests from this address hold {own} bytes of bodies, at most {shares.limit // 2} may be under way; "
                "send the rest when those are answered"
            )
        if shares.total + count > shares.limit:
            return Overloaded(f"bodies of {shares.total} bytes are under way here, the most there may be; try again")
        shares.add(client, count)
        return None

    def give_back(self, client: str, count: int) -> None:
        self._shares.add(client, -count)


class Unread:
    """Replies that clients are slow to read: bytes by connection, only of those that are slow."""

    def __init__(self, limit: int = UNREAD_BYTES_MAX) -> None:
        self._shares = Shares(limit)
        self._slow: dict[str, dict[Occupant, int]] = {}
        self.held = 0

    def note(self, connection: Occupant, count: int) -> None:
        """`count` bytes wait for the reader of `connection` now. Past the limit the slowest readers are hung up on."""
        client = connection.client
        slow = self._slow.setdefault(client, {})
        self._shares.add(client, count - slow.get(connection, 0))
        slow[connection] = count
        while self._shares.total > self._shares.limit:
            self._hang_up_on_one()
        self.held = self._shares.total

    def forget(self, connection: Occupant) -> None:
        """Its reader is slow no more, or gone."""
        client = connection.client
        slow = self._slow.get(client)
        count = None if slow is None else slow.pop(connection, None)
        if slow is None or count is None:
            return
        if not slow:
            del self._slow[client]
        self._shares.add(client, -count)
        self.held = self._shares.total

    def refusal(self, client: str) -> RaftmemError | None:
        """Why an address may ask for nothing more until it has read."""
        if not self._shares.has_half(client):
            return None
        unread = self._shares.by_address[client]
        return TooManyRequests(
            f"clients at this address have not read {unread} bytes of earlier replies; read them first"
        )

    def _hang_up_on_one(self) -> None:
        slow = self._slow[self._shares.largest()]
        slowest = min(slow, key=lambda connection: connection.unread_since)
        self.forget(slowest)
        slowest.abort()


class Room:
    """`connections`: those of one server. `connections_max`: more are never accepted."""

    def __init__(self, connections_max: int = CONNECTIONS_MAX) -> None:
        self.bodies = Bodies()
        self.unread = Unread()
        self._shares = Shares(connections_max)
        self._connections: set[Occupant] = set()

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def connections_max(self) -> int:
        return self._shares.limit

    def enter(self, connection: Occupant) -> None:
        self._connections.add(connection)
        self._shares.add(connection.client, 1)

    def leave(self, connection: Occupant) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._shares.add(connection.client, -1)
            self.unread.forget(connection)

    def has_place_for(self, client: str) -> bool:
        """True if one more connection of an address may be accepted. Makes room for it where that is fair."""
        return len(self._connections) < self._shares.limit or self.make_room(client)

    def make_room(self, client: str) -> bool:
        """Close connections: idle ones first, then of an address that has half of them or more.

        `client`: who asks. An address with half of them takes no more from others. Returns whether one was closed.
        """
        if not self._connections:
            return False
        hog = self._shares.largest()
        of_hog = self._shares.has_half(hog)
        idle = [one for one in self._connections if one.idle_since is not None]
        if of_hog:
            idle = [one for one in idle if one.client == hog] or ([] if self._shares.has_half(client) else idle)
        if idle:
            count = max(1, len(self._connections) // _EVICTED_SHARE)
            self._close(heapq.nsmallest(count, idle, key=lambda one: one.idle_since or 0.0))
            return True
        if not of_hog or self._shares.has_half(client):
            return False
        hogs = [one for one in self._connections if one.client == hog]
        self._close([min(hogs, key=lambda one: (one.arriving_since is None, one.arriving_since or 0.0))])
        return True

    def _close(self, connections: Iterable[Occupant]) -> None:
        for connection in connections:
            self.leave(connection)
            connection.abort()
