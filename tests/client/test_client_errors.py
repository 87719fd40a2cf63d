"""Errors travel between processes and say the next step."""

import copy
import inspect
import pickle

import pytest

from raftmem import client
from raftmem.client import errors
from raftmem.client.errors import RaftmemClientError

PROBLEM = {"code": "x", "status": 409, "failed": [{"guard": {"memory": "m"}}], "oldest_index": 3}
MADE: list[Exception] = [
    errors.LeaseLost("n", 1, "r"),
    errors.WriteOutcomeUnknown("d", key="k"),
    errors.WriteOutcomeUnknown("d", key=None, problem=PROBLEM),
    errors.Unreachable({"a": "b"}),
    errors.ClusterChanged("a/1", "a/2"),
    errors.TaskCancelled("t"),
    client.Retry(1.5, "later"),
    client.NonRetryable("no"),
]
OTHERS = [
    kind("d", problem=PROBLEM, index=7)
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, RaftmemClientError) and kind not in {type(one) for one in MADE}
]


class Own(errors.NotFound):
    """A subclass with parameters of its own."""

    def __init__(self, *, name: str) -> None:
        super().__init__(f"no {name}")
        self.name = name


@pytest.mark.parametrize("error", [*MADE, *OTHERS, Own(name="n")], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_error_is_equal_after_a_round_trip(error: Exception, way) -> None:  # type: ignore[no-untyped-def]
    error.add_note("a note")
    came = way(error)
    assert (type(came), str(came), vars(came)) == (type(error), str(error), vars(error))
    assert came == error
    assert hash(came) == hash(error)


def test_errors_that_differ_are_not_equal() -> None:
    assert errors.NotFound("a") != errors.NotFound("b")
    assert errors.NotFound("a") != errors.Conflict("a")
    assert errors.NotFound("a", index=1) != errors.NotFound("a", index=2)


@pytest.mark.parametrize("error", [one for one in [*MADE, *OTHERS] if isinstance(one, RaftmemClientError)])
def test_detail_says_the_fact_and_hint_the_next_step(error: RaftmemClientError) -> None:
    assert error.hint
    assert error.hint not in error.detail
    assert str(error).startswith(error.detail)


def test_unknown_outcome_has_the_key_in_its_hint_and_not_in_its_detail() -> None:
    error = errors.WriteOutcomeUnknown("no answer in time", key="k-1")
    assert (error.detail, error.hint) == (
        "outcome unknown: no answer in time",
        "ask again, with key='k-1' it is not applied twice",
    )
