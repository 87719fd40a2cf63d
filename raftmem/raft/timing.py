"""What consensus is given beside the seams: its timing, and a network."""

from typing import NamedTuple, Protocol


class Timing(NamedTuple):
    """Seconds. The same on every replica (the handshake refuses a difference). `drift`: a share, per clock."""

    election_timeout: float = 1.0
    heartbeat: float = 0.1
    drift: float = 0.0005

    @property
    def lease(self) -> float:
        """How long a confirmed round keeps others from being elected: both clocks may be off by `drift`."""
        return self.election_timeout * (1.0 - 2.0 * self.drift)


class Network(Protocol):
    """Carries bytes to a peer, in order while a connection lasts, or loses them."""

    def send(self, peer: str, data: bytes) -> None: ...
