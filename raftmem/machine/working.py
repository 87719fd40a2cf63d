"""The state as it stands inside one entry: what was there before it, under what its operations did so far.

Refuses nothing. It must hold that dropping a `Working` undoes the whole entry: the state below is only read.
"""

from typing import NamedTuple

from raftmem.commands import Actor, Scope
from raftmem.digest import content_hash
from raftmem.records import Change, Position, PutRecord, Record, View


class Moment(NamedTuple):
    """When and by whom one operation is done. `now`: log time, microseconds. `wall_ms`: for people."""

    position: Position
    now: int
    wall_ms: int
    actor: Actor


class Refusal(NamedTuple):
    """Why an operation is not done: it becomes a refused `Outcome`, beside the event."""

    code: str
    path: str | None = None
    failed: tuple[int, ...] = ()


class Working:
    """Later operations of an entry see the earlier ones through this. `changes` is what the entry makes."""

    __slots__ = ("_newest", "_view", "changes")

    def __init__(self, view: View) -> None:
        self._view = view
        self._newest: dict[str, Record] = {}
        self.changes: list[Change] = []

    def memory(self, memory_id: str) -> Record | None:
        """The newest version, tombstones too."""
        return self._newest.get(memory_id) or self._view.memory(memory_id)

    def active(self, memory_id: str) -> Record | None:
        record = self.memory(memory_id)
        return record if record is not None and record.status == "active" else None

    def duplicate(self, sha256: bytes, scope: Scope) -> Record | None:
        """The oldest active memory with this content hash and exactly these four scope ids."""
        if not self._newest:
            return self._view.duplicate(sha256, scope)
        below = self._view.duplicate(sha256, scope, self._newest.keys())
        found = [
            record
            for record in self._newest.values()
            if record.sha256 == sha256 and record.status == "active" and record.scope == scope
        ]
        if below is not None:
            found.append(below)
        return min(found, key=lambda record: record.created, default=None)

    def put(self, record: Record, *, old: Record | None, salt: bytes, vector: bytes | None) -> None:
        """`record` is the newest version from here on. `old`: what stood under the same row; `salt`: of the slot."""
        self._newest[record.id] = record
        self.changes.append(PutRecord(record, old, content_hash(salt, record, vector), vector))
