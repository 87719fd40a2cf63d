"""Numbers and times as people read them."""

from typing import Final

_UNITS: Final = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))


def duration(ns: float) -> str:
    """Three digits and a unit; minutes from two on."""
    if ns >= 120e9:
        minutes, seconds = divmod(round(ns / 1e9), 60)
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    size, unit = next(((size, unit) for size, unit in _UNITS if ns >= size), _UNITS[-1])
    return f"{_three(ns / size)} {unit}"


def count(number: int) -> str:
    """Thousands apart, by a space that does not break."""
    return f"{number:,}".replace(",", "\u202f")


def plural(number: int, one: str, more: str | None = None) -> str:
    return f"{count(number)} {one if number == 1 else more or one + 's'}"


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({count(len(text) - longest)} more characters)"


def _three(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
