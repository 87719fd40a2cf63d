"""Lists and searches under scopes: each shows what the log says at the index that it names, at every level.

The log is replayed once, from the payloads alone, and every answer is compared with the state at its index: nothing of
another scope, nothing deleted or expired, no old version, nothing left out, and for a search the best by cosine. A fact
that was to be added only if it was new is there once.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from msgspec import Struct, convert

from jepsen_like.checkers.complaints import Complaints, short, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import by_entry
from jepsen_like.checkers.payloads import fields
from jepsen_like.history.logged import Event
from jepsen_like.history.record import Operation

SCORE_ERROR_MAX: Final = 1e-4
_SCOPE: Final = ("app_id", "user_id", "agent_id", "run_id")
_SHOWS: Final = frozenset({"list", "search"})


class Asked(Struct, frozen=True):
    """The `value` of a list or a search. `embedding`: of a search only."""

    scope: dict[str, str]
    tags: tuple[str, ...] = ()
    embedding: tuple[float, ...] = ()
    top_k: int = 0


class Standing(NamedTuple):
    """An active memory. `scope`: in the order of `_SCOPE`; `vector`: empty if it has none."""

    version: int
    scope: tuple[object, ...]
    content: tuple[object, object]
    tags: frozenset[str]
    vector: tuple[float, ...]


def check(evidence: Evidence) -> Finding:
    complaints = Complaints("scopes")
    shown = [one for one in evidence.history.operations if one.f in _SHOWS and one.type == "ok"]
    told = sorted(((one.index, one) for one in shown if one.index is not None), key=itemgetter(0))
    if evidence.log is None:
        complaints.doubt("nobody could be asked for the log")
    elif not told:
        complaints.doubt("nobody listed or searched")
    else:
        standings, position = Standings(), 0
        for entry in by_entry(evidence.log):
            while position < len(told) and told[position][0] < entry[0].index:
                _compare(told[position][1], standings, complaints)
                position += 1
            for event in entry:
                standings.apply(event, complaints)
        for _, operation in told[position:]:
            _compare(operation, standings, complaints)
    searches = sum(one.f == "search" for one in shown)
    return complaints.finding(
        f"{len(shown) - searches} lists and {searches} searches showed what the log says at their index",
        {"lists": len(shown) - searches, "searches": searches},
    )


class Standings:
    """Every active memory, by its user and its id."""

    def __init__(self) -> None:
        self._users: dict[object, dict[str, Standing]] = {}
        self._user_of: dict[str, object] = {}

    def within(self, asked: Asked) -> Iterator[tuple[str, Standing]]:
        user = asked.scope.get("user_id")
        users = [self._users.get(user, {})] if user is not None else self._users.values()
        wanted = [(_SCOPE.index(name), value) for name, value in asked.scope.items()]
        for memories in users:
            for name, one in memories.items():
                if all(one.scope[place] == value for place, value in wanted) and one.tags.issuperset(asked.tags):
                    yield name, one

    def apply(self, event: Event, complaints: Complaints) -> None:
        name = event.memory_id
        if event.outcome != "applied" or name is None:
            return
        match event.op:
            case "ADD":
                self._add(name, event, complaints)
            case "UPDATE" if name in self._user_of:
                memories = self._users[self._user_of[name]]
                memories[name] = _updated(memories[name], event)
            case "DELETE" | "EXPIRE" if name in self._user_of:
                del self._users[self._user_of.pop(name)][name]
            case "NOOP" if event.requested_op == "ADD":
                same = name in self._user_of and self._users[self._user_of[name]][name]
                if not same or _identity(same) != _identity(_added(event)):
                    complaints.add("no-duplicate", f"index {event.index} found {name} equal to {short(fields(event))}")

    def _add(self, name: str, event: Event, complaints: Complaints) -> None:
        added = _added(event)
        memories = self._users.setdefault(added.scope[1], {})
        if fields(event).get("on_duplicate") == "noop":
            for other, one in memories.items():
                if _identity(one) == _identity(added):
                    complaints.add("duplicate", f"index {event.index} added {name}, which {other} says already")
        memories[name] = added
        self._user_of[name] = added.scope[1]


def _identity(one: Standing) -> tuple[object, object]:
    return one.scope, one.content


def _added(event: Event) -> Standing:
    given = fields(event)
    scope = tuple(given.get(name) for name in _SCOPE)
    return _updated(Standing(0, scope, (None, None), frozenset(), ()), event)


def _updated(one: Standing, event: Event) -> Standing:
    """The memory after a PATCH: fields that are not given stay, except the vector when the text changes."""
    given = fields(event)
    text, value = given.get("text", one.content[0]), given.get("value", one.content[1])
    vector = convert(given["embedding"], tuple[float, ...]) if "embedding" in given else one.vector
    if "text" in given and "embedding" not in given:
        vector = ()
    tags = convert(given["tags"], frozenset[str]) if "tags" in given else one.tags
    return Standing(event.version or one.version + 1, one.scope, (text, value), tags, vector)


# --- comparing ------------------------------------------------------------------------------------
def _compare(operation: Operation, standings: Standings, complaints: Complaints) -> None:
    asked = convert(operation.value, Asked)
    stood = dict(standings.within(asked))
    if operation.f == "list":
        rows = convert(operation.result, list[tuple[str, int]])
        _same_versions(operation, rows, stood, complaints)
        for name in stood.keys() - {name for name, _ in rows}:
            complaints.add("left-out", f"{name} is not in {tell(operation)}")
        return
    found = convert(operation.result, list[tuple[str, int, float]])
    candidates = {name: one for name, one in stood.items() if len(one.vector) == len(asked.embedding)}
    scores = {name: _score(asked.embedding, one.vector) for name, one in candidates.items()}
    _same_versions(operation, [(name, version) for name, version, _ in found], candidates, complaints)
    _best(operation, found, scores, asked.top_k, complaints)


def _same_versions(
    operation: Operation, rows: Sequence[tuple[str, int]], stood: Mapping[str, Standing], complaints: Complaints
) -> None:
    if len({name for name, _ in rows}) != len(rows):
        complaints.add("shown-twice", tell(operation))
    for name, version in rows:
        one = stood.get(name)
        if one is None:
            complaints.add("not-there", f"{name} in {tell(operation)}")
        elif one.version != version:
            complaints.add("wrong-version", f"{name} is at version {one.version} there: {tell(operation)}")


def _best(
    operation: Operation,
    found: Sequence[tuple[str, int, float]],
    scores: Mapping[str, float],
    top_k: int,
    complaints: Complaints,
) -> None:
    best = sorted(scores.values(), reverse=True)[:top_k]
    told = [score for _, _, score in found]
    if len(told) != len(best) or any(abs(a - b) > SCORE_ERROR_MAX for a, b in zip(told, best, strict=True)):
        complaints.add("not-the-best", f"the best scores are {short(best)}: {tell(operation)}")
    for name, _, score in found:
        if name in scores and abs(scores[name] - score) > SCORE_ERROR_MAX:
            complaints.add("wrong-score", f"{name} has {scores[name]:.5f} and not {score:.5f}: {tell(operation)}")


def _score(asked: Sequence[float], vector: Sequence[float]) -> float:
    """The cosine, from 0 to 1."""
    product = math.fsum(a * b for a, b in zip(asked, vector, strict=True))
    return min(1.0, max(0.0, product / (math.hypot(*asked) * math.hypot(*vector))))
