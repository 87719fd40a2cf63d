"""JSON that came in: decoded by msgspec, then held to the bounds that msgspec does not know.

Refused with 400 and the place: text that is not JSON or not UTF-8, nesting past `JSON_DEPTH_MAX`, integers past
2^53-1, numbers that are not finite, the same key twice in one object. The rule: a cheap test that every bad text
fails comes first; only what fails it is walked. So a usual body pays for one decode and one encode.
"""

import json
from typing import Final, Never

import msgspec

from raftmem.errors import BadRequest
from raftmem.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_digits: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_long_number: Final = b"0" * len(str(JSON_INTEGER_MAX))  # a shorter run of digits is in range
_walked: Final = frozenset({int, dict, list})
_PATH_SHOWN: Final = 512  # characters of a place or a key, in an error
_Place = tuple["_Place | None", str | int]  # the place around it, and the key or the index in that


def decode(text: bytes, *, place: str = "body") -> object:
    """The value of a JSON text. Raises: BadRequest whose `parameter` is the place in it, or `place`."""
    if not text:
        raise BadRequest(f"{place} is empty; send a JSON object", parameter=place)
    try:
        value: object = _decode(text)
    except UnicodeDecodeError as error:
        raise BadRequest(f"{place} is not valid UTF-8", parameter=place) from error
    except RecursionError as error:
        raise BadRequest(f"{place} is nested deeper than {JSON_DEPTH_MAX} levels", parameter=place) from error
    except msgspec.DecodeError as error:
        if "out of range" in str(error):
            raise BadRequest(f"{place} holds a number that is not finite as a double", parameter=place) from error
        raise BadRequest(
            f"{place} is not JSON: {error}; check quotes, brackets and escapes", parameter=place
        ) from error
    is_deep = text.count(b"{") + text.count(b"[") > JSON_DEPTH_MAX and not _is_flat(value)
    if is_deep or _long_number in text.translate(_digits):
        _check_tree(value, place)
    # A repeated key takes its colon with it; only an escaped colon could make up for that.
    if (b"\\" in text and b"\\u" in text) or text.count(b":") != _encode(value).count(b":"):
        _check_keys(text)
    return value


def encode(value: object) -> bytes:
    """Compact JSON text; keys stay in the order they have."""
    return _encode(value)


def _is_flat(value: object) -> bool:
    """True for a value that is nested no deeper than the bound. Looks level by level, and keeps no places."""
    level = [value]
    for _ in range(JSON_DEPTH_MAX):
        level = [
            item
            for node in level
            for item in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return True
    return False


def _check_tree(value: object, place: str) -> None:
    """Check every depth and every integer, without recursion.

    A place is a chain of keys that becomes text only in an error: under a long key, the texts of many places would
    take memory and time without a bound.
    """
    stack: list[tuple[object, int, _Place | None]] = [(value, 1, None)]
    while stack:
        node, depth, chain = stack.pop()
        if type(node) is int and abs(node) > JSON_INTEGER_MAX:
            path = _path(chain, place)
            raise BadRequest(f"{path} is {_shown(node)}: integers stay within ±{JSON_INTEGER_MAX}", parameter=path)
        if isinstance(node, dict | list):
            if depth > JSON_DEPTH_MAX:
                raise BadRequest(f"{place} is nested deeper than {JSON_DEPTH_MAX} levels", parameter=place)
            if isinstance(node, dict):
                stack.extend((item, depth + 1, (chain, key)) for key, item in node.items())
            elif not _walked.isdisjoint(map(type, node)):
                stack.extend((item, depth + 1, (chain, at)) for at, item in enumerate(node))


def _path(chain: _Place | None, place: str) -> str:
    """The text of a place, at most `_PATH_SHOWN` characters of it."""
    steps: list[str | int] = []
    while chain is not None:
        chain, step = chain
        steps.append(step)
    path = "" if place == "body" and steps and isinstance(steps[-1], str) else place
    for step in reversed(steps):
        path += f"[{step}]" if isinstance(step, int) else f".{step[:_PATH_SHOWN]}" if path else step[:_PATH_SHOWN]
        if len(path) > _PATH_SHOWN:
            return path[:_PATH_SHOWN] + "…"
    return path


def _shown(number: int) -> str:
    text = str(number)
    return text if len(text) <= 24 else f"{text[:20]}… ({len(text)} digits)"


def _check_keys(text: bytes) -> None:
    json.loads(text, object_pairs_hook=_unrepeated, parse_int=float, parse_constant=_never)


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                shown = key if len(key) <= _PATH_SHOWN else key[:_PATH_SHOWN] + "…"
                raise BadRequest(f"the key {shown!r} stands twice in one object; give it once", parameter=shown)
            seen.add(key)
    return members


def _never(constant: str) -> Never:
    raise BadRequest(f"{constant} is not a JSON number", parameter="body")
