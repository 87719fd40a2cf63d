"""Instants on the wire: RFC 3339, UTC, milliseconds. For people, never for deciding."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from raftmem.errors import BadRequest

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_millisecond: Final = timedelta(milliseconds=1)
_FIRST_MS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _millisecond
_LAST_MS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _millisecond


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


@lru_cache(maxsize=4096)  # one write shows the same instant several times
def shown(ms: int) -> str:
    """Milliseconds since the Unix epoch as `2026-11-20T09:00:00.120Z`."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


def shown_or_none(ms: int | None) -> str | None:
    return None if ms is None else shown(ms)


def milliseconds(instant: datetime, place: str) -> int:
    """Since the Unix epoch, rounded down. Raises: BadRequest outside the years 1 to 9999 of UTC."""
    ms = (instant - _EPOCH) // _millisecond
    if not _FIRST_MS <= ms <= _LAST_MS:
        raise BadRequest(f"{place} lies outside the years 1 to 9999 (UTC)", parameter=place)
    return ms
