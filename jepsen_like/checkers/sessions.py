"""Sessions: a read that names the index which its client has seen shows at least that; a session never goes back."""

from collections import defaultdict

from jepsen_like.checkers.complaints import Complaints, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.history.record import Operation


def check(evidence: Evidence) -> Finding:
    complaints = Complaints("sessions")
    seen: defaultdict[int, tuple[int, Operation | None]] = defaultdict(lambda: (0, None))
    count = 0
    for one in evidence.history.operations:  # in the order of their calls, and a process does one at a time
        if one.index is None or one.type == "unknown":
            continue
        most, before = seen[one.process]
        if one.level == "session" and one.type == "ok":
            count += 1
            asked = one.value.get("min_index") if isinstance(one.value, dict) else None
            if isinstance(asked, int) and one.index < asked:
                complaints.add("behind-min-index", f"{tell(one)}: it asked for index {asked}")
            elif one.index < most and before is not None:
                complaints.add("went-back", f"{tell(one)}, after {tell(before)}")
        if one.index > most:
            seen[one.process] = one.index, one
    return complaints.finding(f"{count} session reads, none behind what its session had seen", {"session reads": count})
