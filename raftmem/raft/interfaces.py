"""Interfaces that consensus alone needs: its timing, a network, and the snapshots of its state."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from raftmem.storage.snapshots.contract import SnapshotMeta


class Timing(NamedTuple):
    """Seconds. The same on every replica (the handshake refuses a difference). `drift`: a share, per clock."""

    election_timeout: float = 1.0
    heartbeat: float = 0.1
    drift: float = 0.0005

    @property
    def lease(self) -> float:
        """Seconds for which a confirmed round keeps others from being elected; both clocks may be off by `drift`."""
        return self.election_timeout * (1.0 - 2.0 * self.drift)


class Network(Protocol):
    """Carries bytes to a peer, in order while a connection lasts, or loses them."""

    def send(self, peer: str, data: bytes) -> None: ...


class Snapshots(Protocol):
    """Copies of the state. What blocks runs elsewhere; `done` runs on the loop, never inside the call."""

    def newest(self) -> SnapshotMeta | None:
        """The newest that is whole, on disk, and of this log: one that was received counts once it is installed."""
        ...

    def doubt(self, meta: SnapshotMeta) -> None:
        """A follower has begun it anew, as if it had not been sound: look at it, and drop it if it is damaged."""
        ...

    def read(self, meta: SnapshotMeta, offset: int, size: int, done: Callable[[bytes | None], None]) -> None:
        """Read a piece; `done` gets None when the snapshot is there no more."""
        ...

    def begin(self, meta: SnapshotMeta, done: Callable[[int], None]) -> None:
        """Begin to receive this one; `done` gets how many bytes of it are here already."""
        ...

    def write(self, meta: SnapshotMeta, offset: int, data: bytes, done: Callable[[int], None]) -> None:
        """Write a piece; `done` gets how many bytes are here after it."""
        ...

    def prepare(self, meta: SnapshotMeta, done: Callable[[bool], None]) -> None:
        """All bytes came: check and list it, make a state of it beside the one in force. False: it was not sound,
        or there was no room."""
        ...

    def install(self, meta: SnapshotMeta) -> None:
        """The prepared state becomes the one in force: applied is its index when this returns."""
        ...

    def discard(self) -> None:
        """The prepared state is not needed."""
        ...
