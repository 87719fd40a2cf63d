"""What the log says of one mutex, judged event by event: one holder at most, rising tokens, first come first served.

It knows nothing of the service's rows: whoever is not let in by an event of the log is not in.
"""

from collections.abc import Iterable

from raftmem.client import Event


class MutexHistory:
    """`token`, `owner`: of the hold in force; 0 and "": none. `queue`: who waits, who came first being first.

    `granted`: owners by token. `served`: grants that came out of the queue. `expired`: tokens that ran out.
    """

    def __init__(self) -> None:
        self.token = 0
        self.owner = ""
        self.queue: list[str] = []
        self.granted: dict[int, str] = {}
        self.served = 0
        self.expired: list[int] = []

    def take(self, event: Event) -> None:
        if event.applied:
            self._take_applied(event)
        elif event.op in ("LOCK_RENEW", "LOCK_RELEASE") and event.code == "stale-token":
            assert (event.token, owner_of(event)) != (self.token, self.owner), f"in force, and refused: {event}"

    def _take_applied(self, event: Event) -> None:
        match event.op:
            case "LOCK_ACQUIRE":
                assert not self.queue, f"{self.queue} wait, and it goes to another: {event}"
                self._grant(event)
            case "LOCK_GRANT":
                assert self.queue[:1] == [owner_of(event)], f"not the first of {self.queue}: {event}"
                del self.queue[0]
                self.served += 1
                self._grant(event)
            case "LOCK_WAIT":
                assert self.token, f"waits for what nobody holds: {event}"
                if owner_of(event) not in self.queue:  # who asks again keeps the place
                    self.queue.append(owner_of(event))
            case "LOCK_RENEW":
                assert event.token == self.token, f"renewed, and {self.token} is in force: {event}"
            case "LOCK_RELEASE" | "LOCK_EXPIRE" | "LOCK_FORCE_RELEASE" if event.token is not None:
                assert event.token == self.token, f"ended, and {self.token} is in force: {event}"
                if event.op == "LOCK_EXPIRE":
                    self.expired.append(self.token)
                self.token, self.owner = 0, ""
            case "LOCK_LEAVE" | "LOCK_EXPIRE":
                self.queue.remove(owner_of(event))

    def _grant(self, event: Event) -> None:
        assert not self.token, f"{self.owner} holds it with {self.token}: {event}"
        assert event.token == event.index, f"a token is the index of its grant: {event}"
        assert event.index > max(self.granted, default=0)
        self.token, self.owner = event.index, owner_of(event)
        self.granted[self.token] = self.owner


def owner_of(event: Event) -> str:
    """The event says it, or the request did."""
    if event.owner is not None:
        return event.owner
    assert isinstance(event.payload, dict)
    return str(event.payload["owner"])


def mutex_history(events: Iterable[Event]) -> MutexHistory:
    """Of the events of one lock, in order."""
    history = MutexHistory()
    for event in events:
        history.take(event)
    return history
