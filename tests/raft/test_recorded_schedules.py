"""Schedules that once showed a defect end well, and a new one can be kept."""

from pathlib import Path

import pytest

from jepsen_like.simulator import campaign, recorded, schedule
from jepsen_like.simulator.options import draw


@pytest.mark.parametrize("kept", recorded.load(), ids=lambda kept: kept.why[:60])
def test_a_schedule_that_was_red_is_green(kept: recorded.Recorded) -> None:
    result = campaign.one(kept.options, kept.faults)
    assert not isinstance(result, campaign.Failed), result


def test_a_schedule_is_kept_as_it_was(tmp_path: Path) -> None:
    options = draw(7, level="async")
    faults = schedule.draw(options)
    recorded.record("why", options, faults[:3], tmp_path / "kept.jsonl")
    recorded.record("another", options, (), tmp_path / "kept.jsonl")
    first, second = recorded.load(tmp_path / "kept.jsonl")
    assert first == recorded.Recorded("why", options, faults[:3])
    assert second.faults == ()
