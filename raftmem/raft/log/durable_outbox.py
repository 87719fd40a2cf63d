"""The durable outbox holds each message until what it promises is on disk, or drops it (sync-before-promise)."""

from collections.abc import Callable

from raftmem.raft import messages as m
from raftmem.raft.log.journal import Journal


class DurableOutbox:
    """`current_term()` at the moment of release must be the one the message was made in (termed-answers)."""

    def __init__(
        self, *, journal: Journal, current_term: Callable[[], int], send: Callable[[str, m.Message], None]
    ) -> None:
        self._journal = journal
        self._current_term = current_term
        self._send = send

    def send(self, peer: str, message: m.Message, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Send it once the hard state of now is on disk; drop it if the term has moved by then, or `unless` says so."""
        term = self._current_term()

        def release() -> None:
            if self._current_term() == term and not unless():
                self._send(peer, message)

        self._journal.writer.when_durable(self._journal.hard_number, release)
