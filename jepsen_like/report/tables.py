"""The tables of a run: availability, operations, errors, nodes, levels, what happened sometimes, what could not."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from jepsen_like.history.record import Operation
from jepsen_like.report.availability import RECOVERY_NS, Gap, Window, gaps, is_write, longest, outages
from jepsen_like.report.charts import OUTCOMES
from jepsen_like.report.markup import Markup, element, many
from jepsen_like.report.parts import cell, folded, note, section, table
from jepsen_like.report.series import latency
from jepsen_like.report.words import count, cut, duration

LOG_LINES: Final = 40
LOG_LINE_MAX: Final = 400
LOG_BYTES: Final = 64_000
ROWS_MAX: Final = 60


def availability(operations: Sequence[Operation], faults: Sequence[Window]) -> Markup:
    overall = longest(gaps(operations)), longest(gaps([one for one in operations if is_write(one)]))
    under = outages(operations, faults)
    most = max(
        (gap.ns for gap in (*overall, *(outage.longest_write for outage in under)) if gap is not None), default=1
    )
    rows = [_gap_row("the whole run", "", "", *overall, most=most)]
    rows += [
        _gap_row(one.name, count(one.strikes), duration(one.lasted_ns), one.longest, one.longest_write, most=most)
        for one in under
    ]
    heads = ("fault", "times", "in force for", "longest without any service", "longest without a write")
    told = (
        "The longest time in which somebody asked and nobody was served. A fault answers from its begin until "
        f"{duration(RECOVERY_NS)} after its end, or until the next one begins. A refusal for a reason of the request's "
        "own, a lock that is held for instance, is service."
    )
    return section("Unavailability", note(told), table(heads, rows, class_="stack"), name="availability")


def _gap_row(
    name: str, times: str, lasted: str, any_: Gap | None, write: Gap | None, *, most: int
) -> tuple[Markup, ...]:
    return (
        cell(name, class_="name"),
        cell(times, label="times" if times else None),
        cell(lasted, label="in force for" if lasted else None),
        _gap_cell(any_, most, "any service"),
        _gap_cell(write, most, "a write", " write"),
    )


def _gap_cell(gap: Gap | None, most: int, label: str, class_: str = "") -> Markup:
    if gap is None:
        return cell("nobody asked", class_="gaps", label=f"without {label}:")
    bar = element("span", class_=f"gap{class_}", style=f"width: {100 * gap.ns / most:.1f}%")
    text = f"{duration(gap.ns)}, from {duration(gap.begin)}"
    return cell(text, bar, class_="gaps", label=f"without {label}:")


def operations(found: Sequence[Operation]) -> Markup:
    by_f: defaultdict[str, Counter[str]] = defaultdict(Counter)
    durations: defaultdict[str, list[int]] = defaultdict(list)
    errors: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    nodes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    levels: Counter[str] = Counter()
    for operation in found:
        by_f[operation.f][operation.type] += 1
        nodes[operation.node or "none"][operation.type] += 1
        if operation.type == "ok" and operation.return_ is not None:
            durations[operation.f].append(operation.return_ - operation.call)
        if operation.level is not None and operation.type == "ok":
            levels[operation.level] += 1
        if operation.type != "ok":
            errors[operation.type, operation.error or "no reason given"][operation.f] += 1
    by_number = sorted(errors.items(), key=lambda item: -item[1].total())[:ROWS_MAX]
    told = [(f"{type_}: {code}", counted) for (type_, code), counted in by_number]
    return section(
        "Operations",
        _by_f(by_f, durations),
        element(
            "div",
            _block("Why not ok", ("outcome and reason", "of", "times"), (_error_row(*row) for row in told)),
            _block("By replica asked", ("replica", *OUTCOMES), (_outcome_row(*row) for row in sorted(nodes.items()))),
            _block(
                "Reads that were ok, by level", ("level", "times"), (_count_row(*row) for row in levels.most_common())
            ),
            class_="columns",
        ),
        name="operations",
    )


def _by_f(by_f: Mapping[str, Counter[str]], durations: Mapping[str, list[int]]) -> Markup:
    rows = []
    for f, counted in sorted(by_f.items()):
        took = latency(durations[f]) if f in durations else None
        times = ("", "", "") if took is None else tuple(map(duration, took))
        rows.append((*_outcome_row(f, counted), *(cell(text, class_="n") for text in times)))
    return table(("operation", *OUTCOMES, "median", "p99", "slowest"), rows[:ROWS_MAX], numbers=1)


def _outcome_row(name: str, counted: Counter[str]) -> tuple[Markup, ...]:
    return cell(name, class_="name"), *(_number(counted[outcome]) for outcome in OUTCOMES)


def _error_row(name: str, counted: Counter[str]) -> tuple[Markup, ...]:
    return cell(name), cell(", ".join(f for f, _ in counted.most_common(4))), _number(counted.total())


def _count_row(name: str, number: int) -> tuple[Markup, ...]:
    return cell(name), _number(number)


def _number(number: int) -> Markup:
    return cell(count(number), class_="n" if number else "n zero")


def _block(title: str, heads: Sequence[str], rows: Iterable[tuple[Markup, ...]]) -> Markup:
    whole = list(rows)
    if not whole:
        return many(())
    first_number = 1 if len(heads) != 3 else 2
    return element("div", element("h3", title), table(heads, whole, numbers=first_number))


def sometimes(counted: Mapping[str, int]) -> Markup:
    if not counted:
        return many(())
    seen = sorted(((name, number) for name, number in counted.items() if number), key=lambda item: -item[1])
    never = sorted(name for name, number in counted.items() if not number)
    parts = [table(("what", "times"), (_count_row(name, number) for name, number in seen), numbers=1)]
    if never:
        parts.append(element("p", element("b", "Never seen: "), ", ".join(never)))
    return section("What happened sometimes", *parts, name="sometimes")


def unavailable(found: Mapping[str, str]) -> Markup:
    if not found:
        return many(())
    rows = ((cell(name, class_="name"), cell(why, class_="say")) for name, why in sorted(found.items()))
    told = note("They were asked for and could not be used on this machine: this run says nothing about them.")
    return section(
        "Faults that were not available", told, table(("fault", "why"), rows, class_="stack"), name="unavailable"
    )


def logs(folder: Path) -> Markup:
    """The last lines of what each replica wrote."""
    found = sorted(path for suffix in ("output", "log") for path in folder.rglob(f"*.{suffix}") if path.is_file())
    if not found:
        return many(())
    parts = [folded(str(path.relative_to(folder)), element("pre", _last_lines(path))) for path in found[:ROWS_MAX]]
    return section("What the replicas wrote last", *parts, name="logs")


def _last_lines(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES))
        text = file.read(LOG_BYTES).decode("utf-8", "replace")
    return "\n".join(cut(line, LOG_LINE_MAX) for line in text.splitlines()[-LOG_LINES:]) or "nothing"


def options(pairs: Iterable[tuple[str, str]]) -> Markup:
    rows = ((cell(name, class_="name"), cell(value, class_="say")) for name, value in pairs)
    return section("Options", folded("all of them, expanded", table(("option", "value"), rows)), name="options")
