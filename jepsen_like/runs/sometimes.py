"""Counts of what happened in a run: a long campaign that never met something has not tested it.

They come from the history, the final log, the output of the replicas, and their counters that were polled. The rule: a
count may miss what a replica did just before it was killed; it never counts what did not happen.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from jepsen_like.checkers.evidence import Evidence
from jepsen_like.history.logged import Event, Log
from jepsen_like.history.record import Fault, Operation
from jepsen_like.runs.polling import Polling

#: name -> what it says; a night that has not seen all of it has not passed
REQUIRED: Final[dict[str, str]] = {
    "leader elected": "a replica came to lead, the first of each group not counted",
    "unknown write applied": "a write that had no outcome turned out to be applied",
    "unknown write never applied": "a write that had no outcome never got into the log",
    "write refused": "a write was decided and refused, with its place in the log",
    "write not applied": "a write was turned away before the log, and its client told so",
    "write under a fault": "a write was acknowledged while a fault was active",
    "read under a fault": "a read was answered while a fault was active",
    "write forwarded": "a follower passed a write to its leader",
    "retry replayed": "a request that was asked again got the reply that it had been given",
    "replica ended": "a replica ended under a fault",
    "replica started again": "a replica came back on its folder",
    "leader stepped down": "a leader made way because it could not reach a majority",
    "tail cut": "a follower cut a tail that conflicted with its leader's log",
    "snapshot taken": "a replica took a snapshot",
    "log compacted": "a log was freed of what a snapshot covers",
    "snapshot installed": "a follower began anew from its leader's snapshot",
    "member changed": "a replica was taken in, promoted or removed",
    "lock expired": "a hold whose time was over was ended",
    "lock handed on": "a lock went to one who waited for it",
    "claim expired": "a task whose claim was over was given back",
    "memory expired": "a memory whose time was over was ended",
    "stale token refused": "whoever named a token no longer in force was refused",
    "guard refused": "a write was refused because what it was conditioned on was no longer so",
}
#: op of the log -> what it counts as
OPS: Final = {
    "MEMBER": "member changed",
    "LOCK_EXPIRE": "lock expired",
    "LOCK_GRANT": "lock handed on",
    "TASK_EXPIRE": "claim expired",
    "EXPIRE": "memory expired",
}
CODES: Final = {"stale-token": "stale token refused", "precondition-failed": "guard refused"}
#: words of a replica's output -> what they count as
WORDS: Final = {
    "installed a snapshot": "snapshot installed",
    "the state was made again from": "state made again",
    " steps down in term ": "leader stepped down",
}
ENDING: Final = ("kill", "restart", "power-loss", "flip", "truncate")  # how nemeses begin that end processes
STARTED: Final = ", applied index "  # what a replica writes once at each start


def counted(
    evidence: Evidence, *, outputs: Iterable[str] = (), polled: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The counts, with a zero for each required event that was never met.

    `outputs`: all that each replica wrote. `polled`: what their counters showed (see `of_counters`).
    """
    seen: Counter[str] = Counter(polled or {})
    _operations(seen, evidence)
    _faults(seen, evidence.history.faults)
    if evidence.log is not None:
        _log(seen, evidence.log)
    texts = list(outputs)
    for words, what in WORDS.items():
        seen[what] += sum(text.count(words) for text in texts)
    seen["replica started again"] += sum(max(0, text.count(STARTED) - 1) for text in texts)
    return {what: seen[what] for what in sorted(seen.keys() | REQUIRED.keys()) if seen[what] or what in REQUIRED}


def of_counters(polling: Polling) -> dict[str, int]:
    """The counts that only /metrics tells."""
    return {
        "write forwarded": round(polling.total("raftmem_service_forwarded_total")),
        "retry replayed": round(polling.total("raftmem_service_replayed_total")),
        "tail cut": round(polling.total("raftmem_log_truncations_total")),
        "snapshot taken": polling.replicas_above("raftmem_snapshot_newest_index", 0),
        "log compacted": polling.replicas_above("raftmem_log_first_index", 1),
    }


def missed(seen: Mapping[str, int]) -> list[str]:
    """The events that a night should have met and did not."""
    return [what for what in REQUIRED if not seen.get(what)]


def _operations(seen: Counter[str], evidence: Evidence) -> None:
    intervals = [(fault.at, end) for fault, end in _intervals(evidence.history.faults)]
    for operation in evidence.history.operations:
        match operation.type:
            case "unknown":
                seen["unknown write"] += 1
                if evidence.log is not None:
                    seen[_fate(evidence.log.of(operation))] += 1
            case "fail" if operation.index is None and not reads(operation):
                seen["write not applied"] += 1
            case "ok" if any(begin <= operation.call < end for begin, end in intervals):
                seen["read under a fault" if reads(operation) else "write under a fault"] += 1
            case _:
                pass


def reads(operation: Operation) -> bool:
    """A read tells the level at which it ran; one that failed may not."""
    return operation.level is not None or operation.f in ("read", "watch")


def _fate(events: tuple[Event, ...]) -> str:
    if not events:
        return "unknown write never applied"
    applied = any(event.outcome == "applied" for event in events)
    return "unknown write applied" if applied else "unknown write refused"


def _intervals(faults: Iterable[Fault]) -> list[tuple[Fault, float]]:
    """Each fault that began, and when it ended."""
    open_: dict[str, Fault] = {}
    found: list[tuple[Fault, float]] = []
    for fault in faults:
        if fault.event == "end" and fault.name in open_:
            found.append((open_.pop(fault.name), fault.at))
        elif fault.event == "begin":
            open_[fault.name] = fault
    return [*found, *((fault, float("inf")) for fault in open_.values())]


def _faults(seen: Counter[str], faults: Iterable[Fault]) -> None:
    for fault in faults:
        if fault.event == "begin":
            seen[f"fault: {fault.name}"] += 1
            if fault.name.startswith(ENDING):
                seen["replica ended"] += len(fault.targets)


def _log(seen: Counter[str], log: Log) -> None:
    terms = set[int]()
    for event in log.events:
        terms.add(event.term)
        if event.outcome == "refused":
            seen["write refused"] += 1
        if event.op in OPS and event.outcome == "applied":
            seen[OPS[event.op]] += 1
        if event.code in CODES:
            seen[CODES[event.code]] += 1
    seen["leader elected"] += max(0, len(terms - {0}) - 1)
