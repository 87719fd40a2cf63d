"""The running group that a new replica asks: the members that it was told of, by the client library's retry engine.

It decides one thing: a refusal of this replica, or a group that cannot answer now. The rule: a folder that the group
may have taken in is never said to be refused alone (`unsure`).
"""

import logging
from typing import Final, TypeVar

import httpx

from raftmem import client
from raftmem.client.effects import Failed, Pause, Program, Reply
from raftmem.client.endpoints import Endpoints
from raftmem.client.plan import Plan
from raftmem.client.retry import Caller, Patience
from raftmem.client.session import Session
from raftmem.client.thread_driver import BlockingTime, ThreadDriver, http_client
from raftmem.errors import BadRequest, NoLeader, WrongState
from raftmem.model.addresses import check_rest_url
from raftmem.runtime.interfaces import Randomness

log = logging.getLogger("raftmem.joining")
GROUP_S: Final = 120.0  # many elections
PAUSE_S: Final = 1.0  # at most, between two rounds over all members that were named
ANSWER_S: Final = 10.0  # a member that has not answered so long is passed over
# The engine has tried these again until the time was over.
_LATER: Final = (
    *(client.Unreachable, client.WriteOutcomeUnknown, client.NoLeader, client.NoQuorum, client.NoSpace),
    client.TooManyRequests,
)

_A = TypeVar("_A")


class AskedGroup:
    """The members that were named, asked until one has an answer that stands.

    `unsure`: the group may have taken the folder in, although the last answer was a refusal.
    """

    def __init__(
        self,
        urls: str,
        node_id: str,
        transport: httpx.BaseTransport | None,
        time: BlockingTime,
        randomness: Randomness,
    ) -> None:
        """`node_id`: who asks. Raises: BadRequest."""
        try:
            for url in urls.split(","):
                check_rest_url(url.strip().rstrip("/"), name="join")
            endpoints = Endpoints(urls)
        except ValueError as error:
            raise BadRequest(str(error), parameter="join") from error
        self.unsure = False
        self._client = http_client(endpoints.urls, transport=transport)
        self._driver = ThreadDriver(self._client, time)
        self._caller = Caller(
            endpoints,
            Session(None),
            time,
            _Randomness(randomness),
            headers=(("Raftmem-Actor", f"service/{node_id}"),),
            patience=Patience(GROUP_S, ANSWER_S, PAUSE_S),
            connect_s=ANSWER_S,
        )

    def close(self) -> None:
        self._client.close()

    def ask(self, plan: Plan[_A]) -> _A:
        """Raises: NoLeader when no answer stands after so long, WrongState when the group refuses."""
        try:
            return self._driver.run(_told(self._caller.call(plan))).value
        except client.RaftmemClientError as error:
            if _says_nothing(error):
                reason = error.reason if isinstance(error, client.WriteOutcomeUnknown) else error
                raise NoLeader(
                    f"the group has not taken this replica in within {GROUP_S:.0f} s: {reason}; start it again"
                ) from error
            self.unsure = error.after_unknown or not error.code  # without a code it is no replica that refuses
            raise WrongState(f"the group refuses: {error.code}: {error}" if error.code else str(error)) from error


def _says_nothing(error: client.RaftmemClientError) -> bool:
    """True if the error is about the group and not about this replica: no answer, or none possible at the moment."""
    if isinstance(error, client.ServerError):
        return bool(error.code)
    return isinstance(error, _LATER)


class _Randomness:
    """The replica's randomness, as the client library draws it."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness

    def random(self) -> float:
        return self._randomness.random()

    def text(self) -> str:
        return self._randomness.bytes(16).hex()


def _told(program: Program[_A]) -> Program[_A]:
    """Run the same program, and log once that it waits, with the reason."""
    effect, reason, is_said = next(program), "", False
    while True:
        if isinstance(effect, Pause) and not is_said:
            log.warning("waiting for the group to answer: %s", reason)
            is_said = True
        outcome = yield effect
        if isinstance(outcome, Failed):
            reason = outcome.reason
        elif isinstance(outcome, Reply):
            reason = f"answered {outcome.status}"
        try:
            effect = program.send(outcome)
        except StopIteration as ended:
            value: _A = ended.value
            return value
