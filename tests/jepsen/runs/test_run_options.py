"""What a run is asked: checked before anything starts, and told again by one command."""

import json
import shlex
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from jepsen_like.cli import app
from jepsen_like.nemeses.registry import NEMESES
from jepsen_like.runs import profiles, schedule
from jepsen_like.runs.options import LEVELS_KNOWN, Options, check, clash, command
from jepsen_like.workloads.registry import WORKLOADS


def _names(known: list[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(known), unique=True, max_size=most).map(tuple)


def _fit(names: tuple[str, ...]) -> bool:
    return clash(names, NEMESES) is None


OPTIONS = st.builds(
    Options,
    workload=st.sampled_from(sorted(WORKLOADS)),
    nemeses=_names(sorted(NEMESES), 3).filter(_fit),
    seconds=st.floats(1, 300).map(lambda seconds: round(seconds, 3)),
    nodes=st.integers(1, 5),
    clients=st.integers(1, 64),
    keys=st.integers(1, 1000),
    rate=st.floats(0, 1000).map(lambda rate: round(rate, 1)),
    levels=_names(list(LEVELS_KNOWN), 3).filter(bool),
    seed=st.integers(0, 2**40),
    overlap=st.integers(1, 4),
    without=_names(["lease", "fencing", "one-effect"], 2),
)


@settings(deadline=None)
@given(OPTIONS)
def test_command_of_any_run_asks_for_the_same_run(options: Options) -> None:
    words = shlex.split(command(options))
    assert words[:3] == ["python", "-m", "jepsen_like"]
    planned = CliRunner().invoke(app, [*words[3:], "--plan"])
    assert planned.exit_code == 0, planned.output
    told = json.loads(planned.stdout)
    assert told["command"] == command(options)
    strikes = schedule.draw(
        {name: NEMESES[name].seconds for name in options.nemeses},
        seconds=options.seconds,
        seed=options.seed,
        overlap=options.overlap,
    )
    assert told["schedule"] == [strike._asdict() for strike in strikes]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (Options(workload="regster"), "no workload regster; there are: "),
        (Options(workload="register", nemeses=("kil",)), "no nemesis kil; there are: "),
        (Options(workload="register", levels=("lase",)), "no level lase; there are: eventual, lease, linearizable"),
        (Options(workload="register", levels=()), "no level to read at"),
        (Options(workload="register", without=("leese",)), "no promise leese; there are: "),
        (Options(workload="register", nemeses=("kill", "kill")), "named twice"),
        (Options(workload="register", nemeses=("partition", "netns-loss")), "has the replicas where the relays"),
        (Options(workload="register", nodes=9), "--nodes 9 is not within 1 and 5"),
        (Options(workload="register", seconds=0), "--time 0 is not within 1 and 86400"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_can(wrong: Options, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check(wrong, workloads=WORKLOADS, nemeses=NEMESES)


def test_ci_profile_runs_each_workload_once_under_the_faults_that_it_promises_and_one_run_without() -> None:
    planned = list(profiles.ci(list(WORKLOADS), seed=0))
    struck: set[str] = set()
    for options in planned:
        check(options, workloads=WORKLOADS, nemeses=NEMESES)
        lengths = {name: NEMESES[name].seconds for name in options.nemeses}
        strikes = schedule.draw(lengths, seconds=options.seconds, seed=options.seed, overlap=options.overlap)
        assert {strike.name for strike in strikes} == set(options.nemeses), options
        struck |= lengths.keys()
    faulty = [options.workload for options in planned if options.nemeses]
    assert sorted(faulty) == sorted(WORKLOADS)
    assert len(planned) == len(WORKLOADS) + 1
    assert {"kill", "pause", "partition", "fsync-slow"} <= struck


def test_night_profile_comes_to_all_workloads_and_all_nemeses_and_repeats_by_its_seed() -> None:
    first, again = (list(islice(profiles.night(sorted(WORKLOADS), NEMESES, seed=5), 60)) for _ in range(2))
    assert first == again
    assert {options.workload for options in first} == WORKLOADS.keys()
    assert {name for options in first for name in options.nemeses} == NEMESES.keys()
    for options in first:
        check(options, workloads=WORKLOADS, nemeses=NEMESES)
        assert not set(options.nemeses) >= profiles.UNFAIR
