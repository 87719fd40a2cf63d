"""Hostile schedules: a bounded set of seeds here, thousands by `python -m jepsen_like.simulator`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jepsen_like.simulator import campaign, hostile, schedule, shrink
from jepsen_like.simulator.__main__ import main
from jepsen_like.simulator.disk import WatchedLog
from jepsen_like.simulator.group import Group
from jepsen_like.simulator.nemesis import Nemesis
from jepsen_like.simulator.network import Ends, VirtualNetwork
from jepsen_like.simulator.options import Level, Options, draw, flags, overridden
from jepsen_like.simulator.oracles import Referee, Violation
from jepsen_like.simulator.schedule import Fault
from jepsen_like.simulator.sometimes import REQUIRED, missed
from jepsen_like.simulator.world import World
from raftmem.raft.leader.rounds import Rounds
from raftmem.storage.log.contract import LogEntry

ROOT = Path(__file__).resolve().parents[2]
SEEDS: list[tuple[int, Level]] = [*((seed, "tcp") for seed in range(40)), *((seed, "async") for seed in range(12))]


@pytest.mark.parametrize(("seed", "level"), SEEDS)
def test_everything_holds_under_a_hostile_schedule(seed: int, level: Level) -> None:
    options = draw(seed, level=level)
    result = campaign.one(options)
    if isinstance(result, campaign.Failed):
        pytest.fail(f"{result.kind} {result.what}\nrepeat: {campaign.repeats(options)}")
    assert result["applied"] > 0


def test_the_real_stores_hold_under_a_hostile_schedule() -> None:
    options = overridden(draw(4), {"store": "lmdb", "seconds": "12", "compact_entries": "8"})
    assert not isinstance(campaign.one(options), campaign.Failed)


# --- the same again ----------------------------------------------------------------------------------
def _traced(hash_seed: str) -> bytes:
    words = "--seeds 11 --seconds 12 --trace"
    return subprocess.run(
        [sys.executable, "-m", "jepsen_like.simulator", *words.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
    ).stdout


def test_the_trace_of_a_seed_is_the_same_bytes_in_any_process() -> None:
    first, second = _traced("1"), _traced("2")
    assert b"  Append term:" in first
    assert first == second


def test_a_seed_draws_the_same_faults_and_options_each_time() -> None:
    assert draw(5) == draw(5)
    assert schedule.draw(draw(5)) == schedule.draw(draw(5))
    assert schedule.draw(draw(5)) != schedule.draw(draw(6))


def test_the_printed_flags_give_the_same_options() -> None:
    options = overridden(draw(5, level="async"), {"delay": "0.0125", "mode": "liveness", "replicas": "5"})
    words = flags(options).split()
    given = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    assert given.pop("seeds") == "5"
    assert overridden(draw(5, level="async"), {k: v for k, v in given.items() if k != "level"}) == options


# --- what it must notice -----------------------------------------------------------------------------
def _never_ends(_self: Rounds) -> bool:
    return True


def test_a_lease_that_never_ends_is_a_violation_and_shrinks_to_few_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftmem.raft.leader.rounds.Rounds.holds_lease", _never_ends)
    options = next(o for o in map(draw, range(30)) if shrink.fails(o, schedule.draw(o)))
    faults = schedule.draw(options)
    fewer = shrink.shrink(options, faults, lambda _: None)
    assert len(fewer) < len(faults)
    assert set(fewer) <= set(faults)
    assert shrink.chosen(options, frozenset(fault.number for fault in fewer)) == fewer
    with pytest.raises(Violation, match="lease"):
        hostile.run(options, fewer)


def test_another_entry_at_an_applied_index_is_a_violation() -> None:
    group = _settled()
    truth = group.referee.truth[2]
    with pytest.raises(Violation, match="another entry at 2"):
        group.referee.applies("n1", [LogEntry(2, truth.term, truth.data + b"x")], truth.term, None)


def test_a_state_with_another_digest_is_a_violation() -> None:
    group = _settled()
    with pytest.raises(Violation, match="another digest"):
        group.referee.stands_at("n1", 2, bytes(32))


def test_a_write_after_a_failed_sync_is_a_violation() -> None:
    log = _settled().replicas["n1"].disk.log
    assert isinstance(log, WatchedLog)
    log.failed = True
    with pytest.raises(Violation, match="after a failed sync"):
        log.commit([])


def test_a_violation_that_a_replica_swallows_still_ends_the_run() -> None:
    group = _settled()
    group.world.soon(lambda: _swallow(group.referee))
    with pytest.raises(Violation, match="planted"):
        group.world.run(1.0)


def _swallow(referee: Referee) -> None:
    try:
        raise referee.fail("planted")
    except Violation:
        return


def _settled() -> Group:
    group = Group(1)
    group.start()
    group.wait_leader()
    return group


# --- faults --------------------------------------------------------------------------------------------
def test_a_second_folder_is_not_wiped_while_the_first_is_missing() -> None:
    group = _settled()
    nemesis = Nemesis(group, draw(1), lambda _: None)
    wipe = Fault(0, 0.0, "wipe", 0, 0, 0.1, 0.9, False)
    nemesis.inflict(wipe)
    nemesis.inflict(Fault(1, 0.0, "wipe", 1, 0, 0.1, 0.9, False))
    assert [replica.name for replica in group.replicas.values() if replica.wiped] == ["n1"]


def test_a_wiped_folder_is_refused_and_the_rest_go_on() -> None:
    group = _settled()
    Nemesis(group, draw(1), lambda _: None).inflict(Fault(0, 0.0, "wipe", 0, 0, 0.1, 0.9, False))
    group.world.run(10.0)
    assert group.replicas["n1"].up
    assert group.sometimes["wiped folder refused"] > 0
    assert group.replicas["n1"].index == 1
    assert group.wait_leader() is not group.replicas["n1"]


def test_what_is_held_by_a_blocked_link_comes_in_order_and_what_is_cut_never() -> None:
    world = World(0)
    network = VirtualNetwork(world)
    came: list[bytes] = []

    def nothing(_peer: str) -> None:
        """Not looked at here."""

    for name in ("a", "b"):
        network.attach(name, Ends(lambda _peer, data: came.append(data), nothing, nothing))
    network.block("a", "b")
    for data in (b"1", b"2"):
        network.send("a", "b", data)
    world.run(1.0)
    assert came == []
    network.unblock("a", "b")
    world.run(1.0)
    assert came == [b"1", b"2"]
    network.send("a", "b", b"3")
    network.cut("a", "b")
    world.run(1.0)
    assert came == [b"1", b"2"]


# --- the command ---------------------------------------------------------------------------------------
def test_the_command_prints_what_it_met_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3-4", "--seconds", "4"]) == 0
    printed = capsys.readouterr().out
    assert "2 seeds, 0 violations, 0 liveness failures" in printed
    assert all(what in printed for what in REQUIRED)


def test_the_command_exits_with_1_and_says_how_to_repeat_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(options: Options, faults: object = None, write: object = None) -> object:  # noqa: ARG001
        raise Violation(f"seed {options.seed}: planted")

    monkeypatch.setattr(hostile, "run", broken)
    assert main(["--seeds", "3", "--pace", "2.5"]) == 1
    printed = capsys.readouterr().out
    assert "seed 3: planted" in printed
    assert "python -m jepsen_like.simulator --seeds 3 --level tcp --pace 2.5" in printed


def test_a_campaign_that_never_met_something_names_it() -> None:
    everything = dict.fromkeys(REQUIRED, 1)
    assert missed(everything, level="tcp") == []
    assert missed({**everything, "truncation": 0}, level="tcp") == ["truncation"]


@pytest.mark.parametrize(
    "words", [["--seeds", "9-3"], ["--replicas", "many"], ["--level", "udp"], ["--seeds", "1-2", "--trace"]]
)
def test_the_command_refuses_what_it_does_not_understand(words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(words)
    assert refused.value.code == 2
