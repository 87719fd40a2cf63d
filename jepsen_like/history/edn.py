"""Reads EDN, Jepsen's notation: every form of a text, strictly, without recursion.

Vectors and lists become lists, sets frozensets, maps `Map`, keywords `Keyword`; a tag is dropped and its form is kept.
Refused, with the line: anything that is no EDN, and a bracket that is not closed.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

_TOKEN = re.compile(
    r"""(?P<space>[\s,]+|;[^\n]*)
      | "(?P<string>(?:[^"\\]|\\.)*)"
      | (?P<discard>\#_)
      | (?P<open>\#\{|[(\[{])
      | (?P<close>[)\]}])
      | \\(?P<char>newline|space|tab|return|formfeed|backspace|u[0-9a-fA-F]{4}|[^\s])
      | (?P<special>\#\#(?:Inf|-Inf|NaN))
      | (?P<tag>\#:?[A-Za-z][^\s,;"()\[\]{}]*)
      | (?P<atom>[^\s,;"()\[\]{}\\\#][^\s,;"()\[\]{}\\]*)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(
    r"(?P<whole>[+-]?\d+)N?\Z|(?P<ratio>[+-]?\d+/\d+)\Z|(?P<point>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)M?\Z"
)
_CLOSED_BY = {"(": ")", "[": "]", "{": "}", "#{": "}"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_NAMED_CHARS = {"newline": "\n", "space": " ", "tab": "\t", "return": "\r", "formfeed": "\f", "backspace": "\b"}
_SPECIAL = {"##Inf": float("inf"), "##-Inf": float("-inf"), "##NaN": float("nan")}
_WORDS = {"nil": None, "true": True, "false": False}


class Keyword(str):
    """`:name`, without the colon."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f":{self!s}"


class Map(dict[Hashable, object]):
    """`line`: where it begins, from 1."""

    line: int = 0


@dataclass(slots=True)
class _Open:
    """A bracket that is not closed yet. `skip`: so many of the next forms are to be discarded."""

    bracket: str
    line: int
    forms: list[object] = field(default_factory=list)
    skip: int = 0
    tagged: bool = False

    def add(self, form: object) -> None:
        self.tagged = False
        if self.skip:
            self.skip -= 1
        else:
            self.forms.append(form)


def read_forms(text: str) -> list[object]:
    """All forms. Raises: ValueError naming the line."""
    open_ = [_Open("", 1)]
    place, line = 0, 1
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"line {line}: {text[place : place + 20]!r} is no EDN")
        kind, token = match.lastgroup, match.group(match.lastgroup or 0)
        place = match.end()
        if kind == "open":
            open_.append(_Open(token, line))
        elif kind == "close":
            _close(open_, token, line)
        elif kind == "discard":
            open_[-1].skip += 1
        elif kind == "tag":
            open_[-1].tagged = True
        elif kind != "space":
            open_[-1].add(_single(str(kind), token, line))
        line += match.group().count("\n")
    last = open_[-1]
    if len(open_) > 1:
        raise ValueError(f"line {last.line}: {last.bracket} is not closed")
    if last.skip or last.tagged:
        raise ValueError(f"line {line}: nothing stands behind a tag")
    return last.forms


def _close(open_: list[_Open], token: str, line: int) -> None:
    ended = open_.pop()
    if _CLOSED_BY.get(ended.bracket) != token:
        raise ValueError(f"line {line}: {token} closes nothing that is open")
    if ended.skip or ended.tagged:
        raise ValueError(f"line {line}: nothing stands behind a tag")
    open_[-1].add(_collection(ended))


def _collection(ended: _Open) -> object:
    if ended.bracket == "#{":
        return frozenset(map(_key, ended.forms))
    if ended.bracket != "{":
        return ended.forms
    if len(ended.forms) % 2:
        raise ValueError(f"line {ended.line}: a map with a key that has no value")
    found = Map(zip(map(_key, ended.forms[::2]), ended.forms[1::2], strict=True))
    found.line = ended.line
    return found


def _key(form: object) -> Hashable:
    """A form as it can stand in a set."""
    if isinstance(form, list):
        return tuple(map(_key, form))
    if isinstance(form, dict):
        return frozenset((name, _key(value)) for name, value in form.items())
    assert isinstance(form, Hashable), "all other forms are hashable"
    return form


def _single(kind: str, token: str, line: int) -> object:
    if kind == "string":
        return _ESCAPE.sub(lambda found: _unescaped(found, line), token)
    if kind == "char":
        return _NAMED_CHARS.get(token) or (chr(int(token[1:], 16)) if len(token) == 5 else token)
    if kind == "special":
        return _SPECIAL[token]
    if token in _WORDS:
        return _WORDS[token]
    if token[0] == ":" and len(token) > 1:
        return Keyword(token[1:])
    if token[0].isdecimal() or (token[0] in "+-" and token[1:2].isdecimal()):
        return _number(token, line)
    return token  # a symbol


def _number(token: str, line: int) -> int | float | Fraction | Decimal:
    match = _NUMBER.match(token)
    if match is None:
        raise ValueError(f"line {line}: {token!r} is no number")
    if match["whole"]:
        return int(match["whole"])
    if match["ratio"]:
        if int(match["ratio"].partition("/")[2]) == 0:
            raise ValueError(f"line {line}: {token!r} is no number")
        return Fraction(match["ratio"])
    return Decimal(match["point"]) if token.endswith("M") else float(match["point"])


def _unescaped(found: re.Match[str], line: int) -> str:
    code, character = found.groups()
    if code is not None:
        return chr(int(code, 16))
    if character not in _ESCAPED:
        raise ValueError(f"line {line}: \\{character} is no escape")
    return _ESCAPED[character]
