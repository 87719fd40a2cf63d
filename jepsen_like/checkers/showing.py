"""The events that a listing or a watch must show under its filters, worked out from the log's events alone.

Tags are replayed from the payloads, as far as these determine them. A filter that cannot be worked out is refused with
a sentence that says why; nothing is guessed.
"""

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

from jepsen_like.checkers.payloads import fields, text
from jepsen_like.history.logged import Event, Log

_SCOPE: Final = ("app_id", "user_id", "agent_id", "run_id")
_PLAIN: Final = ("op", "memory_id", "lock", "gate", "outcome", "request_id")
_JUDGED: Final = frozenset((*_SCOPE, *_PLAIN, "actor_id", "queue", "include", "tag"))
_INTERNAL: Final = ("RAFT", "MEMBER")

Tags = frozenset[str] | None  # None: not determined


class Showing(NamedTuple):
    """The indexes, rising, and the seqs that show of each."""

    indexes: list[int]
    seqs: dict[int, tuple[int, ...]]

    def before(self, index: int) -> int | None:
        place = bisect_left(self.indexes, index)
        return self.indexes[place - 1] if place else None

    def between(self, first: int, last: int) -> list[int]:
        """Both inclusive."""
        return self.indexes[bisect_left(self.indexes, first) : bisect_right(self.indexes, last)]


class Past:
    """The log, with what its events do not say themselves: queues of tasks, tags of memories before and after."""

    def __init__(self, log: Log) -> None:
        self._events = log.events
        self._queues = _queues(log)
        self._tags: list[tuple[Tags, Tags]] | None = None

    def showing(self, filters: dict[str, object]) -> Showing | str:
        """Or why that cannot be worked out."""
        if not filters.keys() <= _JUDGED:
            return f"the filters {sorted(filters.keys() - _JUDGED)} are not judged"
        wanted = filters.get("tag")
        tags = frozenset(map(str, wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]))
        if tags and self._tags is None:
            self._tags = _replayed(self._events)
        found: dict[int, list[int]] = {}
        for place, event in enumerate(self._events):
            if not self._shows(event, filters):
                continue
            if tags and self._tags is not None:
                before, after = self._tags[place]
                if (before is not None and tags <= before) or (after is not None and tags <= after):
                    pass
                elif before is None or after is None:
                    return f"the log does not determine the tags at index {event.index}"
                else:
                    continue
            found.setdefault(event.index, []).append(event.seq)
        return Showing(list(found), {index: tuple(seqs) for index, seqs in found.items()})

    def _shows(self, event: Event, filters: dict[str, object]) -> bool:
        if event.op in _INTERNAL and filters.get("include") != "internal" and filters.get("op") != "MEMBER":
            return False
        for name, wanted in filters.items():
            if name in _PLAIN and getattr(event, name) != wanted:
                return False
            if name in _SCOPE and (event.scope is None or event.scope.get(name) != wanted):
                return False
            if name == "actor_id" and (event.actor is None or event.actor.id != wanted):
                return False
            if name == "queue" and wanted not in self._queues_of(event):
                return False
        return True

    def _queues_of(self, event: Event) -> list[object]:
        asked = event.requested_op or event.op
        if event.task_ids:
            own = text(event, "queue") if asked == "TASK_ADD" else None
            return [own, *(self._queues.get(task) for task in event.task_ids)]
        queues = fields(event).get("queues") if asked == "TASK_CLAIM" else None
        return queues if isinstance(queues, list) else []


def _queues(log: Log) -> dict[str, str]:
    """Of each task by its id."""
    added = [event for event in log.events if event.op == "TASK_ADD" and event.outcome == "applied"]
    return {name: queue for event in added for name in event.task_ids if (queue := text(event, "queue")) is not None}


# --- tags -------------------------------------------------------------------------------------------
def _replayed(events: tuple[Event, ...]) -> list[tuple[Tags, Tags]]:
    """Of the memory of each event, before and after it."""
    newest: dict[str, Tags] = {}
    found: list[tuple[Tags, Tags]] = []
    for event in events:
        if event.memory_id is None:
            found.append((frozenset(), frozenset()))
            continue
        before = newest.get(event.memory_id, frozenset())
        after = _after(before, event) if event.outcome == "applied" else before
        newest[event.memory_id] = after
        found.append((before, after))
    return found


def _after(before: Tags, event: Event) -> Tags:
    if event.op in ("DELETE", "EXPIRE"):
        return frozenset()
    if event.op not in ("ADD", "UPDATE"):
        return before
    given = fields(event)
    tags = given.get("tags")
    if isinstance(tags, list):
        return frozenset(map(str, tags))
    merge = given.get("merge")
    if event.op == "ADD" or "tags" in given:
        return frozenset()
    if isinstance(merge, dict):
        return None if "tags" in merge else before
    return before if not before else None  # a PUT clears them, a PATCH does not
