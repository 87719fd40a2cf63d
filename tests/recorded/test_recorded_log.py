"""The recorded logs of format version 1 must replay to their recorded digests, for ever.

A red test here means that logs that exist would come to another state: the program is wrong, not the record.
"""

from pathlib import Path
from typing import get_args

import pytest
from replay_digest import FOLDER, digests, entries, replayed

from raftmem.model import codec
from raftmem.model.commands import GateOperation, LockOperation, TaskOperation, Txn
from raftmem.model.coordination_rows import Gate, Hold, Lock, Task, Waiter
from raftmem.model.records import PutRow
from raftmem.replica.replay import replay
from raftmem.storage.state.contract import StateStore
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

LOG = FOLDER / "v1.log"
COORDINATION = FOLDER / "v1-coordination.log"
LOGS = [LOG, COORDINATION]


def recorded(log: Path) -> str:
    return log.with_suffix(".digest").read_text()


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_recorded_log_replays_to_its_recorded_digests(log: Path) -> None:
    assert digests(replayed(entries(log))) == recorded(log)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_recorded_log_replays_on_each_store(kind: str, log: Path, tmp_path: Path) -> None:
    store: StateStore = InMemoryStateStore() if kind == "memory" else LmdbStateStore(tmp_path / "s", map_bytes=64 << 20)
    head = replay(entries(log), store)
    assert f"{head.index} {head.digest.hex()}" == recorded(log).splitlines()[-1]
    store.close(clean=True)


def test_recorded_log_covers_the_format() -> None:
    applied = replayed(entries(LOG))
    outcomes = [outcome for one in applied for outcome in one.row.result.outcomes]
    assert {outcome.code for outcome in outcomes} == {
        None,
        "already-exists",
        "batch-refused",
        "idempotency-key-reused",
        "invalid-request",
        "merge-type",
        "moved",
        "not-found",
        "precondition-failed",
        "too-large",
        "wrong-state",
    }
    assert {outcome.op for outcome in outcomes if outcome.applied} == {"ADD", "UPDATE", "DELETE", "NOOP", "EXPIRE"}
    assert any(one.row.result.replay_of for one in applied)
    assert {one.entry.kind for one in applied} == {codec.COMMAND, codec.NO_OP, codec.MEMBERSHIP}
    merges = [merge.op for one in applied for content in one.entry.contents if content for merge in content.merge or ()]
    assert set(merges) == {"inc", "max", "min", "append", "union", "remove", "set"}
    assert {change.__struct_config__.tag for one in applied for change in one.step.changes} == {
        "record",
        "key",
        "drop_key",
    }


def test_recorded_log_of_coordination_covers_it() -> None:
    applied = replayed(entries(COORDINATION))
    outcomes = [outcome for one in applied for outcome in one.row.result.outcomes]
    assert {outcome.code for outcome in outcomes} == {
        None,
        "already-exists",
        "batch-refused",
        "dependency-cycle",
        "forbidden",
        "idempotency-key-reused",
        "invalid-request",
        "lock-held",
        "moved",
        "not-found",
        "permits-mismatch",
        "precondition-failed",
        "stale-token",
        "wrong-state",
    }
    operations = (*get_args(LockOperation), *get_args(TaskOperation), *get_args(GateOperation), Txn)
    tags = {operation.__struct_config__.tag for operation in operations}
    done = {name for outcome in outcomes if outcome.applied for name in (outcome.op, outcome.requested_op) if name}
    assert done == tags | {"ADD", "UPDATE", "DELETE", "NOOP", "LOCK_WAIT", "LOCK_GRANT", "GATE_CLOSE"}
    things = [change for one in applied for change in one.step.changes if isinstance(change, PutRow)]
    assert {type(change.new) for change in things} == {Lock, Hold, Waiter, Task, Gate, type(None)}
    assert {change.__struct_config__.tag for one in applied for change in one.step.changes} == {
        "record",
        "key",
        "drop_key",
        "thing",
        "content",
    }
    assert {outcome.about.succeeded for outcome in outcomes if outcome.op == "TXN" and outcome.about} == {
        True,
        False,
        None,
    }
    assert any(one.row.result.replay_of for one in applied)


def test_the_example_of_the_document_is_in_the_recorded_log() -> None:
    document = (FOLDER.parents[1] / "docs" / "format.md").read_text()
    example = next(line for line in document.splitlines() if len(line) > 100 and set(line) <= set("0123456789abcdef"))
    assert [entry.index for entry in entries(LOG) if entry.data.hex() == example] == [20]
