"""Idempotency keys: a write under one key happens once and is told alike, however often it is asked for.

For each key the log has at most one entry with an effect, and all acknowledgements name that entry and tell the same.
In the end, counters are the sum over keys, not over attempts. Keys are those of one actor, or unique in a run.
"""

from collections import defaultdict

from msgspec import Struct, convert

from jepsen_like.checkers.complaints import Complaints, short, tell
from jepsen_like.checkers.counters import final_values
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import applied
from jepsen_like.history.logged import Log
from jepsen_like.history.record import Operation


class _Told(Struct, frozen=True):
    value: int


def check(evidence: Evidence) -> Finding:
    """Counters as in `counters.py`; each operation adds its value."""
    complaints = Complaints("idempotency")
    keys: defaultdict[str, list[Operation]] = defaultdict(list)
    for one in evidence.history.operations:
        if one.idempotency is not None:
            keys[one.idempotency].append(one)
    if not keys:
        complaints.doubt("nothing was asked under a key")
    if evidence.log is None:
        complaints.doubt("nobody could be asked for the log")
    sums: defaultdict[str, int] = defaultdict(int)
    values: dict[tuple[str, int], str] = {}
    for key, attempts in keys.items():
        indexes = _same(key, attempts, complaints)
        if evidence.log is not None:
            indexes = _once(key, attempts, indexes, evidence.log, complaints)
        if indexes and attempts[0].f == "add":
            sums[attempts[0].key] += convert(attempts[0].value, int)
            _own_value(key, attempts, values, complaints)
        elif attempts[0].f == "add":
            sums[attempts[0].key] += 0
    if evidence.log is not None:
        final = final_values(evidence)
        for counter, expected in sums.items():
            if counter not in final:
                complaints.doubt(f"nobody read {counter} in the end")
            elif final[counter] != expected:
                complaints.add("wrong-sum", f"{counter} is {final[counter]} in the end; its keys had {expected} in all")
    again = sum(len(attempts) for attempts in keys.values()) - len(keys)
    return complaints.finding(
        f"{len(keys)} keys, asked again {again} times, each had one effect at most and was told one thing",
        {"keys": len(keys), "again": again},
    )


def _same(key: str, attempts: list[Operation], complaints: Complaints) -> set[int]:
    """The indexes that were told."""
    told = [one for one in attempts if one.type == "ok"]
    for one in told[1:]:
        if (one.index, one.result) != (told[0].index, told[0].result):
            complaints.add("told-differently", f"{key}: {tell(told[0])}; {tell(one)}")
    return {one.index for one in told if one.index is not None}


def _once(key: str, attempts: list[Operation], told: set[int], log: Log, complaints: Complaints) -> set[int]:
    """The indexes at which it had an effect."""
    effects = {event.index for one in attempts for event in applied(log, one)}
    logged = {event.index for one in attempts for event in log.of(one) if event.outcome == "applied"}
    if len(effects) > 1:
        complaints.add(
            "two-effects",
            f"{key} had an effect at the indexes {sorted(effects)}: {'; '.join(tell(one) for one in attempts)}",
        )
    if told - logged:
        complaints.add("effect-lost", f"{key} was told index {short(sorted(told - logged))}, where it did nothing")
    return effects


def _own_value(key: str, attempts: list[Operation], values: dict[tuple[str, int], str], complaints: Complaints) -> None:
    """Of two keys that added to one counter, no two were told the same value."""
    for one in attempts:
        if one.type == "ok" and isinstance(one.result, dict) and "value" in one.result:
            told = convert(one.result, _Told).value
            if values.setdefault((one.key, told), key) != key:
                complaints.add("lost-update", f"{values[one.key, told]} and {key} were both told {told}: {tell(one)}")
