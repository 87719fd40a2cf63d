"""The parts of a page: the document, sections, tables, verdicts."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from jepsen_like.checkers.evidence import Verdict
from jepsen_like.report.markup import Markup, element, many, trusted

HERE: Final = Path(__file__).parent


def document(title: str, body: Iterable[Markup]) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("link", rel="icon", href="data:,"),  # or a browser would ask a server for one
        element("style", _own("page.css")),
    )
    page = element("html", head, element("body", element("main", *body), element("script", _own("page.js"))), lang="en")
    return f"<!doctype html>\n{page}\n"


def _own(name: str) -> Markup:
    return trusted((HERE / name).read_text("utf-8"))


def section(title: str, *children: Markup, name: str) -> Markup:
    return element("section", element("h2", title), *children, id=name)


def note(text: str) -> Markup:
    return element("p", text, class_="note")


def pill(verdict: Verdict) -> Markup:
    return element("span", verdict, class_=f"pill {verdict}")


def cell(*children: str, class_: str | None = None, label: str | None = None) -> Markup:
    """`label`: what it is called where a narrow page has no heads of columns."""
    return element("td", *children, class_=class_, data_label=label)


def table(
    heads: Sequence[str], rows: Iterable[Iterable[Markup]], *, numbers: int = 0, class_: str | None = None
) -> Markup:
    """`numbers`: from which column on they stand to the right; 0 for none. `rows`: of cells."""
    head = [
        element("th", text, class_="n" if numbers and place >= numbers else None) for place, text in enumerate(heads)
    ]
    body = element("tbody", *(element("tr", *row) for row in rows))
    whole = element("table", element("thead", element("tr", *head)), body, class_=class_)
    return element("div", whole, class_="scroll")


def folded(title: str, *children: Markup, open_: bool = False) -> Markup:
    return element("details", element("summary", title), *children, open="" if open_ else None)


def lines(texts: Iterable[str]) -> Markup:
    return element("ul", *(element("li", text) for text in texts))


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    return element(
        "dl", many(element("div", element("dt", name), element("dd", text)) for name, text in pairs), class_="facts"
    )


def command(text: str, *, name: str) -> Markup:
    """`name`: of the element, one of its kind on the page."""
    button = element("button", "Copy", type="button", data_copies=name)
    return element("div", element("pre", text, id=name), button, class_="command")
