"""Sets that only grow: an element that was acknowledged or seen stays, and every element was added by a client."""

from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter

from msgspec import convert

from jepsen_like.checkers.complaints import Complaints, short, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import strong, sweep
from jepsen_like.history.record import Operation

Element = int | str


def check(evidence: Evidence) -> Finding:
    """`Ending.extra["sets"]`: key -> the elements in the end."""
    complaints = Complaints("sets")
    keys: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in evidence.history.operations:
        if operation.f in ("add", "read"):
            keys[operation.key].append(operation)
    if not keys:
        complaints.doubt("nothing was added or read")
    final = convert(evidence.ending.extra.get("sets"), dict[str, list[Element]] | None)
    if final is None:
        complaints.doubt("nobody read the sets in the end")
    for key, operations in keys.items():
        _judge(key, operations, final.get(key, []) if final is not None else None, complaints)
    added = sum(one.f == "add" and one.type == "ok" for one in evidence.history.operations)
    reads = sum(one.f == "read" and one.type == "ok" for one in evidence.history.operations)
    return complaints.finding(
        f"{added} acknowledged elements of {len(keys)} sets are in all of {reads} reads that had to show them",
        {"added": added, "reads": reads},
    )


def _judge(key: str, operations: Sequence[Operation], final: Sequence[Element] | None, complaints: Complaints) -> None:
    adders = {convert(one.value, Element): one for one in operations if one.f == "add"}
    reads = [one for one in operations if one.f == "read" and one.type == "ok"]
    shown = [(one, convert(one.result, list[Element])) for one in reads]
    for read, elements in shown:
        _nothing_made_up(f"{tell(read)}", elements, adders, complaints)
    if final is not None:
        _nothing_made_up(f"{key} in the end", final, adders, complaints)
    sure: list[tuple[int, tuple[str, set[Element]]]] = [
        (one.return_, (tell(one), {element}))
        for element, one in adders.items()
        if one.type == "ok" and one.return_ is not None
    ]
    sure += [(one.return_, (tell(one), set(found))) for one, found in shown if one.return_ is not None]
    calls = [(one.call, (tell(one), set(found))) for one, found in shown if strong(one)]
    if final is not None:
        calls.append((1 << 62, (f"{key} in the end", set(final))))
    known: set[Element] = set()
    witness: dict[Element, str] = {}
    for (who, shown_to), ended in sweep(sorted(calls, key=itemgetter(0)), sorted(sure, key=itemgetter(0))):
        if ended:
            witness.update(dict.fromkeys(shown_to - known, who))
            known |= shown_to
            continue
        for element in sorted(known - shown_to, key=str):
            complaints.add("lost-element", f"{short(element)} is missing from {who}; it was there: {witness[element]}")


def _nothing_made_up(
    who: str, elements: Sequence[Element], adders: dict[Element, Operation], complaints: Complaints
) -> None:
    if len(set(elements)) != len(elements):
        complaints.add("duplicate", who)
    for element in set(elements) - adders.keys():
        complaints.add("never-added", f"{short(element)} in {who}")
    for element in adders.keys() & set(elements):
        if adders[element].type == "fail":
            complaints.add("failed-add", f"{short(element)} in {who}: {tell(adders[element])}")
