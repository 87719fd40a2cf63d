"""The findings of the checkers: a row each, bad ones first, and the pictures that they drew, large.

Rule: a picture is shown only if it is well-formed, runs nothing, fetches nothing, and is not so large that the page
could not be opened; otherwise the page says why it is missing.
"""

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from jepsen_like.checkers.evidence import Finding, Picture, Verdict
from jepsen_like.report.markup import Markup, element, many, trusted
from jepsen_like.report.parts import cell, folded, lines, note, pill, section, table
from jepsen_like.report.words import count, cut, plural

READING: Final = (
    "A row is a process, a bar goes from call to answer; these stand at equal distances: the order is true, "
    "the lengths are not. Red: what fits nowhere. Full colours: the operations that show it; pale: others meanwhile. "
    "Numbers: the longest order that was found."
)
ORDER: Final[tuple[Verdict, ...]] = ("bad", "unknown", "good")
DETAILS_MAX: Final = 100
DETAIL_MAX: Final = 1_000
PICTURE_MAX: Final = 400_000
PICTURES_MAX: Final = 1_000_000  # of all of them
REFUSED: Final = frozenset({"script", "foreignObject", "image", "iframe", "use", "a", "style"})


def findings(found: Sequence[Finding]) -> Markup:
    ordered = sorted(found, key=lambda finding: ORDER.index(finding.verdict))
    if not ordered:
        return section(
            "Findings", note("No checker has said anything: the run did not get to its end."), name="findings"
        )
    rows = [
        (cell(pill(one.verdict)), cell(one.name, class_="name"), cell(one.summary, *_more(one), class_="say"))
        for one in ordered
    ]
    return section("Findings", table(("verdict", "checker", "what it says"), rows, class_="stack"), name="findings")


def pictures(found: Sequence[Finding]) -> Markup:
    """The pictures of findings that are not good; others are folded."""
    parts: list[Markup] = []
    room = PICTURES_MAX
    for finding in sorted(found, key=lambda finding: ORDER.index(finding.verdict)):
        for picture in finding.pictures:
            refusal = refused(picture.svg, room=room)
            if refusal is None:
                room -= len(picture.svg)
            drawn = _figure(finding, picture, refusal)
            parts.append(folded(f"{finding.name}: {picture.caption}", drawn) if finding.verdict == "good" else drawn)
    return section("Pictures of what was found", note(READING), *parts, name="pictures") if parts else many(())


def refused(svg: str, *, room: int = PICTURES_MAX) -> str | None:
    """Why a picture cannot be shown; None if it can."""
    if len(svg) > min(PICTURE_MAX, room):
        return f"it is too large for this page, {count(len(svg))} characters"
    if "<!" in svg.replace("<!--", ""):
        return "it declares things of its own"
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        return f"it is not well-formed: {error}"
    if _local(root.tag) != "svg":
        return f"it is no svg but {_local(root.tag)}"
    for part in root.iter():
        if _local(part.tag) in REFUSED:
            return f"it holds an element {_local(part.tag)}"
        for name, value in part.attrib.items():
            if _local(name).lower().startswith("on") or _local(name) == "href" or "url(" in value.replace("url(#", ""):
                return f"it holds an attribute {_local(name)}"
    return None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _figure(finding: Finding, picture: Picture, refusal: str | None) -> Markup:
    caption = element("figcaption", element("b", finding.name), f": {picture.caption}")
    if refusal is not None:
        return element("figure", caption, note(f"The picture is not shown: {refusal}."), class_="drawn")
    return element("figure", caption, element("div", trusted(picture.svg), class_="sheet"), class_="drawn")


def _more(finding: Finding) -> list[Markup]:
    parts = []
    if finding.details:
        shown = [cut(text, DETAIL_MAX) for text in finding.details[:DETAILS_MAX]]
        left = len(finding.details) - len(shown)
        if left:
            shown.append(f"… and {plural(left, 'line')} more in result.json")
        parts.append(folded(plural(len(finding.details), "detail"), lines(shown), open_=finding.verdict == "bad"))
    if finding.counts:
        told = (f"{count(number)} {name.replace('_', ' ')}" for name, number in finding.counts.items())
        parts.append(note(" · ".join(told)))
    return parts
