"""Values as they enter the client: what JSON carries faithfully goes through, all else is refused with its path.

The rules: nothing is changed in silence, and nothing is sent that the service would read as another value. Refused with
TypeError: bytes, sets, keys that are no text, and whatever JSON has no form for. Refused with ValueError: numbers that
are not finite, integers past 2^53-1, text that is no UTF-8, and nesting past 64 levels, as in a circle. A tuple is sent
as an array, a scalar or an array of numpy as the numbers in it.
"""

import math
import re
from array import array
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, Protocol, runtime_checkable

import msgspec

DEPTH_MAX: Final = 64
INTEGER_MAX: Final = 2**53 - 1
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_GENERAL: Final = "give text, numbers, true, false, None, and lists and dicts of these"
_ADVICE: Final = (
    (bytes | bytearray | memoryview, "bytes are no text: decode them, or give base64"),
    (set | frozenset, "a set has no order: give a list, such as sorted(…)"),
    (datetime, "a time comes back as text: give .isoformat()"),
)


@runtime_checkable
class _Numbers(Protocol):
    """An array, or one number, of numpy or of what is like it. It is never imported here."""

    def tolist(self) -> object: ...


def checked(value: object, path: str) -> object:
    """The value as plain JSON types. Raises: TypeError, ValueError."""
    return _checked(value, path, 1)


def _checked(value: object, path: str, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value, path)
    if isinstance(value, int):
        return _integer(int.__int__(value), path)
    if isinstance(value, float):
        return _finite(float.__float__(value), path)
    if depth > DEPTH_MAX:
        raise ValueError(f"{path[:80]} is nested deeper than {DEPTH_MAX} levels, or holds itself")
    if isinstance(value, Mapping):
        return {
            _key(key, path): _checked(item, f"{path}.{key}" if path else str(key), depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        if set(map(type, value)) == {float} and all(map(math.isfinite, value)):
            return value  # an embedding has thousands
        return [_checked(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)]
    if isinstance(value, _Numbers) and _kind(value) in ("b", "i", "u", "f"):
        plain = value.tolist()
        if not isinstance(plain, _Numbers):  # it is, where no float of Python has as many digits
            return _checked(plain, path, depth)
    advice = next((words for kind, words in _ADVICE if isinstance(value, kind)), None)
    raise TypeError(f"{path or 'the value'} is {_type(value)}, which JSON has no form for; {advice or _GENERAL}")


def _kind(value: object) -> str:
    """The kind of numpy's numbers: b, i, u, f; "" of anything else."""
    found = getattr(getattr(value, "dtype", None), "kind", "")
    return found if isinstance(found, str) else ""


def _type(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{path or 'the value'} has the key {key!r}, which is {_type(key)}; JSON has text keys only")
    return text(key, f"a key of {path}" if path else "a key")


def _integer(value: int, path: str) -> int:
    if abs(value) > INTEGER_MAX:
        raise ValueError(f"{path} is an integer past ±{INTEGER_MAX}, which not every JSON reader keeps; give text")
    return value


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{path} is {value}; JSON has finite numbers only")
    return value


def text(value: object, path: str) -> str:
    """Raises: TypeError unless it is text, ValueError unless it is UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"{path} is {_type(value)} and not text")
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{path} is no UTF-8 at character {error.start}: a lone surrogate") from None
    return plain


def name(value: object, path: str) -> str:
    """A name in the path of a URL, in any language. Raises: TypeError, ValueError."""
    plain = text(value, path)
    if plain in ("", ".", ".."):
        raise ValueError(f"{path} is {plain!r}, which no address can carry")
    if "\0" in plain:
        raise ValueError(f"{path} holds a NUL, which no address can carry")
    return plain


def names(values: object, path: str) -> list[str]:
    """Several names. Raises: TypeError, also for one text, whose letters would be taken for names; ValueError."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"{path} is {_type(values)}; give a list of names")
    return [text(value, f"{path}[{at}]") for at, value in enumerate(values)]


def floats(values: object, path: str) -> list[float]:
    """An embedding: a list, a tuple, an array, or one of numpy. Raises: TypeError, ValueError."""
    if isinstance(values, _Numbers) and not isinstance(values, array):
        values = values.tolist()
    if isinstance(values, str | bytes | Mapping | set | frozenset) or not isinstance(values, Iterable):
        raise TypeError(f"{path} is {_type(values)}; give a list of numbers")
    given = list(values)
    try:
        numbers = array("d", given)
    except (TypeError, OverflowError):
        numbers = array("d", (_number(one, f"{path}[{at}]") for at, one in enumerate(given)))
    if not all(map(math.isfinite, numbers)):
        at = next(at for at, one in enumerate(numbers) if not math.isfinite(one))
        raise ValueError(f"{path}[{at}] is {numbers[at]}; an embedding has finite numbers only")
    return numbers.tolist()


def _number(value: object, path: str) -> float:
    plain = _checked(value, path, 1)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise TypeError(f"{path} is {_type(value)} and no number")
    return float(plain)


def seconds(value: object, path: str) -> float:
    """A duration. Raises: TypeError unless it is a number, ValueError unless it is finite."""
    if isinstance(value, _Numbers) and _kind(value) in ("i", "u", "f"):
        value = value.tolist()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{path} is {_type(value)}; give seconds as a number, of a timedelta total_seconds()")
    return _finite(value, path)


def times(value: object) -> object:
    """The times in a filter or an operation as the text that the service reads. Raises: ValueError without a zone."""
    if isinstance(value, datetime):
        return moment(value, "a time")
    if isinstance(value, Mapping):
        return {key: times(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [times(item) for item in value]
    return value


def moment(value: datetime, path: str) -> str:
    """Raises: ValueError for a time without a zone: nobody can tell when it is."""
    if value.tzinfo is None:
        raise ValueError(f"{path} has no time zone; give one, such as datetime.now(UTC)")
    shown = msgspec.to_builtins(value)
    assert isinstance(shown, str)
    return shown


def header_name(value: object) -> str:
    """Raises: TypeError, ValueError."""
    plain = text(value, "a name of headers")
    if _HEADER_NAME.fullmatch(plain) is None:
        raise ValueError(f"headers has the name {plain!r}; it is letters, digits and a few signs, without space")
    return plain


def header(value: object, path: str) -> str:
    """A value of a header, in any language: it is sent as UTF-8. Raises: TypeError, ValueError."""
    plain = text(value, path)
    if plain != plain.strip():
        raise ValueError(f"{path} is {plain!r}, with space around it, which no header carries")
    bad = next((one for one in plain if ord(one) < 0x20 or ord(one) == 0x7F), None)
    if bad is not None:
        raise ValueError(f"{path} is {plain!r}, with the control character {bad!r}, which no header carries")
    return plain
