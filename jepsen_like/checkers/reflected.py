"""Every answer shows the log as of the index that it names, and none at a strong level names an old one.

A read of one memory, at any level and from any replica, tells the version and the value that the last event at or
before its index left, as far as the payloads determine it. A lease or linearizable read names an index at least as
great as any that a client was told before the call. No reply is one that a healthy replica never gives.
"""

from bisect import bisect_right
from collections import defaultdict
from operator import itemgetter
from typing import Final

from msgspec import Struct

from jepsen_like.checkers.complaints import Complaints, short, tell
from jepsen_like.checkers.contents import ABSENT, UNKNOWN, Beginning, Content, Contents
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import in_time
from jepsen_like.history.logged import Log
from jepsen_like.history.record import Operation


class Versions(Struct):
    """Of one memory, rising; the last one of each entry."""

    indexes: list[int] = []
    contents: list[Content] = []

    def at(self, index: int) -> Content:
        place = bisect_right(self.indexes, index)
        return self.contents[place - 1] if place else ABSENT


NEVER: Final = Versions()


def check(evidence: Evidence) -> Finding:
    complaints = Complaints("reflected")
    fresh = _fresh(evidence.history.operations, complaints)
    compared = 0
    for one in evidence.history.operations:
        if one.error == "nonsense":
            complaints.add("nonsense", f"{tell(one)}: {one.result}")
    if evidence.log is None:
        complaints.doubt("nobody could be asked for the log")
    else:
        memories = _versions(evidence.log)
        newest = evidence.log.events[-1].index if evidence.log.events else 0
        for one in evidence.history.operations:
            known = one.key in memories or _tells_a_memory(one.result)
            if one.f == "read" and one.type == "ok" and one.index is not None and known:
                compared += 1
                if one.index > newest:
                    complaints.add("beyond-the-log", f"{tell(one)}: the log ends at {newest}")
                else:
                    _compare(one, memories.get(one.key, NEVER).at(one.index), complaints)
    return complaints.finding(
        f"{compared} reads told what the log says at their index; {fresh} at a strong level were not behind",
        {"compared": compared, "strong": fresh},
    )


def _versions(log: Log) -> dict[str, Versions]:
    contents = Contents()
    found: defaultdict[str, Versions] = defaultdict(Versions)
    for event in log.events:
        if contents.apply(event) and event.memory_id is not None:
            versions = found[event.memory_id]
            if versions.indexes and versions.indexes[-1] == event.index:
                versions.contents[-1] = contents.newest[event.memory_id]
            else:
                versions.indexes.append(event.index)
                versions.contents.append(contents.newest[event.memory_id])
    return found


def _tells_a_memory(result: object) -> bool:
    """Even one that the log has never had; not a set, a gate or a bank, which are more than one memory, or none."""
    return isinstance(result, int | str) or (isinstance(result, dict) and "version" in result)


def _compare(read: Operation, content: Content, complaints: Complaints) -> None:
    told, result = read.result, read.result
    version: object = None
    if isinstance(result, dict) and "version" in result:
        version, told = result["version"], result.get("value", UNKNOWN)
    if not content.alive:
        if told not in (None, [], 0):
            complaints.add("shows-what-is-not", f"{tell(read)}: by the log there is nothing at index {read.index}")
        return
    if version is not None and version != content.version:
        complaints.add(
            "wrong-version", f"{tell(read)}: by the log it is version {content.version} at index {read.index}"
        )
    elif not _equal(told, content.value):
        value = content.value
        shown = value.whole[: value.length] if isinstance(value, Beginning) else value
        complaints.add("wrong-value", f"{tell(read)}: by the log it is {short(shown)} at index {read.index}")


def _equal(told: object, logged: object) -> bool:
    """A value that the log does not determine equals anything; so does a workload's word on a part of a document."""
    if logged is UNKNOWN or told is UNKNOWN or (isinstance(logged, dict) and not isinstance(told, dict)):
        return True
    return logged.equals(told) if isinstance(logged, Beginning) else told == logged


def _fresh(operations: tuple[Operation, ...], complaints: Complaints) -> int:
    answered = [one for one in operations if one.index is not None and one.type != "unknown"]
    reads = [one for one in answered if one.type == "ok" and one.level in ("lease", "linearizable")]
    most: tuple[int, Operation | None] = (0, None)
    for one, returned in in_time(reads, answered):
        index = one.index or 0
        if returned:
            most = max(most, (index, one), key=itemgetter(0))
        elif index < most[0] and most[1] is not None:
            complaints.add("stale-read", f"{tell(one)}, called after {tell(most[1])}")
    return len(reads)
