"""A check that each replica whose log was damaged refused to serve, as its nemesis saw it.

A file that was cut off in an unused part is not damaged: then the replica may serve, and other checkers judge it.
"""

from typing import Final

from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.nemeses.damage import REFUSED, SERVES, Flip, FlipVectors, Truncate

MUST_REFUSE: Final = (Flip.name,)
MAY_SERVE: Final = (Truncate.name,)
MUST_SERVE: Final = (FlipVectors.name,)


def check(evidence: Evidence) -> Finding:
    wanted = {
        **dict.fromkeys(MUST_REFUSE, (REFUSED,)),
        **dict.fromkeys(MAY_SERVE, (REFUSED, SERVES)),
        **dict.fromkeys(MUST_SERVE, (SERVES,)),
    }
    struck = [fault for fault in evidence.history.faults if fault.event == "begin" and fault.name in wanted]
    wrong = tuple(f"{one.name}: {one.detail}" for one in struck if not any(w in one.detail for w in wanted[one.name]))
    counts = {"damaged": len(struck), "refused": sum(REFUSED in fault.detail for fault in struck)}
    if wrong:
        summary = f"{len(wrong)} of {len(struck)} replicas with damaged files did not do what they must"
        return Finding(name="refusals", verdict="bad", summary=summary, details=wrong, counts=counts)
    summary = f"{counts['refused']} of {len(struck)} replicas with damaged files refused to serve, as they must"
    return Finding(name="refusals", verdict="good", summary=summary if struck else "no file was damaged", counts=counts)
