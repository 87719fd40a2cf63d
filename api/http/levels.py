"""The level of a read: the query names it, or else the settings do, for the tags and the scope.

The rule: what ran is never silently lower than what was asked. A level without its parameter, or a parameter
without its level, is 400.
"""

from typing import Final

from raftmem.api.http.parameters import Conflict, Parameters
from raftmem.api.http.problems import unknown_consistency
from raftmem.errors import BadRequest
from raftmem.limits import TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX
from raftmem.service.interface import Level, ReadOptions

READ: Final = ("consistency", "min_index", "max_staleness_ms", "timeout_ms")
TRAVEL: Final = (*READ, "at")
WRITE: Final = ("timeout_ms",)
_LEVELS: Final = [level.value for level in Level]
_PLAIN: Final = {level: ReadOptions(level, timeout_ms=TIMEOUT_MS_DEFAULT) for level in Level}


def timeout_ms(given: Parameters) -> int:
    """The time that a read or a write may wait, milliseconds."""
    asked = given.integer("timeout_ms", low=1, high=TIMEOUT_MS_MAX)
    return TIMEOUT_MS_DEFAULT if asked is None else asked


def named_level(given: Parameters) -> Level | None:
    """The level that the query names. Raises: Problem `unknown-consistency`."""
    asked = given.text("consistency")
    if asked is None:
        return None
    if asked not in _LEVELS:
        raise unknown_consistency(asked[:64], _LEVELS)
    return Level(asked)


def read_options(given: Parameters, default: Level) -> ReadOptions:
    """The options of a read. `default`: the level where the query names none. Raises: BadRequest, Problem."""
    if not given.pairs:
        return _PLAIN[default]
    found = given.options.get(default)
    if found is None:
        found = given.options[default] = _read_options(given, default)
    return found


def _read_options(given: Parameters, default: Level) -> ReadOptions:
    asked = named_level(given)
    level = default if asked is None else asked
    min_index = given.integer("min_index")
    staleness = given.integer("max_staleness_ms")
    at = given.integer("at", low=1)
    wait = timeout_ms(given)
    if at is not None:
        _alone(given)
        return ReadOptions(level, at=at, timeout_ms=wait)
    if level is Level.SESSION and min_index is None:
        raise BadRequest("consistency=session needs min_index: the index to have applied", parameter="min_index")
    if level is Level.BOUNDED and staleness is None:
        raise BadRequest("consistency=bounded needs max_staleness_ms", parameter="max_staleness_ms")
    if level is not Level.BOUNDED and staleness is not None:
        raise Conflict("max_staleness_ms", f"consistency={level.value}", "it belongs to bounded").error()
    return ReadOptions(level, min_index, staleness, None, wait)


def _alone(given: Parameters) -> None:
    for other in ("consistency", "min_index", "max_staleness_ms"):
        if given.text(other) is not None:
            raise Conflict(other, "at", "a past index is the same at every level").error()
