"""Every scenario says what it is written to say, and would not if the rule that it is about were missing."""

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from jepsen_like.simulator import scenario
from jepsen_like.simulator.oracles import Violation
from jepsen_like.simulator.scenario_commands import ScriptError
from raftmem.machine import entry
from raftmem.machine.idempotency import Admitted
from raftmem.raft import membership, rules
from raftmem.raft.compaction import Compaction
from raftmem.raft.follower.match_claim import MatchClaim
from raftmem.raft.interfaces import Timing
from raftmem.raft.leader.leadership import Leadership
from raftmem.raft.leader.progress import Progress
from raftmem.raft.leader.rounds import Rounds
from raftmem.raft.leader.snapshot_sender import SnapshotSender
from raftmem.raft.log.writer import Writer
from raftmem.raft.log_time import LogTime
from raftmem.runtime.interfaces import Clock

FOLDER = Path(__file__).parents[1] / "scenarios"
FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_runs_as_it_is_written(path: Path) -> None:
    outcome = scenario.run(path)
    assert scenario.differences(path.read_text(), outcome, path.name) == ""
    assert outcome.violation is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_begins_with_its_point_and_ends_with_a_check(path: Path) -> None:
    blocks, _ = scenario.parse(path.read_text())
    assert "Obligation" in "\n".join(blocks[0].above)
    assert blocks[-1].commands[-1].startswith("check ")


# --- without the rule ------------------------------------------------------------------------------------
def _commits_by_counting(self: Leadership) -> None:
    matches = [progress.match for peer, progress in self.progress.items() if peer in self.rounds.voters]
    durable = self._journal.durable_index
    self._core._commit = max(self._core._commit, rules.agreed([*matches, durable], rules.quorum(self.rounds.voters)))


def _counts_learners(self: Leadership) -> None:
    matches = [progress.match for progress in self.progress.values()]
    self._core.raise_commit(rules.agreed([*matches, self._journal.durable_index], rules.quorum(self.rounds.voters)))


def _claims_what_is_queued(self: MatchClaim, *, term: int, **_: object) -> int | None:
    return self._verified if term == self._term and self._verified else None


def _lasts_from_the_echo(self: Rounds, voter: str, number: int) -> None:
    self._count(voter, number)
    self._confirmed_sent = self.echo_at[voter] = self._clock.boottime()


def _confirms_by_any_echo(self: Rounds, callback: Callable[[bool], None]) -> None:
    self._waiting.append((self.confirmed + 1, callback))


_log_time = LogTime.__init__


def _begins_again(self: LogTime, clock: Clock, *, last_time: int, last_stored: float) -> None:  # noqa: ARG001
    """Each leader counts from when it was elected: the dead gain what has passed since the newest entry."""
    _log_time(self, clock, last_time=last_time, last_stored=clock.boottime())


#: (scenario, whose rule, its name, what stands in its place)
WITHOUT: list[tuple[str, object, str, object]] = [
    ("read_by_an_old_round", Rounds, "when_confirmed", _confirms_by_any_echo),
    ("figure_7", Progress, "rejected", lambda _self, _log, _reject: None),
    ("figure_8", Leadership, "advance", _commits_by_counting),
    ("v4_compaction_at_a_kill", Compaction, "_limit", lambda self: self._wanted),
    ("v6_old_echo_and_the_lease", Rounds, "echo", _lasts_from_the_echo),
    ("lease_and_drift", Timing, "lease", property(lambda self: self.election_timeout)),
    ("leader_with_a_stuck_disk", Writer, "is_stuck", lambda _self, _patience: False),
    ("newest_log_on_one", rules, "is_up_to_date", lambda _log, _question: True),
    ("transfer_that_fails", Leadership, "given_up", property(lambda _self: False, lambda _self, _value: None)),
    ("unknown_write", entry, "admit", lambda _view, _actor, _key, _now: Admitted(())),
    ("removed_replica", membership, "check_majority", lambda _voters, _live, _situation: None),
    ("behind_the_log", SnapshotSender, "reconnected", lambda _self: None),
    ("v9_leader_goes_on_during_a_snapshot", SnapshotSender, "answered", lambda self, _reply: self.offer(0)),
    ("joining_replica", Leadership, "advance", _counts_learners),
    ("claim_before_the_sync", MatchClaim, "claim", _claims_what_is_queued),
    ("dead_holder_and_elections", LogTime, "__init__", _begins_again),
]


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "other"), WITHOUT, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_scenario_ends_in_a_violation_without_its_rule(
    name: str, owner: object, attribute: str, other: object
) -> None:
    is_field = attribute == "given_up"  # an attribute of instances, covered by a property
    outcome = scenario.run(
        FOLDER / f"{name}.txt", patches=[lambda: mock.patch.object(owner, attribute, other, create=is_field)]
    )
    assert isinstance(outcome.violation, Violation), outcome.text


# --- the runner --------------------------------------------------------------------------------------------
GOOD = "group n1\nstart\nelect n1\ncheck leader n1 1\n----\n"


def test_a_rewrite_writes_down_what_was_said_and_keeps_comments(tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text(f"# why\n\n{GOOD}\n# the end\n")
    assert scenario.main([str(path)]) == 1
    assert scenario.main([str(path), "--rewrite"]) == 0
    text = path.read_text()
    assert text.startswith("# why\n\ngroup n1\n")
    assert text.endswith("n1 leads in term 1\n\n# the end\n")
    assert scenario.main([str(path)]) == 0


def test_a_rewrite_of_a_script_whose_check_fails_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "script.txt"
    path.write_text(GOOD.replace("n1 1", "n1 7"))
    assert scenario.main([str(path), "--rewrite"]) == 1
    assert path.read_text() == GOOD.replace("n1 1", "n1 7")
    assert "+VIOLATION: n1 leads in term 1" in capsys.readouterr().out


def test_a_failed_check_is_raised_with_the_trace_so_far() -> None:
    with pytest.raises(Violation, match="there are leaders") as raised:
        scenario.run_script(GOOD.replace("n1 1", "none"))
    assert "n1 is the leader in term 1" in raised.value.__notes__[0]


@pytest.mark.parametrize("text", ["group n1\n", "group n1\nfly n1\n----\n", "start\n----\n", "group n1\n\n----\n"])
def test_what_is_no_script_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ScriptError, match=r"line 1|line 2|begins with"):
        scenario.run_script(text)
