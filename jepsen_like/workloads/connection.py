"""One client process of a workload: asks one replica at a time, and records each operation with its outcome.

Rule: nothing is retried here. An operation without an answer is `unknown` if it may have changed something. Then its
process id is retired, and the client goes on under a new one, at another replica.
"""

import random
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from jepsen_like.cluster.client import Answer, Client, Lost, Unreached
from jepsen_like.history.record import Operation, Type
from jepsen_like.history.recorder import Recorder

TIMEOUT_MS = 2_000  # that a replica may take; the connection waits longer, so as to hear what it says then
GRACE_S = 3.0
_ASKED_LEVEL = re.compile(r"[?&]consistency=([a-z]+)")
PAUSE_S = 0.05  # before another replica is asked, lest a group that is down be asked a thousand times a second


@dataclass(frozen=True)
class Request:
    """`reads`: it changes nothing, so that without an answer it has failed. `key`: an Idempotency-Key.

    `timeout_ms`: that the replica may take, beside `wait_ms`. `pages`: the name of a list that is wanted whole, all its
    pages as one answer.
    """

    method: str
    target: str
    body: object = None
    reads: bool = False
    key: str | None = None
    wait_ms: int = 0
    timeout_ms: int = TIMEOUT_MS
    pages: str | None = None


def nothing(answer: Answer) -> object:
    """The result of a reply of which only the outcome counts."""
    del answer
    return None


class Connection:
    """`urls`: where each replica serves clients. `process` is the id of now."""

    def __init__(
        self, urls: Callable[[], Mapping[str, str]], recorder: Recorder, *, actor: str, chance: random.Random
    ) -> None:
        self._urls = urls
        self._recorder = recorder
        self._actor = actor
        self._chance = chance
        self._client: Client | None = None
        self.node = ""
        self.process = recorder.new_process()

    def do(
        self, f: str, key: str, value: object, request: Request, understand: Callable[[Answer], object] = nothing
    ) -> Operation:
        """Ask, and record. `understand`: what a reply of 2xx or 404 on a read tells, the operation's `result`; it may
        raise ValueError for a reply that no healthy replica gives, which is recorded as a failure named `nonsense`.
        """
        name = secrets.token_hex(8)
        call = self._recorder.now()
        answer: Answer | None = None
        result: object = None
        try:
            answer = self._whole(request, name)
            type_, error = _outcome(answer, request)
            if type_ == "ok":
                _check_level(answer, request)
                result = understand(answer)
        except Unreached:
            type_, error = "fail", "unreached"
        except Lost:
            type_, error = ("fail" if request.reads else "unknown"), "lost"
        except ValueError as nonsense:
            type_, error, result = ("fail" if request.reads else "unknown"), "nonsense", str(nonsense)
        headers = {} if answer is None else answer.headers
        operation = Operation(
            process=self.process,
            f=f,
            key=key,
            value=value,
            type=type_,
            result=result,
            call=call,
            return_=None if type_ == "unknown" else self._recorder.now(),
            index=int(headers["raftmem-index"]) if "raftmem-index" in headers else None,
            node=self.node,
            level=headers.get("raftmem-consistency"),
            error=error,
            request=name,
            idempotency=request.key,
        )
        self._recorder.write(operation)
        if type_ == "unknown":
            self.retire()
        if answer is None or answer.status >= 500:
            self.move()
            time.sleep(PAUSE_S)
        return operation

    def another(self) -> "Connection":
        """One more of the same client: the same actor, a process of its own, maybe another replica."""
        chance = random.Random(self._chance.random())
        return Connection(self._urls, self._recorder, actor=self._actor, chance=chance)

    def _whole(self, request: Request, name: str) -> Answer:
        """The answer, or that of the first page with the rows of all. Raises: ValueError: pages do not fit."""
        answer = self._ask(request, name)
        if request.pages is None or answer.status != 200:
            return answer
        rows, page = answer.rows(request.pages), answer
        mark = "&" if "?" in request.target else "?"
        while page.at("next_cursor") is not None:
            following = replace(request, target=f"{request.target}{mark}cursor={page.text('next_cursor')}")
            page = self._ask(following, name)
            if page.status != 200:
                return page
            if page.index != answer.index:
                raise ValueError(f"a page of index {page.index} follows one of index {answer.index}")
            rows = rows + page.rows(request.pages)
        return Answer(answer.status, answer.headers, {request.pages: rows, "next_cursor": None})

    def _ask(self, request: Request, name: str) -> Answer:
        if self._client is None:
            urls = self._urls()
            self.node = self._chance.choice(sorted(urls))
            self._client = Client(urls[self.node], actor=self._actor)
        mark = "&" if "?" in request.target else "?"
        target = f"{request.target}{mark}timeout_ms={request.timeout_ms}"
        return self._client.ask(
            request.method,
            target,
            request.body,
            key=request.key,
            headers={"X-Request-Id": name},
            timeout_s=(request.timeout_ms + request.wait_ms) / 1000 + GRACE_S,
        )

    @property
    def actor(self) -> str:
        """In whose name it asks."""
        return self._actor

    def retire(self) -> None:
        """The process is gone, with all that it held: the next one has a new id."""
        self.process = self._recorder.new_process()

    def move(self) -> None:
        """Ask another replica from now on, or the same by chance."""
        self.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _check_level(answer: Answer, request: Request) -> None:
    """Raises: ValueError when a read ran at another level than was asked for."""
    asked = _ASKED_LEVEL.search(request.target)
    ran = answer.headers.get("raftmem-consistency")
    if asked is not None and ran != asked[1]:
        raise ValueError(f"asked for {asked[1]}, answered at {ran}")


def _outcome(answer: Answer, request: Request) -> tuple[Type, str | None]:
    """The outcome of a reply, and the code of a refusal."""
    if answer.status < 300 or (request.reads and answer.status == 404):
        return "ok", None
    problem = answer.body if isinstance(answer.body, dict) else {}
    code = str(problem.get("code", answer.status))
    if request.reads or problem.get("outcome") == "not_applied":
        return "fail", code
    return "unknown", code
