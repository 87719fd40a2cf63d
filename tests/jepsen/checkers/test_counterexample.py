"""What is shown of a bad history is bad by itself, and none of it can be left out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_models import REFERENCES, histories, some_order_fits
from test_search import NO_HURRY, op, read, told, write, wronged

from jepsen_like.checkers.counterexample import Counterexample, freed, smallest
from jepsen_like.checkers.models.registry import MODELS
from jepsen_like.checkers.search import Bounds
from jepsen_like.history.record import Operation


def of(name: str, operations: list[Operation], bounds: Bounds = NO_HURRY) -> Counterexample:
    return smallest(MODELS[name], operations, told(name, operations), bounds)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_counterexample_fits_no_order_and_does_with_any_one_of_it_freed(name: str, data: st.DataObject) -> None:
    reference = REFERENCES[name]
    operations = data.draw(histories(reference))
    for _ in range(2 if operations else 0):
        operations = data.draw(st.composite(wronged)(reference, operations))
    if told(name, operations).verdict == "good":
        return
    found = of(name, operations)
    assert found.minimal
    kept = list(found.operations)
    others = [operation for operation in operations if operation not in kept]
    assert not some_order_fits(reference, [*kept, *freed(others)])
    for operation in kept:
        rest = [one for one in kept if one is not operation]
        assert some_order_fits(reference, [*rest, *freed([*others, operation])])


def test_stale_read_is_shown_with_the_write_that_it_missed_and_nothing_else() -> None:
    before = [write(value, 10 * value, 10 * value + 5) for value in range(50)]
    missed, stale = write(100, 1000, 1005), read(49, 1010, 1015)
    after = [write(value, 20 * value, 20 * value + 15) for value in range(101, 150)]
    found = of("register", [*before, missed, stale, *after])
    assert found.operations == (missed, stale)
    assert found.outcome.stuck == stale


def test_second_grant_of_a_lock_is_shown_with_the_first() -> None:
    def acquire(owner: str, token: int) -> Operation:
        return op("acquire", {"owner": owner}, 10 * token, 10 * token + 5, {"token": token})

    def release(owner: str, token: int) -> Operation:
        return op("release", {"owner": owner, "token": token}, 10 * token + 6, 10 * token + 9)

    turns = [one for token in range(1, 30) for one in (acquire("a", token), release("a", token))]
    both = [acquire("b", 31), acquire("c", 32)]
    assert of("lock", [*turns, *both, release("b", 33)]).operations == tuple(both)


def test_without_time_the_counterexample_is_whole_and_says_that_it_is_not_minimal() -> None:
    operations = [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5), write(3, 6, 7)]
    found = of("register", operations, Bounds(0, clock=lambda: 1.0))
    assert not found.minimal
    assert told("register", list(found.operations)).verdict == "bad"
