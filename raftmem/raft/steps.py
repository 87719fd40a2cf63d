"""The steps of one replica's consensus: each is guarded, and a turn follows when a part asks for one.

Rule (apply-once): a step that raises stops this replica, because a half-done step must not be built on.
"""

import logging
from collections.abc import Callable

from raftmem.errors import Stop
from raftmem.runtime.interfaces import Loop

log = logging.getLogger("raftmem.raft")


class Steps:
    """`turn()` does what has become due. `fail(error)` stops this replica. `stopped`: no step runs any more."""

    def __init__(self, node_id: str, *, loop: Loop, turn: Callable[[], None], fail: Callable[[Stop], None]) -> None:
        self.stopped = False
        self._node_id = node_id
        self._loop = loop
        self._turn = turn
        self._fail = fail
        self._turn_due = False

    def kick(self) -> None:
        """A turn is due: one runs soon, however often this is called before it."""
        if not self._turn_due and not self.stopped:
            self._turn_due = True
            self._loop.call_soon(self._due)

    def guard(self, work: Callable[[], None]) -> None:
        """Run it; whatever it raises stops this replica."""
        try:
            work()
        except Stop as error:
            self._fail(error)
        except Exception as error:
            log.exception("%s: a step of consensus raised", self._node_id)
            self._fail(Stop(f"a step of consensus raised {error!r}; this is a defect, the log on disk is as it was"))

    def step(self, work: Callable[[], None]) -> None:
        """Run a step that a callback begins, and a turn after it; nothing once this replica has stopped."""
        if not self.stopped:
            self.guard(work)
            self.kick()

    def _due(self) -> None:
        self._turn_due = False
        if not self.stopped:
            self.guard(self._turn)
