"""A check that a run tested anything: a run with too few successes proves nothing, whatever the other checkers say."""

from collections import Counter
from collections.abc import Collection
from typing import get_args

from jepsen_like.checkers.evidence import Checker, Evidence, Finding
from jepsen_like.history.record import Operation, Type


def checker(fewest_ok: int, names: Collection[str] | None = None) -> Checker:
    """`names`: of the operations that count; all of them if None. Each that is named must have succeeded once."""

    def check(evidence: Evidence) -> Finding:
        counted = [one for one in evidence.history.operations if names is None or one.f in names]
        succeeded = Counter(one.f for one in counted if one.type == "ok")
        missing = sorted(set(names or ()) - succeeded.keys())
        enough = succeeded.total() >= fewest_ok and not missing
        summary = f"{succeeded.total()} of {len(counted)} operations succeeded, at least {fewest_ok} were wanted"
        if missing:
            summary += f"; none of {', '.join(missing)}"
        return Finding(
            name="tested",
            verdict="good" if enough else "unknown",
            summary=summary,
            details=_table(counted),
            counts={"ok": succeeded.total(), "operations": len(counted)},
        )

    return check


def _table(operations: Collection[Operation]) -> tuple[str, ...]:
    """By name and outcome, by level, by replica."""
    outcomes = Counter((one.f, one.type) for one in operations)
    lines = []
    for f in sorted({f for f, _ in outcomes}):
        told = [f"{outcomes[f, type_]} {type_}" for type_ in get_args(Type) if outcomes[f, type_]]
        lines.append(f"{f}: {', '.join(told)}")
    for what, found in (
        ("level", Counter(one.level for one in operations if one.type == "ok" and one.level is not None)),
        ("replica", Counter(one.node for one in operations if one.type == "ok" and one.node is not None)),
    ):
        lines += [f"{what} {name}: {count} ok" for name, count in sorted(found.items())]
    return tuple(lines)
