"""Carrying out a schedule: faults stand in the history around what they break, and nothing stays broken."""

import random
import threading
from contextlib import closing
from pathlib import Path

from jepsen_like.cluster.client import Trouble
from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.history.jsonl import read_history
from jepsen_like.history.recorder import Recorder
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.runs.schedule import Strike
from jepsen_like.runs.striking import Striking
from jepsen_like.runs.world import World


class Breaker(Nemesis):
    """Breaks one thing, which `broken` tells; finds nothing to break at first, or goes wrong half way, if it is to."""

    name = "breaker"
    about = "for these tests"

    def __init__(self, *, idle: int = 0, goes_wrong: bool = False) -> None:
        self._idle = idle
        self._goes_wrong = goes_wrong
        self.broken = False
        self.struck = threading.Event()

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        del world, chance
        if self._idle:
            self._idle -= 1
            return None
        self.broken = True
        self.struck.set()
        if self._goes_wrong:
            raise Trouble("half way")
        return Struck(("n1",), "broke it")

    def end(self, world: World) -> None:
        del world
        self.broken = False


def _struck(folder: Path, breaker: Breaker, *strikes: Strike) -> tuple[Striking, list[tuple[str, str]]]:
    """What was carried out, without `heal`, and the events of the history after it."""
    with closing(Recorder(folder / "history.jsonl")) as recorder:
        world = World(folder, LoopbackGroup(folder, base=12_000), recorder)
        striking = Striking(world, {breaker.name: breaker}, seed=1)
        striking.run(strikes, threading.Event())
        assert not breaker.broken
        striking.heal()
    return striking, [(fault.name, fault.event) for fault in read_history(folder / "history.jsonl").faults]


def test_fault_begins_and_ends_in_the_history(tmp_path: Path) -> None:
    striking, events = _struck(tmp_path, Breaker(), Strike(0, 0.05, "breaker", 0), Strike(0.2, 0.05, "breaker", 1))
    assert events == [("breaker", "begin"), ("breaker", "end")] * 2
    assert striking.idle == ()
    assert striking.troubles == []


def test_nemesis_that_finds_nothing_at_first_looks_again(tmp_path: Path) -> None:
    striking, events = _struck(tmp_path, Breaker(idle=1), Strike(0, 1.5, "breaker", 0))
    assert events == [("breaker", "begin"), ("breaker", "end")]
    assert striking.idle == ()


def test_nemesis_that_never_finds_anything_is_told(tmp_path: Path) -> None:
    striking, events = _struck(tmp_path, Breaker(idle=100), Strike(0, 0.2, "breaker", 0))
    assert events == []
    assert striking.idle == ("breaker",)


def test_nemesis_that_goes_wrong_half_way_is_healed_and_told(tmp_path: Path) -> None:
    breaker = Breaker(goes_wrong=True)
    striking, events = _struck(tmp_path, breaker, Strike(0, 0.05, "breaker", 0))
    assert breaker.struck.is_set()
    assert events == []
    assert striking.troubles == ["breaker went wrong when it began: half way"]


def test_what_is_active_when_a_run_is_over_is_healed(tmp_path: Path) -> None:
    breaker, over = Breaker(), threading.Event()
    with closing(Recorder(tmp_path / "history.jsonl")) as recorder:
        striking = Striking(
            World(tmp_path, LoopbackGroup(tmp_path, base=12_000), recorder), {breaker.name: breaker}, seed=1
        )
        thread = threading.Thread(target=striking.run, args=((Strike(0, 60, "breaker", 0),), over))
        thread.start()
        assert breaker.struck.wait(20)
        over.set()
        thread.join()
        assert breaker.broken
        striking.heal()
        assert not breaker.broken
        assert striking.active == ()
