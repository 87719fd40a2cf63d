"""Elements of HTML and SVG, made so that no text of a history can become markup.

Rule: only `element`, `many` and `trusted` make a Markup, and `element` escapes every child and attribute that is none.
"""

import html
from collections.abc import Iterable
from typing import Final

VOID: Final = frozenset({"meta", "link", "line", "rect", "path", "circle"})  # written without a child


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, /, *children: str, **attributes: object) -> Markup:
    """`class_`, `stroke_width`: as class, stroke-width. An attribute that is None is left out, one that is "" stays."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if not children and tag in VOID:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{many(children)}</{tag}>")


def many(children: Iterable[str]) -> Markup:
    return Markup("".join(one if isinstance(one, Markup) else html.escape(one) for one in children))


def trusted(text: str) -> Markup:
    """For what this package itself wrote down: styles, a picture that was looked through."""
    return Markup(text)


def _short(value: object) -> str:
    """Coordinates need no more than a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
