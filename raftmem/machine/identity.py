"""The identity of a memory, and the number and dates of its next version: records without content, ready to be revised.

Id, scope and actor of a row never change, not even in its tombstone. The versions of an id only rise, also from row to
row.
"""

from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from raftmem.machine.overlay import Moment
from raftmem.model.commands import Actor, Fields, Scope
from raftmem.model.records import Position, Record, Status

_NOT_BOUND: Final = Scope()
_NO_ACTOR: Final = Actor("system", "nobody")
_START: Final = Position(0, 0)
_BLANK: Final = Record("", 1, "active", _START, _START, _NOT_BOUND, None, None, b"{}", b"", (), _NO_ACTOR, 0, 0)


def scope_of(fields: Fields) -> Scope:
    """The scope that a new memory is bound to."""
    app, user, agent, run = fields.app_id, fields.user_id, fields.agent_id, fields.run_id
    if app is UNSET and user is UNSET and agent is UNSET and run is UNSET:
        return _NOT_BOUND
    return Scope(
        None if app is UNSET else app,
        None if user is UNSET else user,
        None if agent is UNSET else agent,
        None if run is UNSET else run,
    )


def keeps_scope(fields: Fields, scope: Scope) -> bool:
    """True when every scope id that is given is the one it has."""
    given = (fields.app_id, fields.user_id, fields.agent_id, fields.run_id)
    stands = (scope.app_id, scope.user_id, scope.agent_id, scope.run_id)
    return all(new is UNSET or new == old for new, old in zip(given, stands, strict=True))


def born(memory_id: str, moment: Moment, scope: Scope, actor: Actor, tombstone: Record | None) -> Record:
    """A blank first version of a new row; versions go on counting where a tombstone of the id left off."""
    return replace(
        _BLANK,
        id=memory_id,
        version=1 if tombstone is None else tombstone.version + 1,
        created=moment.position,
        updated=moment.position,
        scope=scope,
        actor=actor,
        created_ms=moment.wall_ms,
        updated_ms=moment.wall_ms,
        previous=None if tombstone is None else tombstone.created,
    )


def blank(old: Record, moment: Moment, status: Status) -> Record:
    """The next version of `old` with its identity and nothing else; a tombstone stays as visible as it was."""
    return replace(
        _BLANK,
        id=old.id,
        version=old.version + 1,
        status=status,
        created=old.created,
        updated=moment.position,
        scope=old.scope,
        actor=old.actor,
        created_ms=old.created_ms,
        updated_ms=moment.wall_ms,
        visibility="shared" if status == "active" else old.visibility,
        previous=old.previous,
    )


def next_version(old: Record, moment: Moment) -> Record:
    """`old` with the next version number, to be revised."""
    return replace(old, version=old.version + 1, updated=moment.position, updated_ms=moment.wall_ms)
