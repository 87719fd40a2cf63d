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
from jepsen_like.runs.striking import Striking, most_at_once
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


def test_strike_whose_time_another_took_is_dropped(tmp_path: Path) -> None:
    """But for the first of a nemesis, which lasts a moment all the same."""
    _, events = _struck(tmp_path, Breaker(), Strike(-10, 1, "breaker", 0), Strike(-5, 1, "breaker", 1))
    assert events == [("breaker", "begin"), ("breaker", "end")]


def test_nemesis_that_has_not_struck_yet_looks_on_when_its_time_is_over(tmp_path: Path) -> None:
    with closing(Recorder(tmp_path / "history.jsonl")) as recorder:
        world = World(tmp_path, LoopbackGroup(tmp_path, base=12_000), recorder)
        striking = Striking(world, {"breaker": Breaker(idle=1), "other": Breaker()}, seed=1)
        striking.run((Strike(0, 0.1, "breaker", 0), Strike(1.2, 0.1, "other", 1)), threading.Event())
    assert striking.idle == ()


def test_as_many_as_were_planned_strike_at_a_time() -> None:
    assert most_at_once(()) == 0
    assert most_at_once((Strike(0, 1, "a", 0), Strike(1, 1, "b", 1))) == 1
    assert most_at_once((Strike(0, 2, "a", 0), Strike(1, 2, "b", 1), Strike(2.5, 1, "c", 2))) == 2


class Waiter(Breaker):
    """Its end waits until another has ended, as one does that needs the group, which the other keeps from working."""

    name = "waiter"
    asks = True

    def __init__(self, awaited: threading.Event) -> None:
        super().__init__()
        self._awaited = awaited

    def end(self, world: World) -> None:
        assert self._awaited.wait(20)
        super().end(world)


class Ending(Breaker):
    name = "ending"

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def end(self, world: World) -> None:
        super().end(world)
        if self.struck.is_set():
            self.ended.set()


def test_one_whose_end_waits_for_the_end_of_another_keeps_it_from_nothing(tmp_path: Path) -> None:
    ending = Ending()
    with closing(Recorder(tmp_path / "history.jsonl")) as recorder:
        world = World(tmp_path, LoopbackGroup(tmp_path, base=12_000), recorder)
        striking = Striking(world, {"waiter": Waiter(ending.ended), "ending": ending}, seed=1)
        strikes = Strike(0, 0.05, "waiter", 0), Strike(0.1, 0.05, "waiter", 1), Strike(0.2, 0.4, "ending", 2)
        striking.run(strikes, threading.Event())
        assert striking.active == ()
        striking.heal()
    assert striking.troubles == []


def test_mistake_of_ours_in_an_end_is_told(tmp_path: Path) -> None:
    class Mistaken(Breaker):
        def end(self, world: World) -> None:
            del world
            if not self.struck.is_set():
                return
            self.struck.clear()
            raise ZeroDivisionError("a mistake")

    with closing(Recorder(tmp_path / "history.jsonl")) as recorder:
        world = World(tmp_path, LoopbackGroup(tmp_path, base=12_000), recorder)
        striking = Striking(world, {"breaker": Mistaken()}, seed=1)
        striking.run((Strike(0, 0.05, "breaker", 0),), threading.Event())
        striking.heal()
    (trouble,) = striking.troubles
    assert trouble.startswith("ZeroDivisionError: a mistake")


class Asker(Breaker):
    """It heals only what a group can do that nothing else ails."""

    name = "asker"
    asks = True

    def __init__(self, ailment: Breaker) -> None:
        super().__init__()
        self._ailment = ailment

    def end(self, world: World) -> None:
        assert not self._ailment.broken
        super().end(world)


def test_what_the_group_has_to_heal_itself_is_healed_last(tmp_path: Path) -> None:
    breaker = Breaker()
    asker = Asker(breaker)
    with closing(Recorder(tmp_path / "history.jsonl")) as recorder:
        world = World(tmp_path, LoopbackGroup(tmp_path, base=12_000), recorder)
        striking = Striking(world, {"asker": asker, "breaker": breaker}, seed=1)
        breaker.broken = asker.broken = True
        striking.heal()
    assert not asker.broken


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
