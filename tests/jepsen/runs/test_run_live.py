"""What is seen of a run: each phase as it begins, though little time has passed since the last look."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from jepsen_like.history.recorder import Recorder
from jepsen_like.runs.live import Lines, Panel, Seen
from jepsen_like.runs.options import Options
from jepsen_like.runs.polling import State


class Moment:
    def __init__(self, seen: Seen, phase: str) -> None:
        self.seen = seen
        self.phase = phase
        self.elapsed = 0.0
        self.states: dict[str, State] = {}
        self.faults: list[str] = []


@pytest.mark.parametrize("terminal", [True, False])
def test_each_phase_is_shown_at_once(terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=60)
    recorder = Recorder(tmp_path / "history.jsonl")
    seen = Seen(recorder)
    options = Options(workload="register")
    phases = ("load", "heals", "replays the logs")
    if terminal:
        panel = Panel(console, options)
        with panel.live():
            for phase in phases:
                panel.show(Moment(seen, phase))
    else:
        lines = Lines(console, options)
        for phase in phases:
            lines.show(Moment(seen, phase))
    recorder.close()
    assert [phase for phase in phases if phase not in output.getvalue()] == []
