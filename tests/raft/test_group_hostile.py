"""Hostile schedules: a bounded set of seeds here, thousands by `python -m jepsen_like.simulator`."""

import pytest

from jepsen_like.simulator.__main__ import main, repeats
from jepsen_like.simulator.hostile import run
from jepsen_like.simulator.oracles import Violation

SECONDS = 15.0
NAMES = tuple(f"n{number}" for number in range(1, 6))


@pytest.mark.parametrize(("seed", "replicas"), [*((seed, 3) for seed in range(32)), *((seed, 5) for seed in range(6))])
def test_everything_holds_under_a_hostile_schedule(seed: int, replicas: int) -> None:
    try:
        counts = run(seed, seconds=SECONDS, names=NAMES[:replicas])
    except Violation as violation:
        pytest.fail(f"{violation}\nrepeat: {repeats(seed, replicas, SECONDS)}")
    assert counts["acked"] > 0


def test_a_seed_repeats_itself() -> None:
    assert run(7, seconds=6.0) == run(7, seconds=6.0)


def test_the_command_prints_what_it_did_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3-4", "--seconds", "2"]) == 0
    assert "2 seeds, 0 violations" in capsys.readouterr().out


def test_the_command_refuses_what_it_does_not_understand() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--seeds", "9-3"])
    assert refused.value.code == 2
