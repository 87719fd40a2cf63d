"""The world of workloads and nemeses: the group under test, its network, and where to write."""

from collections.abc import Mapping
from pathlib import Path

from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.cluster.links import Links
from jepsen_like.history.recorder import Recorder

CLIENTS = "clients"  # who calls, in the name of a link from the clients to a replica


class World:
    """`folder`: of the run. `links`: the relays, if connections go through such; `fronts`: by replica, its relay for
    clients."""

    def __init__(self, folder: Path, group: LoopbackGroup, recorder: Recorder, links: Links | None = None) -> None:
        self.folder = folder
        self.group = group
        self.recorder = recorder
        self.links = links
        self.fronts: dict[str, str] = {}

    def urls(self) -> Mapping[str, str]:
        """Where clients ask, by replica; those that left are gone from it."""
        return {replica.id: self.fronts.get(replica.id, replica.url) for replica in self.group.replicas}
