"""The schedule of faults: drawn from the seed alone, all of them, never too many at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepsen_like.runs import schedule
from jepsen_like.runs.schedule import Lengths, Strike

LENGTHS: Lengths = {"kill": (1.0, 4.0), "pause": (2.0, 5.0), "partition": (2.0, 5.0), "fsync-slow": (3.0, 6.0)}


def _active(strikes: tuple[Strike, ...], at: float) -> list[str]:
    return [strike.name for strike in strikes if strike.at <= at < strike.at + strike.seconds]


def test_same_seed_gives_the_same_schedule_and_another_seed_another() -> None:
    first, again, other = (schedule.draw(LENGTHS, seconds=60, seed=seed, overlap=2) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_order_in_which_nemeses_were_named_changes_nothing() -> None:
    turned = {name: LENGTHS[name] for name in sorted(LENGTHS, reverse=True)}
    assert schedule.draw(turned, seconds=60, seed=7, overlap=1) == schedule.draw(LENGTHS, seconds=60, seed=7, overlap=1)


def test_without_nemeses_there_is_nothing_to_do() -> None:
    assert schedule.draw({}, seconds=60, seed=7, overlap=1) == ()


@pytest.mark.parametrize(("seconds", "overlap"), [(9, 1), (9, 2), (60, 1)])
@pytest.mark.parametrize("seed", range(20))
def test_each_nemesis_strikes_even_in_a_short_run(seconds: float, overlap: int, seed: int) -> None:
    chosen = dict(list(LENGTHS.items())[:2]) if seconds < 20 else LENGTHS
    strikes = schedule.draw(chosen, seconds=seconds, seed=seed, overlap=overlap)
    assert {strike.name for strike in strikes} == chosen.keys()


@settings(deadline=None)
@given(st.integers(), st.integers(1, 4), st.floats(1, 300))
def test_any_schedule_keeps_its_rules(seed: int, overlap: int, seconds: float) -> None:
    strikes = schedule.draw(LENGTHS, seconds=seconds, seed=seed, overlap=overlap)
    begins = [strike.at for strike in strikes]
    assert begins == sorted(begins)
    for strike in strikes:
        active = _active(strikes, strike.at)
        assert len(active) <= overlap
        assert len(set(active)) == len(active)
        assert strike.at >= schedule.WARM_S
        assert strike.at + strike.seconds <= seconds - schedule.CALM_S + 0.002
        assert strike.seconds <= LENGTHS[strike.name][1]
