"""Asks each replica now and then for its state: for the view during the run, and for counts that only a replica knows.

Rule: counters are kept for each process, so that a kill loses only what was counted after the last question. It records
no operation.
"""

import threading
from typing import Final, NamedTuple

from jepsen_like.cluster.client import Answer, Client, Lost
from jepsen_like.cluster.served import Served
from jepsen_like.runs.world import World

EVERY_S: Final = 0.7
PATIENCE_S: Final = 0.8  # for one that is paused, say


class State(NamedTuple):
    """`role`: leader, follower, learner, or what keeps it from saying so: down, silent."""

    role: str
    applied: int | None = None
    term: int | None = None


class Polling:
    """`states`: by replica, what it said last."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="polling", daemon=True)
        self._counters: dict[tuple[str, int], dict[str, float]] = {}  # by replica and process
        self.states: dict[str, State] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.ask()

    def ask(self) -> None:
        """Everybody, once."""
        replicas = list(self._world.group.replicas)
        self.states = {replica.id: self._ask(replica) for replica in replicas}

    def _ask(self, replica: Served) -> State:
        if not replica.runs:
            return State("down")
        pid = replica.pid
        client = Client(replica.url, timeout_s=PATIENCE_S)
        try:
            cluster, metrics = client.ask("GET", "/v1/cluster"), client.ask("GET", "/metrics")
        except Lost:
            return State("silent")
        finally:
            client.close()
        if metrics.status == 200:
            self._count(replica.id, pid, metrics)
        return _state(replica.id, cluster)

    def _count(self, name: str, pid: int, metrics: Answer) -> None:
        seen = self._counters.setdefault((name, pid), {})
        for counter, value in numbers(metrics.raw.decode("utf-8", "replace")).items():
            seen[counter] = max(value, seen.get(counter, value))

    def highest(self, name: str) -> float:
        """That any process ever showed."""
        return max((seen.get(name, 0.0) for seen in list(self._counters.values())), default=0.0)

    def total(self, name: str) -> float:
        """Of a counter, over all processes."""
        return sum(seen.get(name, 0.0) for seen in list(self._counters.values()))

    def replicas_above(self, name: str, floor: float) -> int:
        """The number of replicas that ever showed more than that."""
        return len({replica for (replica, _), seen in list(self._counters.items()) if seen.get(name, 0.0) > floor})


def _state(name: str, cluster: Answer) -> State:
    if cluster.status != 200:
        return State("silent")
    own = next((row for row in cluster.rows("members") if row["id"] == name), None)
    if own is None:
        return State("no member")
    applied = own["applied_index"]
    return State(str(own["role"]), applied if isinstance(applied, int) else None, cluster.integer("term"))


def numbers(text: str) -> dict[str, float]:
    """The numbers of /metrics by name, without those that have labels."""
    lines = (line.split(" ") for line in text.splitlines() if line and line[0] != "#" and "{" not in line)
    return {words[0]: float(words[1]) for words in lines if len(words) == 2}
