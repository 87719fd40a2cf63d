"""What happened in a run is counted from what it left, and only what happened."""

import msgspec

from jepsen_like.checkers.evidence import Evidence
from jepsen_like.history.logged import Event, log_of
from jepsen_like.history.record import Fault, History, Operation
from jepsen_like.runs import sometimes


def _event(index: int, op: str, *, term: int = 1, **more: str) -> Event:
    return msgspec.convert({"index": index, "seq": 0, "term": term, "op": op, **more}, Event)


OPERATIONS = (
    Operation(process=1, f="write", type="ok", call=5, return_=6, index=3, request="a"),
    Operation(process=1, f="write", type="ok", call=12, return_=15, index=4, request="b"),
    Operation(process=1, f="read", type="ok", call=13, return_=15, index=4, level="lease"),
    Operation(process=1, f="write", type="unknown", call=16, error="lost", request="c"),
    Operation(process=2, f="write", type="unknown", call=17, error="lost", request="d"),
    Operation(process=3, f="write", type="unknown", call=18, error="lost", request="e"),
    Operation(process=4, f="write", type="fail", call=19, return_=20, error="no-leader", request="f"),
    Operation(process=4, f="release", type="fail", call=21, return_=22, index=9, error="stale-token", request="g"),
)
FAULTS = (
    Fault(name="kill-leader", event="begin", at=10, targets=("n1",)),
    Fault(name="kill-leader", event="end", at=20, targets=("n1",)),
    Fault(name="freeze", event="unavailable", at=0, detail="no cgroup"),
)
LOG = log_of(
    [
        _event(1, "RAFT", term=0),
        _event(2, "RAFT"),
        _event(3, "ADD", request_id="a"),
        _event(4, "ADD", request_id="b"),
        _event(5, "ADD", request_id="c"),
        _event(6, "UPDATE", request_id="e", outcome="refused", code="precondition-failed"),
        _event(7, "RAFT", term=3),
        _event(8, "LOCK_EXPIRE", term=3),
        _event(9, "LOCK_RELEASE", term=3, request_id="g", outcome="refused", code="stale-token"),
    ]
)
STARTED = "INFO raftmem.node: n1 serves http://h:1, peers on h:2, applied index 1 of 1, vectors empty\n"


def _counted() -> dict[str, int]:
    evidence = Evidence(history=History(None, OPERATIONS, FAULTS), log=LOG)
    outputs = (STARTED + "WARNING raftmem.raft: n1 steps down in term 1: check-quorum\n" + STARTED, STARTED)
    return {what: count for what, count in sometimes.counted(evidence, outputs=outputs).items() if count}


def test_a_run_is_counted_by_what_its_files_say() -> None:
    assert _counted() == {
        "fault: kill-leader": 1,
        "guard refused": 1,
        "leader elected": 1,
        "leader stepped down": 1,
        "lock expired": 1,
        "read under a fault": 1,
        "replica ended": 1,
        "replica started again": 1,
        "stale token refused": 1,
        "unknown write": 3,
        "unknown write applied": 1,
        "unknown write never applied": 1,
        "unknown write refused": 1,
        "write not applied": 1,
        "write refused": 2,
        "write under a fault": 1,
    }


def test_without_a_log_the_fate_of_unknown_writes_stays_open() -> None:
    seen = sometimes.counted(Evidence(history=History(None, OPERATIONS, FAULTS), log=None))
    assert seen["unknown write"] == 3
    assert "unknown write refused" not in seen
    assert not seen["unknown write never applied"]


def test_a_night_is_told_what_it_never_met() -> None:
    missed = sometimes.missed(_counted())
    assert "snapshot installed" in missed
    assert "lock expired" not in missed
    assert not sometimes.missed(dict.fromkeys(sometimes.REQUIRED, 1))
