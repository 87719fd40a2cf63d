"""The leader promotes a learner that has caught up, and removes the voter that it replaces.

Rules: one change at a time, each when the one before it is committed; a learner is promoted only when its data folder
is bound and it lacks little; a voter that does not answer leaves before its replacement comes, one that does, after.
"""

import logging
from typing import Final

from raftmem.errors import NotApplied
from raftmem.limits import LEARNER_LAG_MAX
from raftmem.model.commands import Actor, Member
from raftmem.raft.leader.leadership import Leadership
from raftmem.raft.log.journal import Journal
from raftmem.raft.membership import ids
from raftmem.raft.requests import Requests

log = logging.getLogger("raftmem.raft")
ACTOR: Final = Actor("system", "raftmem")


class LearnerPromotion:
    """Asked at each tick of a leader."""

    def __init__(self, *, journal: Journal, requests: Requests, lag_max: int = LEARNER_LAG_MAX) -> None:
        self._journal = journal
        self._requests = requests
        self._lag_max = lag_max
        self._said = ""

    def look(self, leading: Leadership) -> None:
        """At most one change. What cannot be done now is looked at again."""
        members = self._journal.members
        if leading.heir is not None or not leading.is_settled() or not leading.knows_the_living():
            return
        for candidate in (*members.voters, *members.learners):
            if self._helped(leading, candidate):
                return

    def _helped(self, leading: Leadership, candidate: Member) -> bool:
        """Make a change for this one if one is due. False: none was made; one that waits keeps nobody else waiting."""
        voters = ids(self._journal.members.voters)
        target = candidate.replaces if candidate.replaces in voters else None
        try:
            if candidate.id in voters:
                return target is not None and self._remove(target, candidate)
            if not self._has_caught_up(leading, candidate):
                return False
            if target is not None and target not in leading.live():
                return self._remove(target, candidate)
            self._requests.promote(candidate.id, ACTOR)
        except NotApplied as error:
            if str(error) != self._said:
                self._said = str(error)
                log.warning("a change of the membership has to wait: %s", error)
            return False
        return True

    def _has_caught_up(self, leading: Leadership, learner: Member) -> bool:
        match = leading.progress[learner.id].match
        near = self._journal.last_index - match <= self._lag_max and match >= self._journal.members_index
        return near and learner.folder_id is not None and learner.id in leading.live()

    def _remove(self, gone: str, successor: Member) -> bool:
        self._requests.change("remove", Member(gone, "", ""), ACTOR, f"replaced-by-{successor.id}")
        return True
