"""Settings of the REST service: the default read level, and its overrides by tag or scope.

An override names a level that needs no parameter. Where several match, the strongest level wins.
"""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from raftmem.model.commands import Scope
from raftmem.service.interface import Level

DefaultLevel = Literal["lease", "linearizable", "eventual"]
_LEVELS: Final = {level.value: level for level in Level}
_STRENGTH: Final = {"eventual": 0, "lease": 1, "linearizable": 2}


class Override(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reads that concern any of these tags, or all of these scope ids, run at `level` unless they ask otherwise."""

    level: DefaultLevel
    tags: tuple[str, ...] = ()
    app_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None

    def matches(self, tags: Iterable[str], scope: Scope) -> bool:
        if self.tags:
            if not any(tag in self.tags for tag in tags):
                return False
        elif (self.app_id, self.user_id, self.agent_id, self.run_id) == (None, None, None, None):
            return False
        return (
            self.app_id in (None, scope.app_id)
            and self.user_id in (None, scope.user_id)
            and self.agent_id in (None, scope.agent_id)
            and self.run_id in (None, scope.run_id)
        )


class ApiSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`hosts`: names and addresses to answer as, beside those of loopback; `*` for any. `any_address`: as any address.

    `cors_origins`: `scheme://host[:port]` of pages that may ask, and read replies.
    """

    hosts: tuple[str, ...] = ()
    any_address: bool = False
    cors_origins: tuple[str, ...] = ()
    consistency: DefaultLevel = "lease"
    overrides: tuple[Override, ...] = ()

    def level(self, tags: Iterable[str] = (), scope: Scope | None = None) -> Level:
        """The level of a read that names none and concerns these tags and this scope."""
        if not self.overrides:
            return _LEVELS[self.consistency]
        tags = tuple(tags)
        matching = [rule.level for rule in self.overrides if rule.matches(tags, scope or Scope())]
        return Level(max(matching, key=_STRENGTH.__getitem__, default=self.consistency))


def stronger(one: Level, other: Level) -> bool:
    """True if `one` promises more than `other`; both are default levels."""
    return _STRENGTH[one] > _STRENGTH[other]
