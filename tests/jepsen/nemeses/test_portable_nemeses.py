"""Every portable nemesis, once, on one real group that is written to: it strikes, it can be seen to, and it heals.

The group is the same for all: what one leaves broken fails the next.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jepsen_like.cluster.client import Answer, Client, Lost, Trouble, Writer, until
from jepsen_like.cluster.group import LoopbackGroup, claimed_ports
from jepsen_like.cluster.preload import Preload
from jepsen_like.cluster.served import Served
from jepsen_like.history.recorder import Recorder
from jepsen_like.nemeses import members
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.damage import REFUSED, SERVES
from jepsen_like.nemeses.disks import preload_of
from jepsen_like.nemeses.members import is_whole, roles
from jepsen_like.nemeses.network import relayed
from jepsen_like.nemeses.registry import NEMESES
from jepsen_like.nemeses.standing import leader, look
from jepsen_like.nemeses.upkeep import Snapshot
from jepsen_like.runs.world import World
from raftmem.cli.exits import Exit

REASON = Preload.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

QUICK = "election_timeout_ms = 400\nheartbeat_ms = 40\n"
SILENT_MS = 400  # of a replica that is heard every 40 ms
COUNTED = "/v1/memories/counted"
NOBODY = Struck((), "")
STEP = {"merge": {"value": {"op": "inc", "by": 1}}}


class Counting:
    """A client that counts in one memory, each step once whatever happens, and adds a vector at each."""

    def __init__(self, group: LoopbackGroup) -> None:
        self.steps = 0
        self.failure: AssertionError | None = None
        self._ending = threading.Event()
        self._writer = Writer(group.every_url, name="counting", timeout_ms=1000)
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._writer.write("PUT", COUNTED, {"value": 0})
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                vector = {"text": f"{self.steps}", "embedding": [1.0, self.steps], "embedding_model": "m"}
                self._writer.write("POST", "/v1/memories", vector)
                answer = self._writer.write("PATCH", COUNTED, STEP)
                assert answer is not None
                assert answer.status == 200, answer
                self.steps += 1
        except AssertionError as error:
            self.failure = error

    def goes_on(self, steps: int = 3) -> None:
        goal = self.steps + steps
        until(lambda: self.steps >= goal or self.failure, what=f"{steps} more steps")
        assert self.failure is None, self.failure

    def end(self) -> None:
        """Again is nothing."""
        self._ending.set()
        self._thread.join()
        self._writer.close()


class Stage:
    def __init__(self, world: World, counting: Counting) -> None:
        self.world = world
        self.group = world.group
        self.counting = counting
        self.prepared = {name: NEMESES[name]() for name in SEEN}

    def hit(self, struck: Struck) -> list[Served]:
        return [replica for replica in self.group.ever if replica.id in struck.targets]

    def counted(self, struck: Struck, what: str) -> bool:
        """Whether the disk of any that was hit has done this."""
        preload = preload_of(self.world)
        assert preload is not None
        return any(getattr(preload.counts(one.id), what) for one in self.hit(struck))

    def wait_whole(self) -> None:
        self.group.wait_ready()
        until(lambda: is_whole(self.group), what="every replica votes, and nobody else")

    def check_agreement(self) -> None:
        index = self.group.highest()
        replicas = self.group.replicas
        until(lambda: all(committed(one) >= index for one in replicas), what=f"all know that {index} is committed")
        assert len(self.group.digests(index)) == 1


def committed(replica: Served) -> int:
    seen = look(replica, "/v1/cluster")
    return 0 if seen is None else seen.integer("commit_index")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("nemeses")
    with ExitStack() as stack:
        base = stack.enter_context(claimed_ports())
        (folder / "data").mkdir()
        group = LoopbackGroup(folder / "data", base=base, extra=QUICK + Snapshot.settings)
        stack.callback(group.clean_up)
        recorder = Recorder(folder / "history.jsonl")
        stack.callback(recorder.close)
        made = Stage(World(folder, group, recorder), Counting(group))
        for nemesis in made.prepared.values():
            nemesis.prepare(made.world)
        group.start(bootstrap=True)
        stack.enter_context(relayed(made.world))
        made.counting.start()
        stack.callback(made.counting.end)
        yield made


# --- what can be seen of each -----------------------------------------------------------------------------
Seen = Callable[[Stage, Struck], bool]


def ended(code: int) -> Seen:
    return lambda stage, struck: all(one.exit_code == code for one in stage.hit(struck))


def is_still(stage: Stage, struck: Struck) -> bool:
    return all(one.runs and look(one, "/livez") is None for one in stage.hit(struck))


def is_silent(stage: Stage, struck: Struck) -> bool:
    """Who leads has not heard from another for a while, or not at all since it leads."""
    del struck
    leads = leader(stage.group)
    view = None if leads is None else look(leads, "/v1/cluster")
    return leads is not None and view is not None and _hears_not(view, leads)


def _hears_not(view: Answer, leads: Served) -> bool:
    ages = [row["contact_age_ms"] for row in view.rows("members") if row["id"] != leads.id]
    return any(not isinstance(age, int) or age > SILENT_MS for age in ages)


def is_late(stage: Stage, struck: Struck) -> bool:
    """A write takes the delay twice: there, and the answer back."""
    began = time.monotonic()
    leads = leader(stage.group)
    if leads is None:
        return False
    answer = leads.ask("POST", "/v1/memories", {"text": "late"})
    return answer.status == 201 and time.monotonic() - began > 2 * int(struck.detail.split()[0]) / 1000


def is_cut_off(stage: Stage, struck: Struck) -> bool:
    """From clients over the relay, and not from us."""
    (one,) = stage.hit(struck)
    client = Client(stage.world.urls()[one.id], timeout_s=0.5)
    try:
        client.ask("GET", "/livez")
    except Lost:
        return look(one, "/livez") is not None
    finally:
        client.close()
    return False


def disk(what: str) -> Seen:
    return lambda stage, struck: stage.counted(struck, what)


def told(*words: str) -> Seen:
    """Any of them."""
    return lambda _, struck: any(one in struck.detail for one in words)


def has_grown(stage: Stage, struck: Struck) -> bool:
    del struck
    return len(roles(stage.group)) == 5


def has_led(stage: Stage, struck: Struck) -> bool:
    return any(" leads term " in one.said() for one in stage.hit(struck))


SEEN: dict[str, Seen] = {
    "kill": ended(-9),
    "kill-leader": ended(-9),
    "kill-majority": ended(-9),
    "kill-all": ended(-9),
    "restart": ended(0),
    "restart-all": ended(0),
    "pause": is_still,
    "pause-leader": is_still,
    "pause-majority": is_still,
    "partition": is_silent,
    "partition-leader": is_silent,
    "partition-one-way": is_silent,
    "partition-bridge": is_silent,
    "hold": is_silent,
    "delay": is_late,
    "hold-clients": is_cut_off,
    "cut-clients": is_cut_off,
    "fsync-fail": ended(Exit.STOPPED),
    "fsync-lie": disk("skipped"),
    "fsync-slow": disk("delayed"),
    "fsync-stall": disk("delayed"),
    "disk-low": disk("told"),
    "disk-full": disk("refused"),
    "transfer": has_led,
    "snapshot": ended(-9),
    "flip-vectors": told(SERVES),
    "flip": told(REFUSED),
    "truncate": told(f"{REFUSED}, with exit code {Exit.STOPPED:d}:", SERVES),
    "members": has_grown,
}


def shows(stage: Stage, name: str, struck: Struck) -> bool:
    """Followers do not talk to each other, and a disk that says that it is full is written to by nobody."""
    match name:
        case "hold" | "partition-bridge":
            leads = leader(stage.group)
            return leads is not None and leads.id in struck.targets
        case "disk-full":
            return "quota" in struck.detail
        case _:
            return True


def strike(stage: Stage, nemesis: Nemesis) -> Struck:
    """With the first seed with which what it does can be seen."""

    def once() -> Struck | None:
        struck = nemesis.begin(stage.world, random.Random(next(seeds)))
        if struck is None:
            return None
        if shows(stage, nemesis.name, struck):
            return struck
        nemesis.end(stage.world)
        return None

    seeds = iter(range(1000))
    return until(once, what=f"{nemesis.name} finds somebody to strike")


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEN)
def test_it_strikes_and_heals_and_nothing_that_was_counted_is_lost(stage: Stage, name: str) -> None:
    nemesis = stage.prepared[name]
    stage.wait_whole()
    until(lambda: not is_silent(stage, NOBODY), what="everybody is heard")
    stage.counting.goes_on()
    struck = strike(stage, nemesis)
    print(name, struck)
    try:
        until(lambda: SEEN[name](stage, struck), what=f"what {name} does is seen: {struck}", seconds=20)
        if name == "snapshot":
            stage.counting.goes_on(30)  # two entries each: more than the others keep in their logs
    finally:
        nemesis.end(stage.world)
    nemesis.end(stage.world)
    stage.wait_whole()
    assert len(stage.group.replicas) == 3
    assert [one.unexpected() for one in stage.group.ever] == [None] * len(stage.group.ever)
    stage.counting.goes_on()
    stage.check_agreement()
    steps = stage.counting.steps
    assert stage.group.leader().ask("GET", COUNTED).integer("value") >= steps
    if name == "snapshot":
        (down,) = stage.hit(struck)
        until(lambda: "installed a snapshot" in down.said(), what="it was sent a snapshot")


def test_with_one_paused_nobody_falls_whom_a_majority_needs(stage: Stage) -> None:
    pause = stage.prepared["pause"]
    until(lambda: pause.begin(stage.world, random.Random(1)), what="one is paused")
    try:
        for name in ("kill", "kill-leader", "restart", "pause", "pause-leader", "fsync-fail", "flip", "members"):
            assert stage.prepared[name].begin(stage.world, random.Random(1)) is None, name
        assert sum(one.stands for one in stage.group.replicas) == 2
    finally:
        pause.end(stage.world)


def test_an_end_that_nobody_asked_for_is_told_until_the_next_start(stage: Stage) -> None:
    stage.wait_whole()
    crashed = stage.group.replicas[0]
    os.kill(crashed.pid, signal.SIGABRT)
    told = until(crashed.unexpected, what="its end is told")
    assert (told.code, told.words) == (-signal.SIGABRT, crashed.last_words())
    assert not crashed.stands
    crashed.start()
    assert crashed.unexpected() is None
    stage.group.wait_ready()


@pytest.mark.slow
def test_damaged_replica_that_nobody_could_replace_is_replaced_when_somebody_can(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the newcomer that was asked for before: the leader may have it in its log."""
    stage.wait_whole()
    flip = stage.prepared["flip"]
    until(lambda: flip.begin(stage.world, random.Random(1)), what="one is damaged")
    leads = stage.group.leader()
    (other,) = (one for one in stage.group.replicas if one.stands and one is not leads)
    other.send(signal.SIGSTOP)
    monkeypatch.setattr(members, "DONE_S", 2.0)
    try:
        with pytest.raises(Trouble):
            flip.end(stage.world)
    finally:
        monkeypatch.undo()
        other.send(signal.SIGCONT)
    assert stage.group.replicas == [one for one in stage.group.replicas if one in (leads, other)]
    flip.end(stage.world)
    stage.wait_whole()
    assert len(stage.group.replicas) == 3


def test_one_that_is_still_starting_may_be_asked_to_end(stage: Stage) -> None:
    stage.wait_whole()
    starting, restart = stage.group.replicas[0], stage.prepared["restart-all"]
    starting.kill()
    starting.start()
    try:
        assert restart.begin(stage.world, random.Random(1)) is not None
        assert starting.exit_code == -signal.SIGTERM
    finally:
        restart.end(stage.world)
    stage.wait_whole()


def test_in_the_end_each_step_has_been_counted_once(stage: Stage) -> None:
    stage.counting.end()
    assert stage.group.leader().ask("GET", COUNTED).integer("value") == stage.counting.steps
    assert len(stage.group.digests(stage.group.settle())) == 1


def test_every_portable_nemesis_is_tried_here() -> None:
    others = {"clock", "clock-leader"}  # what they need not every machine has: tried beside those that need root
    rooted = "jepsen_like.nemeses.rooted"
    here = {name for name, nemesis in NEMESES.items() if not nemesis.__module__.startswith(rooted)}
    assert SEEN.keys() == here - others
