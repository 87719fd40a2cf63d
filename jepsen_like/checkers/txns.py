"""Transactions: each stands in the log whole, in one entry, or not at all.

The rule: the operations that a transaction names (`value["ops"]`) are those that the log shows as applied under its
request, after a TXN, at one index. Of a refused transaction nothing is applied.
"""

from jepsen_like.checkers.complaints import Complaints, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.history.logged import Event
from jepsen_like.history.record import Operation

NAME = "transactions"


def check(evidence: Evidence) -> Finding:
    found = Complaints(NAME)
    if evidence.log is None:
        found.doubt("nobody could be asked for the log")
        return found.finding("")
    whole = refused = 0
    for operation in evidence.history.operations:
        ops = operation.value.get("ops") if isinstance(operation.value, dict) else None
        if not isinstance(ops, list):
            continue
        applied = [event for event in evidence.log.of(operation) if event.outcome == "applied"]
        _judge(operation, [str(op) for op in ops], applied, found)
        whole += bool(applied)
        refused += operation.type == "fail"
    counts = {"whole": whole, "refused": refused}
    return found.finding(f"{whole} transactions stand in the log whole, of {refused} refused ones nothing", counts)


def _judge(operation: Operation, ops: list[str], applied: list[Event], found: Complaints) -> None:
    if operation.type == "fail":
        if applied:
            found.add("refused-and-applied", f"{tell(operation)}: {_shown(applied)}")
        return
    if not applied:
        if operation.type == "ok":
            found.add("lost", tell(operation))
        return
    if len({event.index for event in applied}) > 1 or [event.op for event in applied] != ["TXN", *ops]:
        found.add("torn", f"{tell(operation)}: {_shown(applied)}")
    elif operation.type == "ok" and operation.index != applied[0].index:
        found.add("misplaced", f"{tell(operation)}: it stands at index {applied[0].index}")


def _shown(events: list[Event]) -> str:
    return ", ".join(f"{event.op} at {event.index}" for event in events)
