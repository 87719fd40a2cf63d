"""Sometimes-assertions: events that a campaign must have met, or its silence proves nothing.

A schedule counts what it meets; a campaign adds up, prints the table, and fails when something required never came.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

CAMPAIGN_SEEDS: Final = 200  # fewer seeds may miss something by chance

#: name -> what it says
REQUIRED: Final[dict[str, str]] = {
    "truncation": "a follower cut a tail that conflicted with its leader's log",
    "election during an unknown write": "a leader was elected while a write had no outcome yet",
    "unknown write applied": "a write whose answer was lost turned out to be applied",
    "unknown write lost": "a write whose answer was lost turned out never to be applied",
    "refused write": "a forwarded write was refused with a reason",
    "lease refused": "a leader without a lease refused a lease read",
    "pre-vote denied": "a replica that could not win was told so and did not raise the term",
    "vote refused": "a candidate was refused a vote",
    "torn tail": "a crash tore a commit of the log that held entries, and the replica started again",
    "crash between commit and answer": "a commit of the log reached the disk, its replica died before it knew",
    "full disk": "a write of the log found no room",
    "failed sync": "a replica stopped for a failed sync",
    "state rebuilt": "a state that was not trusted after a stop of the machine was made again",
    "compaction": "the front of a log was removed",
    "snapshot installed": "a follower began anew from a snapshot",
    "snapshot resumed": "a snapshot transfer went on where it was broken off",
    "crash during a snapshot": "a replica died in the middle of work on a snapshot",
    "crash in an install": "a replica died when its log began at a snapshot and its state did not hold it yet",
    "transfer done": "a leader gave way to the voter that it named",
    "learner promoted": "a new replica caught up and became a voter",
    "member removed": "a member left the group",
    "wiped folder refused": "a replica with an emptied folder was not talked to under its old id",
    "lease expired": "the leader ended a hold whose time was over",
    "waiter granted after an expiry": "a lock went from one whose time was over to who waited for it",
    "renewal after a leader change": "a hold that one leader had granted was renewed under the next",
    "renewals in one entry": "renewals that came at about the same time shared an entry",
    "stale token refused": "whoever named a token that was no longer in force was refused",
    "expired claim completed by another": "a task went on to another worker when its claim ran out, who completed it",
}
REQUIRED_OF_ASYNC: Final = (
    "election during an unknown write",
    "lease refused",
    "pre-vote denied",
    "snapshot installed",
)


class Sometimes(Counter[str]):
    """The events that one schedule, or a whole campaign, has met."""

    def saw(self, what: str) -> None:
        self[what] += 1


def missed(seen: Mapping[str, int], *, level: str) -> list[str]:
    required = REQUIRED_OF_ASYNC if level == "async" else tuple(REQUIRED)
    return [what for what in required if not seen.get(what)]


def table(seen: Mapping[str, int]) -> str:
    """One line each, what is required first."""
    others = sorted(seen.keys() - REQUIRED.keys())
    lines = [f"{seen.get(what, 0):>9}  {what}: {says}" for what, says in REQUIRED.items()]
    return "\n".join([*lines, *(f"{seen[what]:>9}  {what}" for what in others)])
