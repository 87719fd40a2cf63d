"""The session of one client: the highest index of the log that it has seen, which its reads must not fall behind.

The rule: an index counts only within its cluster and incarnation. After a restore the indexes begin anew; the session
then forgets what it had seen, says so once, and an answer of an older incarnation is no answer.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from raftmem.client.plan import Level, Pairs, Reading, ms

_log = logging.getLogger("raftmem.client")
INDEX = "raftmem-index"
CLUSTER = "raftmem-cluster"


@dataclass(frozen=True)
class Seen:
    """`cluster`: `<cluster id>/<incarnation>`; None: nothing was seen yet."""

    cluster: str | None = None
    index: int = 0


class Session:
    """Any thread. `on_restored(was, now)`: called when the cluster is another one."""

    def __init__(
        self, level: Level | None, seen: Seen | None = None, on_restored: Callable[[str, str], None] | None = None
    ) -> None:
        self._level: Level | None = level
        self._on_restored = on_restored
        self._guard = threading.Lock()
        self.seen = seen or Seen()

    def again(self) -> "Session":
        """A copy for another process."""
        return Session(self._level, self.seen, self._on_restored)

    def params(self, reading: Reading) -> Pairs:
        """The parameters with which a read sees everything that this client has seen."""
        if reading.pinned:
            return ()
        if reading.at is not None:
            return (("at", str(reading.at)),)
        index = self.seen.index
        level = self._level if reading.level is None else reading.level
        found: list[tuple[str, str]] = [] if level is None else [("consistency", level)]
        if level == "session" or (index and level != "eventual"):
            found.append(("min_index", str(index)))
        if reading.max_staleness is not None:
            found.append(("max_staleness_ms", str(ms(reading.max_staleness, "max_staleness"))))
        return tuple(found)

    def reached(self, index: int) -> None:
        """Take in an index that did not come with a reply, such as that of a watch."""
        with self._guard:
            self.seen = Seen(self.seen.cluster, max(self.seen.index, index))

    def saw(self, headers: Mapping[str, str]) -> bool:
        """Take in the headers of a reply. False: the reply is of an incarnation that is over."""
        cluster, index = headers.get(CLUSTER), index_of(headers) or 0
        with self._guard:
            was = self.seen
            if cluster is None or cluster == was.cluster:
                self.seen = Seen(was.cluster, max(was.index, index))
                return True
            if was.cluster is not None and _is_over(cluster, was.cluster):
                return False
            self.seen = Seen(cluster, index)
        if was.cluster is not None:
            _log.warning("the cluster was %s and is %s: what this client had seen is forgotten", was.cluster, cluster)
            if self._on_restored is not None:
                self._on_restored(was.cluster, cluster)
        return True


def index_of(headers: Mapping[str, str]) -> int | None:
    """The index of a reply; None where there is none, or something that no replica says."""
    given = headers.get(INDEX, "")
    return int(given) if given.isascii() and given.isdigit() else None


def _is_over(cluster: str, known: str) -> bool:
    """True: an older incarnation of the same cluster."""
    name, _, incarnation = cluster.rpartition("/")
    known_name, _, known_incarnation = known.rpartition("/")
    numbers = incarnation.isdigit() and known_incarnation.isdigit()
    return numbers and name == known_name and int(incarnation) < int(known_incarnation)
