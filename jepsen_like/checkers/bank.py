"""A bank: money moves between accounts, and the total is the same in every read and at every index of the log.

The log is replayed, from the payloads alone: at each index the balances add up to the total, and a read that names an
index told exactly the balances there.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter

from msgspec import convert

from jepsen_like.checkers.complaints import Complaints, short, tell
from jepsen_like.checkers.contents import Contents
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import by_entry
from jepsen_like.history.logged import Log
from jepsen_like.history.record import Operation

Balances = dict[str, int]


def check(evidence: Evidence) -> Finding:
    """`Ending.extra`: `total`; `overdraft` (true: balances may be negative); `balances`: those in the end."""
    complaints = Complaints("bank")
    extra = evidence.ending.extra
    reads = [one for one in evidence.history.operations if one.f == "read" and one.type == "ok"]
    shown = [(tell(one), one.index, convert(one.result, Balances)) for one in reads]
    if "balances" in extra:
        shown.append(("the read in the end", None, convert(extra["balances"], Balances)))
    if not isinstance(extra.get("total"), int):
        complaints.doubt("nobody said what the total is")
        return complaints.finding("")
    if not shown:
        complaints.doubt("nobody read the balances")
    total = convert(extra["total"], int)
    accounts = frozenset(account for _, _, balances in shown for account in balances)
    for who, _, balances in shown:
        if balances.keys() != accounts:
            complaints.add("missing-account", f"{sorted(accounts - balances.keys())} not in {who}")
        elif sum(balances.values()) != total:
            complaints.add("wrong-total", f"{sum(balances.values())} and not {total}: {who}")
        if extra.get("overdraft") is not True and min(balances.values(), default=0) < 0:
            complaints.add("negative", who)
    indexes = 0 if evidence.log is None else _replay(evidence.log, accounts, total, reads, complaints)
    moved = sum(one.f == "transfer" and one.type == "ok" for one in evidence.history.operations)
    return complaints.finding(
        f"the total was {total} in {len(shown)} reads and at {indexes} indexes of the log, over {moved} transfers",
        {"transfers": moved, "reads": len(shown), "indexes": indexes},
    )


def _replay(log: Log, accounts: frozenset[str], total: int, reads: Sequence[Operation], complaints: Complaints) -> int:
    """Returns the number of entries that moved money."""
    contents: Contents = Contents()
    told = sorted(((one.index, one) for one in reads if one.index is not None), key=itemgetter(0))
    position = moves = 0
    for entry in by_entry(log):
        while position < len(told) and told[position][0] < entry[0].index:
            _compare(told[position][1], _balances(contents, accounts), complaints)
            position += 1
        touched = [event for event in entry if contents.apply(event) and event.memory_id in accounts]
        if not touched:
            continue
        balances = _balances(contents, accounts)
        if balances.keys() == accounts:  # else they are only being opened
            moves += 1
            if sum(balances.values()) != total:
                complaints.add(
                    "wrong-total-in-log",
                    f"after index {entry[0].index} the balances add up to {sum(balances.values())}",
                )
    for _, read in told[position:]:
        _compare(read, _balances(contents, accounts), complaints)
    return moves


def _balances(contents: Contents, accounts: frozenset[str]) -> Balances:
    values = {account: contents.value(account) for account in accounts}
    return {account: value for account, value in values.items() if isinstance(value, int)}


def _compare(read: Operation, balances: Mapping[str, int], complaints: Complaints) -> None:
    if balances and convert(read.result, Balances) != balances:
        complaints.add("not-as-logged", f"{tell(read)}; the log has {short(dict(sorted(balances.items())))} there")
