"""The retry engine: one call over all replicas, with its attempts, its pauses, its deadline and its outcome.

The rules: a request is sent again only if that cannot apply it twice (see `plan.py`). A request that certainly was not
applied goes to the next endpoint at once. After all endpoints comes a pause with full jitter, never shorter than the
service asked for. A call ends at its deadline; a write then ends as `WriteOutcomeUnknown` if any attempt may have been
applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from raftmem.client.effects import Clock, Failed, Pause, Program, Randomness, Reply, Request, send
from raftmem.client.endpoints import Endpoints
from raftmem.client.errors import RaftmemClientError, ServerError, Unreachable, WriteOutcomeUnknown, of_reply
from raftmem.client.plan import Pairs, Plan
from raftmem.client.session import Session, index_of

T = TypeVar("T")
SERVER_WAIT_S: Final = 5.0  # how long a replica waits for a commit or a level by itself
MARGIN_S: Final = 5.0  # a replica that has said nothing so long after that is gone
PAUSE_S_FIRST: Final = 0.05
PAUSE_S_MAX: Final = 2.0
_AGAIN: Final = frozenset({429, 507})  # not applied; the same replica may do it later
_ELSEWHERE: Final = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The reply of a call. `sent`: when the answered attempt left; `first_sent`: when the first attempt left.
    `params`: as sent. `headers`: of the reply, with names in lower case."""

    value: T
    status: int
    headers: Mapping[str, str]
    index: int | None
    sent: float
    first_sent: float
    params: Pairs
    replayed: bool


class Patience(NamedTuple):
    """The time limits of one call. `attempt_s`: of one attempt, without its own wait. `for_group`: True waits
    for a group although no endpoint can be connected to."""

    total_s: float
    attempt_s: float = SERVER_WAIT_S + MARGIN_S
    pause_s: float = PAUSE_S_MAX
    for_group: bool = True


class _Given(NamedTuple):
    """The outcome of an attempt without an answer. `unknown`: the attempt may have been applied.

    `stay`: ask the same replica again rather than the next. `pause_s`: no sooner than after this. `heard`: a replica
    was reached.
    """

    error: RaftmemClientError | None
    reason: str
    unknown: bool = False
    stay: bool = False
    pause_s: float = 0.0
    heard: bool = True


class Caller:
    """The common part of all calls of one client in one process."""

    def __init__(
        self,
        endpoints: Endpoints,
        session: Session,
        clock: Clock,
        randomness: Randomness,
        *,
        headers: Pairs,
        patience: Patience,
        connect_s: float,
    ) -> None:
        self.endpoints = endpoints
        self.session = session
        self.clock = clock
        self.randomness = randomness
        self.patience = patience
        self.headers = headers
        self.connect_s = connect_s

    def call(self, plan: Plan[T], patience: Patience | None = None) -> Program[Answer[T]]:
        """Raises: RaftmemClientError."""
        patience = patience or self.patience
        began = self.clock.now()
        deadline = began + patience.total_s + plan.wait_s
        key = plan.key or (f"client-{self.randomness.text()}" if plan.keyed else None)
        request_id = self.randomness.text()
        unknown: _Given | None = None
        last: RaftmemClientError | None = None
        reasons: dict[str, str] = {}
        for turn in count():
            pause_s, heard = 0.0, False
            for endpoint in self.endpoints.round():
                sent = self.clock.now()
                if (unknown or last or reasons) and sent >= deadline:
                    break
                params = plan.params if plan.reading is None else (*plan.params, *self.session.params(plan.reading))
                request = self._request(plan, endpoint, params, key, request_id, patience, deadline - sent)
                try:
                    got = self._judge(plan, endpoint, (yield from send(request)), key)
                except RaftmemClientError as error:
                    error.after_unknown = unknown is not None
                    raise
                if isinstance(got, Reply):
                    return _answer(got, _parsed(plan, got, endpoint, key), sent, began, params)
                last, reasons[endpoint] = got.error or last, got.reason
                unknown, pause_s = got if got.unknown else unknown, max(pause_s, got.pause_s)
                heard = heard or got.heard
                if got.stay:
                    break
                self.endpoints.failed(endpoint)
            if not heard and not patience.for_group:
                break
            pause_s += self.randomness.random() * min(patience.pause_s, PAUSE_S_FIRST * 2 ** min(turn, 16))
            if self.clock.now() + pause_s >= deadline:
                break
            yield Pause(pause_s)
        if unknown is not None:
            problem = None if unknown.error is None else unknown.error.problem
            raise WriteOutcomeUnknown(unknown.reason, key=key, problem=problem)
        raise last or Unreachable(reasons)

    def _request(
        self,
        plan: Plan[T],
        endpoint: str,
        params: Pairs,
        key: str | None,
        request_id: str,
        patience: Patience,
        left_s: float,
    ) -> Request:
        headers = [*self.headers, ("X-Request-Id", request_id), *plan.headers]
        if plan.content is not None:
            headers.append(("Content-Type", "application/json"))
        if key is not None:
            headers.append(("Idempotency-Key", key))
        query = f"?{urlencode(params)}" if params else ""
        left_s = max(left_s, 0.05)
        read_s = min(patience.attempt_s + plan.wait_s, left_s)
        connect_s = min(self.connect_s, patience.attempt_s, left_s)
        return Request(plan.method, f"{endpoint}{plan.path}{query}", tuple(headers), plan.content, connect_s, read_s)

    def _judge(self, plan: Plan[T], endpoint: str, got: Reply | Failed, key: str | None) -> Reply | _Given:
        """Raises: RaftmemClientError if another attempt cannot help."""
        is_write = plan.reading is None
        if isinstance(got, Failed):
            return _Given(None, got.reason, unknown=is_write and got.sent, heard=got.sent)
        current = self.session.saw(got.headers)
        if not current and not is_write:
            return _Given(None, "answers for an incarnation of the group that is over")
        if got.status < 400:
            return got
        error = of_reply(got.status, got.body, index=index_of(got.headers), endpoint=endpoint)
        unknown = is_write and error.problem.get("outcome", "unknown") == "unknown"
        if got.status in _AGAIN:
            return _Given(error, error.detail, stay=True, pause_s=_retry_after_s(error, got))
        if got.status in _ELSEWHERE:
            return _Given(error, error.detail, unknown=unknown, pause_s=_retry_after_s(error, got))
        if unknown and got.status >= 500:
            raise WriteOutcomeUnknown(error.detail, key=key, problem=error.problem)
        raise error


def _answer(reply: Reply, value: T, sent: float, first_sent: float, params: Pairs) -> Answer[T]:
    replayed = "idempotent-replayed" in reply.headers
    return Answer(value, reply.status, reply.headers, index_of(reply.headers), sent, first_sent, params, replayed)


def _parsed(plan: Plan[T], reply: Reply, endpoint: str, key: str | None) -> T:
    try:
        return plan.parse(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
        detail = f"{endpoint} answered {reply.status} to {plan.method} {plan.path} and not as a replica does: {error}"
        if plan.reading is None:
            raise WriteOutcomeUnknown(detail, key=key) from error
        raise ServerError(detail, index=index_of(reply.headers)) from error


def _retry_after_s(error: RaftmemClientError, reply: Reply) -> float:
    """The body gives milliseconds, the header only seconds."""
    exact = error.problem.get("retry_after_ms")
    if isinstance(exact, int):
        return exact / 1000
    given = reply.headers.get("retry-after", "")
    return float(given) if given.isdigit() else 0.0
