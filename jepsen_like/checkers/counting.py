"""Memories that are counted up: every write of the log is one higher than the one before, so that no update was lost.

The rule: `count` writes what its writer read plus one, under a guard that nobody may break. Two that read the same
number write the same number, and the log shows it.
"""

from jepsen_like.checkers.evidence import Evidence, Finding

NAME = "counting"


def check(evidence: Evidence) -> Finding:
    """Of every memory that an operation `count` names."""
    if evidence.log is None:
        return Finding(name=NAME, verdict="unknown", summary="nobody could be asked for the log")
    keys = {operation.key for operation in evidence.history.operations if operation.f == "count"}
    counted: dict[str, int] = {}
    wrong: list[str] = []
    for event in evidence.log.events:
        key = event.memory_id
        if key not in keys or key is None or event.outcome != "applied" or event.op not in ("ADD", "UPDATE"):
            continue
        value = event.payload.get("value") if isinstance(event.payload, dict) else None
        if not isinstance(value, int):
            wrong.append(f"index {event.index}: {key} was given {value!r}, which is no number")
            continue
        before = counted.get(key)
        if before is not None and value != before + 1:
            wrong.append(f"index {event.index}: {key} was {before} and became {value}: an update was lost")
        counted[key] = value
    if wrong:
        return Finding(name=NAME, verdict="bad", summary=f"{len(wrong)} writes do not count up", details=tuple(wrong))
    written = sum(counted.values())
    if not written:
        return Finding(name=NAME, verdict="unknown", summary="nothing was counted")
    summary = f"{written} updates of {len(counted)} guarded memories, none lost"
    return Finding(name=NAME, verdict="good", summary=summary, counts={"updates": written})
