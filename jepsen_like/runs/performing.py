"""Performs a run, phase by phase: clients load the group while nemeses strike, all is healed, a quiet phase follows,
and the end is examined.

Rules: clients go on until the group has recovered, so that the moment is seen. An examination that fails is a finding,
and the next one is made all the same. Trouble of the harness itself is told apart.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from msgspec import structs

from jepsen_like.checkers.evidence import Ending, Finding, Verdict
from jepsen_like.cluster.client import Lost, Trouble, together
from jepsen_like.cluster.served import Served
from jepsen_like.history.recorder import Recorder
from jepsen_like.nemeses.contract import Nemesis
from jepsen_like.runs import gathering, schedule, sometimes
from jepsen_like.runs.exits import Exits
from jepsen_like.runs.folder import RunFolder
from jepsen_like.runs.live import Seen, View
from jepsen_like.runs.load import Load, broken, told
from jepsen_like.runs.options import Options
from jepsen_like.runs.polling import Polling, State
from jepsen_like.runs.replays import replayed
from jepsen_like.runs.striking import Striking
from jepsen_like.runs.world import World
from jepsen_like.workloads.contract import Workload

TICK_S: Final = 0.1
QUIET_S: Final = (1.0, 3.0)  # after the last fault, with clients


class Performance:
    """`findings`: what was found on the way. `polled`, `outputs`: what the replicas counted and wrote.
    `idle`: nemeses that never found anything to strike."""

    def __init__(self, options: Options, folder: RunFolder, recorder: Recorder, view: View) -> None:
        self._options = options
        self._folder = folder
        self._view = view
        self._began: float | None = None
        self._interrupted = False
        self._polling: Polling | None = None
        self._striking: Striking | None = None
        self.seen = Seen(recorder)
        self.phase = ""
        self.findings: list[Finding] = []
        self.troubles: list[str] = []
        self.polled: Mapping[str, int] = {}
        self.outputs: Sequence[str] = ()
        self.idle: Sequence[str] = ()
        self.enter("starts the group")

    # --- what a view shows ----------------------------------------------------------------------------
    @property
    def elapsed(self) -> float:
        """Seconds of load."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def states(self) -> dict[str, State]:
        return {} if self._polling is None else self._polling.states

    @property
    def faults(self) -> list[str]:
        if self._striking is None:
            return []
        return [f"{fault.name} on {', '.join(fault.targets)}" for fault in self._striking.active]

    def enter(self, phase: str) -> None:
        self.phase = f"{phase} (interrupted; Ctrl-C again gives up)" if self._interrupted else phase
        self._view.show(self)

    # --- what happens ---------------------------------------------------------------------------------
    def perform(self, world: World, workload: Workload, nemeses: Mapping[str, Nemesis]) -> None:
        self.enter("prepares")
        workload.prepare(world)
        striking = self._striking = Striking(world, nemeses, seed=self._options.seed)
        polling = self._polling = Polling(world)
        exits = Exits(world)
        load = Load(world, workload, self._options)
        polling.start()
        try:
            load.start()
            self._began = time.monotonic()
            self._under_faults(nemeses, striking, exits, load)
            self._heal(world, striking, exits)
            self._pass_time(self._quiet, exits, load)
        except KeyboardInterrupt:
            self._interrupted = True
            self._find("interrupted", "unknown", f"ended by Ctrl-C, {self.elapsed:.0f} s after the load began")
            self.enter("heals")
            striking.heal()
            self._try("recovery", "unknown", world.group.start)
        finally:
            self.enter("stops the clients")
            self.troubles += load.stop()
            polling.stop()
        exits.look()
        self.findings.append(exits.finding())
        polling.ask()
        self.polled = sometimes.of_counters(polling)
        self.troubles += striking.troubles
        self.idle = striking.idle
        self._look(world, workload)
        self.outputs = [replica.said() for replica in world.group.ever]
        if self.troubles:
            self._find("harness", "unknown", "something went wrong in the harness itself", self.troubles)

    @property
    def _quiet(self) -> float:
        low, high = QUIET_S
        return min(high, max(low, self._options.seconds / 4))

    def _under_faults(self, nemeses: Mapping[str, Nemesis], striking: Striking, exits: Exits, load: Load) -> None:
        options = self._options
        lengths = {name: nemesis.seconds for name, nemesis in nemeses.items()}
        strikes = schedule.draw(lengths, seconds=options.seconds, seed=options.seed, overlap=options.overlap)
        over = threading.Event()
        self.enter("load")
        with ThreadPoolExecutor(1, thread_name_prefix="striking") as pool:
            work = pool.submit(striking.run, strikes, over)
            try:
                self._pass_time(options.seconds, exits, load)
            finally:
                over.set()
            if line := broken(work):
                self.troubles.append(line)

    def _pass_time(self, seconds: float, exits: Exits, load: Load) -> None:
        """Unless the clients stop by themselves."""
        end = time.monotonic() + seconds
        while not load.stopped.wait(max(0.0, min(TICK_S, end - time.monotonic()))):
            exits.look()
            self._view.show(self)
            if time.monotonic() >= end:
                return

    def _heal(self, world: World, striking: Striking, exits: Exits) -> None:
        self.enter("heals")
        striking.heal()
        exits.look()
        began = time.monotonic()
        if self._try("recovery", "bad", world.group.start):
            seconds = time.monotonic() - began
            self._find("recovery", "good", f"every replica was ready {seconds:.1f} s after the last fault was healed")
        self.enter("quiet")

    def _look(self, world: World, workload: Workload) -> None:
        """The final reads, the end of the replicas, and the replays of their folders."""
        self.enter("reads what is there")
        extra: dict[str, object] = {}
        self._try("final reads", "unknown", lambda: extra.update(workload.final(world)))
        endings: list[Ending] = []
        seed = self._options.seed
        self._try(
            "gathering",
            "unknown",
            lambda: endings.append(gathering.gather(world, self._folder, seed=seed, extra=extra)),
        )
        self.enter("stops the replicas")
        self._try("stops", "bad", lambda: stop_all([replica for replica in world.group.replicas if replica.runs]))
        self.enter("replays the logs")
        ending = structs.replace(endings[0] if endings else Ending(extra=extra), replays=replayed(world.group.replicas))
        self._folder.ending.write_bytes(msgspec.json.encode(ending))

    def _try(self, name: str, verdict: Verdict, work: Callable[[], object]) -> bool:
        """True if it went well. If not, that is a finding; a mistake of the harness is told as such."""
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(work).exception()
        match error:
            case None:
                return True
            case Trouble() | Lost():
                summary, *details = str(error).splitlines() or [repr(error)]
                self._find(name, verdict, summary, details)
            case _:
                self.troubles.append(f"{name}: {told(error)}")
        return False

    def _find(self, name: str, verdict: Verdict, summary: str, details: Sequence[str] = ()) -> None:
        self.findings.append(Finding(name=name, verdict=verdict, summary=summary, details=tuple(details)))


def stop_all(replicas: Sequence[Served]) -> None:
    """As an operator does, all at the same time. Raises: Trouble for one that does not end well."""
    if replicas:
        together(len(replicas), lambda k: replicas[k].stop())
