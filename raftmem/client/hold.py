"""A hold of a lock: asked for, counted from the send, renewed, given back.

The rules: a grant that came out of a queue, or came late, is renewed before it is handed out, since its age is unknown.
Each hold of a client has an owner of its own among the holds of that lock, so two threads are two holders. A grant that
is not handed out, because its caller was cut off or an error came between, is given back.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from raftmem.client import locks
from raftmem.client.effects import Flag, Pause, Program
from raftmem.client.errors import LeaseLost, LockHeld, RaftmemClientError, StaleToken, of_problem
from raftmem.client.giving_back import is_doubtful, unacquire
from raftmem.client.keeper import Keeper
from raftmem.client.lease import RETRY_SHARE, Lease, span
from raftmem.client.plan import WAIT_S_MAX
from raftmem.client.retry import Caller, Patience
from raftmem.client.values import checked, name, seconds, text

_log = logging.getLogger("raftmem.client")
_TURN_S_MIN: Final = 0.1  # between two requests for a lock that is held
_UNANSWERED_S: Final = 15.0  # an election or two
_KEEP_S: Final = 5.0  # for which a place in the queue stays between two requests of a long wait
_RELEASE_S: Final = 2.0  # spent on giving back what is lost already
_RENEWALS_MAX: Final = 1000  # of one request
_GRANTED: Final = ("LOCK_ACQUIRE", "LOCK_RENEW")  # by the request itself, hence after it was sent


class Want(NamedTuple):
    """`wait`: seconds to stand in the queue; None: however long; 0: not at all."""

    name: str
    owner: str
    ttl: float
    wait: float | None
    permits: int
    metadata: dict[str, object] | None


class Taken(NamedTuple):
    """`sent`: when the request that gave it, or renewed it last, left."""

    token: int
    sent: float


def taking(caller: Caller, want: Want, doubtful: int = 0) -> Program[Taken]:
    """Acquire the lock. `doubtful`: see `Places`. Raises: LockHeld after the wait, and the errors of `acquire`."""
    clock = caller.clock
    ends = None if want.wait is None else clock.now() + want.wait
    while True:
        asked = clock.now()
        left = WAIT_S_MAX if ends is None else min(max(ends - asked, 0.0), WAIT_S_MAX)
        goes_on = ends is None or ends - asked > WAIT_S_MAX
        plan = locks.acquire(
            want.name,
            owner=want.owner,
            ttl=want.ttl,
            wait=left,
            keep=_KEEP_S if goes_on else 0.0,
            permits=want.permits,
            metadata=want.metadata,
        )
        try:
            answer = yield from caller.call(plan, _patience_with(caller, ends, asked))
        except LockHeld:
            now = clock.now()
            if ends is not None and now >= ends:
                raise
            if now - asked < _TURN_S_MIN:
                yield Pause(_TURN_S_MIN * (0.5 + caller.randomness.random()))
            continue
        grant, sent = answer.value, answer.sent
        try:
            if grant.token <= doubtful:  # the owner's last hold, whose release may still come
                yield from caller.call(locks.release(want.name, owner=want.owner, token=grant.token))
                continue
            while (answer.value.event.op not in _GRANTED) or clock.now() >= sent + span(want.ttl):
                renewal = locks.renew(want.name, owner=want.owner, token=grant.token, ttl=want.ttl)
                answer = yield from caller.call(renewal, patience_of(caller, want.ttl, caller.patience.total_s))
                sent = answer.sent
        except StaleToken:  # it expired before this process heard of it, or its release has come
            continue
        except RaftmemClientError as error:
            error.after_unknown = True  # a grant is there
            raise
        return Taken(grant.token, sent)


def _patience_with(caller: Caller, ends: float | None, asked: float) -> Patience:
    """For a group that does not answer: somewhat longer than the wait for the lock, but no whole minute."""
    if ends is None:
        return caller.patience
    return caller.patience._replace(total_s=min(caller.patience.total_s, max(ends - asked, _UNANSWERED_S)))


def patience_of(caller: Caller, ttl: float, total_s: float) -> Patience:
    """Attempts so short that another replica can be asked before the lease is over."""
    attempt_s = min(max(ttl / 6, 0.1), caller.patience.attempt_s)
    return Patience(total_s, attempt_s, min(ttl * RETRY_SHARE, caller.patience.pause_s))


def renewing(caller: Caller, leases: Iterable[Lease]) -> Program[None]:
    """One heartbeat for leases of one owner and TTL. Each lease is told its outcome."""
    wanted = sorted(leases, key=lambda lease: lease.renew_at)[:_RENEWALS_MAX]  # the others come next
    one = wanted[0]
    left = min(lease.until for lease in wanted) - caller.clock.now()
    plan = locks.renew_many([(lease.name, lease.token) for lease in wanted], owner=one.owner, ttl=one.ttl)
    try:
        answer = yield from caller.call(plan, patience_of(caller, one.ttl, max(left, 0.0)))
    except RaftmemClientError as error:
        _log.warning("%d locks of %s are not renewed yet: %s", len(wanted), one.owner, error)
        for lease in wanted:
            lease.retry()
        return
    came = {(renewed.name, renewed.token): renewed for renewed in answer.value}
    for lease in wanted:
        renewed = came.get((lease.name, lease.token))
        if renewed is None:
            lease.retry()
        elif renewed.error is None:
            lease.renewed(answer.sent)
        else:
            refusal = of_problem(renewed.error)
            if lease.leaving:
                continue  # refused because it is given back, perhaps: the release says it
            if isinstance(refusal, StaleToken):
                lease.lose(refusal.detail, refused=True)
            else:
                _log.warning("%s is not renewed yet: %s", lease.name, refusal)
                lease.retry()


def leaving(caller: Caller, lease: Lease) -> Program[LeaseLost | None]:
    """Release a lease -> LeaseLost if it was lost before.

    A lease that cannot be released while it lasts expires by itself.
    """
    if lease.is_lost() and lease.refused:
        lease.settled = True
        return _lost(lease)
    lease.leaving = True
    total_s = _RELEASE_S if lease.is_lost() else max(lease.remaining, _RELEASE_S)
    try:
        yield from caller.call(
            locks.release(lease.name, owner=lease.owner, token=lease.token), patience_of(caller, lease.ttl, total_s)
        )
    except StaleToken as error:
        lease.lose(error.detail, refused=True)
        lease.settled = True
    except RaftmemClientError as error:
        _log.warning("%s (token %d) is not released and will run out: %s", lease.name, lease.token, error)
    else:
        lease.settled = True
    lease.end()
    return None if lease.ended else _lost(lease)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(lease.name, lease.token, lease.reason or "")


class Places:
    """The owners of the holds of one client. Two holds of one lock at one time have different owners.

    `doubtful`: the newest token of a hold whose release was not confirmed and may still be applied. An owner that gets
    such a token again must not rely on it.
    """

    def __init__(self, owner: str) -> None:
        self.doubtful = 0
        self._owner = owner
        self._guard = threading.Lock()
        self._used: dict[str, set[str]] = {}

    def take(self, name: str, owner: str | None) -> str:
        """Raises: ValueError when this owner has a hold of the lock already: both would be one."""
        with self._guard:
            used = self._used.setdefault(name, set())
            if owner is None:
                number = next(n for n in range(1, len(used) + 2) if f"{self._owner}.{n}" not in used)
                owner = f"{self._owner}.{number}"
            elif owner in used:
                raise ValueError(f"{owner} holds {name} here already, or waits for it: give each hold its own owner")
            used.add(owner)
            return owner

    def end(self, lease: Lease) -> None:
        """After a hold."""
        if not lease.settled:
            with self._guard:
                self.doubtful = max(self.doubtful, lease.token)
        self.give(lease.name, lease.owner)

    def give(self, name: str, owner: str) -> None:
        with self._guard:
            used = self._used[name]
            used.discard(owner)
            if not used:
                del self._used[name]


class HoldBase:
    """The common part of a hold on threads and on asyncio. Before it is entered there is no lease."""

    def __init__(
        self, caller: Caller, keeper: Callable[[], Keeper], places: Places, want: Want, owner: str | None
    ) -> None:
        """Raises: TypeError, ValueError for values that cannot be sent."""
        name(want.name, "name")
        seconds(want.ttl, "ttl")
        if want.wait is not None:
            seconds(want.wait, "wait")
        if owner is not None:
            text(owner, "owner")
        checked(want.metadata, "metadata")
        self._caller = caller
        self._find_keeper = keeper
        self._places = places
        self._want = want
        self._asked_owner = owner
        self._asked_as: str | None = None  # while it is being entered
        self._seen = 0
        self._lease: Lease | None = None

    def __repr__(self) -> str:
        lease = self._lease
        if lease is None:
            return f"<{type(self).__name__} of {self.name}, not entered>"
        state = "released" if lease.ended else "lost" if lease.is_lost() else f"{lease.remaining:.1f} s remain"
        return f"<{type(self).__name__} of {self.name} as {lease.owner}, token {lease.token}, {state}>"

    def _entering(self, on_lost: Callable[[], None]) -> Program[None]:
        """Raises: as `taking`. If it ends with an error, or is cut off, `_giving_up` comes next."""
        if self._lease is not None:
            raise RuntimeError(f"this hold of {self.name} was used already; make another one")
        owner = self._places.take(self.name, self._asked_owner)
        self._asked_as, self._seen = owner, self._caller.session.seen.index
        taken = yield from taking(self._caller, self._want._replace(owner=owner), self._places.doubtful)
        self._lease = Lease(
            self._caller.clock,
            name=self.name,
            owner=owner,
            token=taken.token,
            ttl=self._want.ttl,
            sent=taken.sent,
            on_lost=on_lost,
        )
        self._keeper.keep(self._lease)

    def _giving_up(self, error: BaseException) -> Program[None]:
        """Give back what the service may have granted before `error` came."""
        owner = self._asked_as
        if owner is None:
            return
        try:
            if self._lease is not None:
                self._keeper.drop(self._lease)
                yield from leaving(self._caller, self._lease)
            elif is_doubtful(error):
                yield from unacquire(self._caller, self.name, owner=owner, seen=self._seen)
        finally:
            self._asked_as = None
            self._places.give(self.name, owner)

    @property
    def _keeper(self) -> Keeper:
        return self._find_keeper()

    def _leaving(self, waits_for_loss: Flag, error: BaseException | None) -> Program[None]:
        """`error`: the exception that leaves the block. Raises: LeaseLost, if there is none."""
        lease = self._held
        self._keeper.drop(lease)
        try:
            lost = yield from leaving(self._caller, lease)
        finally:
            self._places.end(lease)
            waits_for_loss.set()
        if lost is not None:
            if error is None:
                raise lost
            _log.warning("%s", lost)

    @property
    def _held(self) -> Lease:
        if self._lease is None:
            raise RuntimeError(f"{self.name} is not held: use `with client.locks.hold(…) as lock`")
        return self._lease

    @property
    def name(self) -> str:
        return self._want.name

    @property
    def owner(self) -> str:
        return self._held.owner

    @property
    def token(self) -> int:
        """The fencing token: rises with every grant."""
        return self._held.token

    @property
    def guard(self) -> dict[str, object]:
        """For `guards=` of a write: the write is refused unless this hold is in force when it is applied."""
        found: dict[str, object] = {"lock": self.name, "token": self.token}
        return found | {"owner": self.owner} if self._want.permits > 1 else found

    @property
    def remaining(self) -> float:
        """Seconds for which the hold is reliable without another renewal; 0 once it is lost."""
        return self._held.remaining

    def check(self) -> None:
        """Raises: LeaseLost, a margin before the service could give the lock to another."""
        self._held.check()
