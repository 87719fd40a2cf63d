"""How long nobody was served, from histories small enough to be counted by hand."""

import pytest
from made_up_run import MS, S

from jepsen_like.history.record import Fault, Operation, Type
from jepsen_like.report.availability import Gap, Window, gaps, is_served, longest, outages, windows


def op(call: int, end: int | None, *, type_: Type = "ok", f: str = "write", error: str | None = None) -> Operation:
    return Operation(process=0, f=f, type=type_, call=call, return_=end, error=error)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        pytest.param([], [], id="nothing was asked"),
        pytest.param([op(10, 14)], [Gap(10, 14)], id="the latency of the only one"),
        pytest.param([op(0, 2), op(100, 103)], [Gap(0, 2), Gap(100, 103)], id="a quiet phase is no outage"),
        pytest.param([op(0, 2), op(1, 90)], [Gap(0, 2), Gap(2, 90)], id="somebody was waiting"),
        pytest.param(
            [op(0, 2), op(5, 50, type_="fail", error="no-leader"), op(60, 64)],
            [Gap(0, 2), Gap(5, 64)],
            id="no leader is no service",
        ),
        pytest.param(
            [op(0, 2), op(5, 9, type_="fail", error="lock-held"), op(60, 64)],
            [Gap(0, 2), Gap(5, 9), Gap(60, 64)],
            id="a lock that is held is service",
        ),
        pytest.param(
            [op(0, 2), op(3, None, type_="unknown", error="lost"), op(30, 31)], [Gap(0, 2), Gap(3, 31)], id="unknown"
        ),
        pytest.param(
            [op(0, 2), op(3, 40, type_="fail", error="unreached")], [Gap(0, 2), Gap(3, 40)], id="down to the end"
        ),
        pytest.param(
            [op(0, 2), op(1, 500, f="watch"), op(400, 402)],
            [Gap(0, 2), Gap(400, 402)],
            id="an open stream asks nothing",
        ),
    ],
)
def test_gaps_are_times_in_which_somebody_asked_and_nobody_was_served(
    operations: list[Operation], expected: list[Gap]
) -> None:
    assert list(gaps(operations)) == expected


def test_every_code_of_a_replica_that_does_not_serve_is_no_service() -> None:
    codes = ("no-leader", "no-quorum", "unknown-outcome", "consistency-timeout", "no-space", "lost", "unreached")
    assert [code for code in codes if is_served(op(0, 1, type_="fail", error=code))] == []
    assert is_served(op(0, 1, type_="fail", error="stale-token"))


def test_windows_pair_begin_and_end_of_each_fault() -> None:
    found = windows(
        [
            Fault(name="clock", event="unavailable", at=0, detail="no faketime"),
            Fault(name="kill", event="begin", at=5, targets=("n1",), detail="it"),
            Fault(name="pause", event="begin", at=7),
            Fault(name="kill", event="end", at=9),
            Fault(name="kill", event="begin", at=20),
        ]
    )
    assert found == (
        Window("kill", 5, 9, ("n1",), "it"),
        Window("pause", 7, None, (), ""),
        Window("kill", 20, None, (), ""),
    )


def test_fault_answers_for_its_recovery_but_not_for_what_came_before_or_for_the_next_fault() -> None:
    steady = [op(at * 100 * MS, at * 100 * MS + MS) for at in range(200) if not _is_out(at * 100 * MS)]
    hung = [op(out, end, type_="fail", error="no-leader") for out, end in OUT]
    operations = sorted([*steady, *hung], key=lambda one: one.call)
    kinds = {
        one.name: one
        for one in outages(operations, [Window("kill", 2 * S, 4 * S, (), ""), Window("pause", 8 * S, 9 * S, (), "")])
    }
    kill, pause = kinds["kill"], kinds["pause"]
    assert (kill.strikes, kill.lasted_ns) == (1, 2 * S)
    assert kill.longest == Gap(int(5.0 * S), int(7.5 * S) + MS)  # in its recovery, whole
    assert pause.longest == Gap(int(8.5 * S), int(10.0 * S) + MS)


OUT = ((int(1.0 * S), int(2.5 * S)), (int(5.0 * S), int(7.5 * S)), (int(8.5 * S), int(10.0 * S)))


def _is_out(at: int) -> bool:
    return any(begin <= at < end for begin, end in OUT)


def test_part_of_a_gap_before_the_fault_is_not_put_to_it() -> None:
    operations = [op(0, 1), op(2, 90, type_="fail", error="no-leader"), op(95, 100)]
    (found,) = outages(operations, [Window("kill", 60, 80, (), "")])
    assert found.longest == Gap(60, 100)


def test_writes_are_counted_apart_from_reads() -> None:
    operations = [op(at * MS, at * MS + 1, f="read") for at in range(100)]
    operations = sorted([*operations, op(0, 2), op(3 * MS, 80 * MS)], key=lambda one: one.call)
    (found,) = outages(operations, [Window("slow-disk", 2 * MS, 90 * MS, (), "")])
    assert found.longest_write == Gap(3 * MS, 80 * MS)
    assert found.longest is not None
    assert found.longest.ns <= MS
    assert longest(gaps([])) is None
