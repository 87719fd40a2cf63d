"""Locks, semaphores and fencing: one holder at a time by the log, tokens that exist, and a resource that is unharmed.

The log is judged by `holds.py`, and by `lease_ends.py` in true time. Every token that a client was told was granted to
that client, at the index that the token is, and to nobody else. The guarded resource (`use`, which reads a number and
writes it one higher) was read once at each number, saw no falling token if it was fenced, and ends with the number of
uses.
"""

from collections import defaultdict
from itertools import pairwise
from operator import itemgetter

from msgspec import Struct, convert

from jepsen_like.checkers.complaints import Complaints, tell, when
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.holds import Holds
from jepsen_like.checkers.lease_ends import check_ends
from jepsen_like.history.record import Operation


class _Asked(Struct, frozen=True):
    owner: str
    token: int | None = None
    permits: int = 1


class _Granted(Struct, frozen=True):
    token: int


class _Used(Struct, frozen=True):
    read: int
    wrote: int


def check(evidence: Evidence) -> Finding:
    """`Ending.extra`: `resource`: the number in it, or key -> number; `fenced`: whether it looks at tokens."""
    complaints = Complaints("locks")
    holds = Holds(complaints)
    ends = 0
    if evidence.log is None:
        complaints.doubt("nobody could be asked for the log")
    else:
        holds.replay(evidence.log)
        ends = check_ends(evidence.history.operations, evidence.log, complaints)
    acquired = [one for one in evidence.history.operations if one.f == "acquire" and one.type == "ok"]
    _told(acquired, None if evidence.log is None else holds, complaints)
    uses = [one for one in evidence.history.operations if one.f == "use"]
    _resource(uses, evidence.ending.extra, complaints)
    if not acquired and not holds.grants and not uses:
        complaints.doubt("no lock was taken")
    used = sum(one.type == "ok" for one in uses)
    return complaints.finding(
        f"{len(holds.grants)} grants of {len(holds.locks)} locks, never more holders than permits; "
        f"{ends} holds and waits ran out, none early; {len(acquired)} tokens told, "
        f"{holds.guarded} writes under a guard, {used} uses of a resource",
        {"grants": len(holds.grants), "ran out": ends, "told": len(acquired), "guarded": holds.guarded, "uses": used},
    )


def _told(acquired: list[Operation], holds: Holds | None, complaints: Complaints) -> None:
    owners: dict[tuple[str, int], tuple[str, Operation]] = {}
    for one in acquired:
        asked, token = convert(one.value, _Asked), convert(one.result, _Granted).token
        if holds is not None and (one.key, asked.owner, token) not in holds.grants:
            complaints.add("token-without-grant", f"{tell(one)}: the log has no such grant")
        if asked.permits > 1:  # one entry may serve several who wait
            continue
        owner, first = owners.setdefault((one.key, token), (asked.owner, one))
        if owner != asked.owner:
            complaints.add("one-token-for-two", f"{tell(first)}; {tell(one)}")


# --- the resource -----------------------------------------------------------------------------------
def _resource(uses: list[Operation], extra: dict[str, object], complaints: Complaints) -> None:
    keys: defaultdict[str, list[tuple[int, Operation]]] = defaultdict(list)
    for one in uses:
        if one.type == "ok":
            keys[one.key].append((convert(one.result, _Used).read, one))
        elif one.type == "unknown":
            complaints.doubt(f"nobody knows whether it was done: {tell(one)}")
    numbers = convert(extra.get("resource"), int | dict[str, int] | None)
    for key, accepted in keys.items():
        accepted.sort(key=itemgetter(0))
        _no_update_lost(key, accepted, complaints)
        if extra.get("fenced") is not False:
            _tokens_rise(accepted, complaints)
        last = numbers.get(key) if isinstance(numbers, dict) else numbers
        if last is None:
            complaints.doubt(f"nobody read the resource {key} in the end")
        elif last != len(accepted):
            complaints.add("wrong-sum", f"{key} was used {len(accepted)} times, and its number in the end is {last}")


def _no_update_lost(key: str, accepted: list[tuple[int, Operation]], complaints: Complaints) -> None:
    for (number, one), (same, other) in pairwise(accepted):
        if number == same:
            complaints.add(
                "lost-update",
                f"{_user(one)} and {_user(other)} both read {number} from {key} and both wrote {number + 1} "
                f"({when(one)} and {when(other)}): one of the two updates is gone",
            )
    for number, one in accepted:
        if convert(one.result, _Used).wrote != number + 1:
            complaints.add("wrong-write", tell(one))


def _tokens_rise(accepted: list[tuple[int, Operation]], complaints: Complaints) -> None:
    """In the order in which the numbers tell that they came."""
    for (_, one), (_, other) in pairwise(accepted):
        before, after = convert(one.value, _Asked).token or 0, convert(other.value, _Asked).token or 0
        if after < before:
            complaints.add("token-falls", f"{_user(other)} was let in after {_user(one)} ({when(other)})")


def _user(operation: Operation) -> str:
    asked = convert(operation.value, _Asked)
    return f"{asked.owner} (process {operation.process}, token {asked.token})"
