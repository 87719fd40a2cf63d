"""Histories that others recorded get the verdict that they have; those that are good and those that are bad apart."""

import json
from pathlib import Path

import pytest

from jepsen_like.checkers.evidence import Verdict
from jepsen_like.checkers.linearizability import judge
from jepsen_like.checkers.models.registry import MODELS
from jepsen_like.history.formats import load

GIVEN = Path(__file__).resolve().parents[4] / "shared" / "histories"
VERDICTS: dict[str, bool] = json.loads((GIVEN / "verdicts.json").read_text()) if GIVEN.is_dir() else {}
GOOD = sorted(name for name, linearizable in VERDICTS.items() if linearizable)
BAD = sorted(VERDICTS.keys() - set(GOOD))

pytestmark = pytest.mark.skipif(not VERDICTS, reason=f"the recorded histories are not at {GIVEN}")


def verdict_on(name: str) -> Verdict:
    loaded = load(GIVEN / name)
    assert loaded.model is not None
    return judge(MODELS[loaded.model], loaded.history.operations, seconds=30).verdict


@pytest.mark.parametrize("name", GOOD)
def test_history_that_is_linearizable_is_found_good(name: str) -> None:
    assert verdict_on(name) == "good"


@pytest.mark.parametrize("name", BAD)
def test_history_that_is_not_linearizable_is_found_bad(name: str) -> None:
    assert verdict_on(name) == "bad"


def test_both_kinds_are_many_enough_to_tell_a_judge_that_always_says_the_same() -> None:
    assert min(len(GOOD), len(BAD)) > 40
