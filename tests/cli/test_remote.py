"""Asking a group that fails in every way a network can: which endpoint next, which exit code in the end."""

import contextlib
from collections.abc import Callable

import httpx
import pytest

from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.remote import MARGIN_S, Answer, Remote
from raftmem.client.retry import PAUSE_S_MAX
from raftmem.client.thread_driver import SystemTime

Reply = httpx.Response | type[httpx.TransportError]
PROBLEM = {"detail": "why", "outcome": "not_applied", "retryable": False}


def problem(status: int, code: str, **fields: object) -> httpx.Response:
    return httpx.Response(status, json=PROBLEM | {"code": code, "status": status} | fields)


def ok() -> httpx.Response:
    return httpx.Response(200, json={"fine": True})


class JumpingTime(SystemTime):
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.moment = 0.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.moment += seconds


class Network:
    """Answers from a script, one reply an attempt; the last one for ever."""

    def __init__(self, *script: Callable[[], Reply]) -> None:
        self.script = list(script)
        self.seen: list[httpx.Request] = []
        self.time = JumpingTime()

    @property
    def pauses(self) -> list[float]:
        return self.time.pauses

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        reply = step()
        if isinstance(reply, httpx.Response):
            return reply
        raise reply("broken")

    def remote(self, url: str = "http://a:1,http://b:1") -> Remote:
        return Remote(
            url,
            actor="agent/t",
            transport=httpx.MockTransport(self.answer),
            time=self.time,
        )


def refused() -> Reply:
    return httpx.ConnectError


def broken() -> Reply:
    return httpx.ReadTimeout


def no_leader() -> Reply:
    return problem(503, "no-leader", retryable=True, retry_after_ms=300)


def unknown() -> Reply:
    return problem(504, "unknown-outcome", retryable=True, outcome="unknown")


def stale() -> Reply:
    return problem(412, "precondition-failed")


def write(network: Network) -> Answer:
    return network.remote().write("POST", "/v1/memories", body={"text": "x"})


def read(network: Network) -> Answer:
    return network.remote().read("GET", "/v1/memories/x", params={"tag": ["a", "b"], "at": 3, "limit": None})


def exit_of(network: Network, ask: Callable[[Network], Answer]) -> Exit:
    with pytest.raises(CommandFailed) as failed:
        ask(network)
    return failed.value.exit_code


def test_endpoint_that_refuses_is_passed_over() -> None:
    network = Network(refused, ok)
    assert write(network).body == {"fine": True}
    assert [request.url.host for request in network.seen] == ["a", "b"]
    assert network.pauses == []


def test_group_that_refuses_everywhere_fails_at_once() -> None:
    network = Network(refused)
    assert exit_of(network, write) == Exit.FAILED
    assert len(network.seen) == 2


def test_broken_write_is_repeated_under_the_same_key() -> None:
    network = Network(broken, unknown, ok)
    write(network)
    keys = {request.headers["Idempotency-Key"] for request in network.seen}
    assert (len(network.seen), len(keys)) == (3, 1)


@pytest.mark.parametrize("script", [(broken,), (unknown,), (broken, refused), (unknown, no_leader)])
def test_write_that_stays_unknown_is_code_3(script: tuple[Callable[[], Reply], ...]) -> None:
    network = Network(*script)
    with pytest.raises(CommandFailed, match=r"outcome unknown.*--idempotency-key cli-") as failed:
        write(network)
    assert failed.value.exit_code == Exit.UNKNOWN


def test_write_without_a_leader_waits_and_is_code_5() -> None:
    network = Network(no_leader)
    assert exit_of(network, write) == Exit.NO_LEADER
    assert network.pauses[0] >= 0.3  # as the service asked
    assert max(network.pauses) <= 0.3 + PAUSE_S_MAX


def test_write_succeeds_once_a_leader_is_there() -> None:
    assert write(Network(no_leader, no_leader, no_leader, ok)).status == 200


def test_false_precondition_is_code_4_and_not_repeated() -> None:
    network = Network(stale)
    assert exit_of(network, write) == Exit.PRECONDITION
    assert len(network.seen) == 1


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid-request", Exit.USAGE),
        (404, "not-found", Exit.FAILED),
        (409, "already-exists", Exit.FAILED),
        (413, "too-large", Exit.USAGE),
        (422, "idempotency-key-reused", Exit.USAGE),
        (500, "internal", Exit.FAILED),
    ],
)
def test_final_problem_has_its_exit_code(status: int, code: str, expected: Exit) -> None:
    assert exit_of(Network(lambda: problem(status, code)), write) == expected


def test_broken_read_is_never_unknown() -> None:
    assert exit_of(Network(broken), read) == Exit.FAILED


def test_answer_that_is_not_ours_is_told() -> None:
    with pytest.raises(CommandFailed, match="not as a replica does"):
        read(Network(lambda: httpx.Response(200, text="<html>")))


def test_request_carries_identity_and_precondition() -> None:
    network = Network(ok)
    network.remote().write("PATCH", "/v1/memories/a%2Fb", body={"text": "x"}, if_version=3, key="k")
    request = network.seen[0]
    assert request.url.raw_path == b"/v1/memories/a%2Fb"
    assert request.headers["If-Match"] == '"3"'
    assert request.headers["Idempotency-Key"] == "k"
    assert request.headers["Raftmem-Actor"] == "agent/t"
    assert request.headers["X-Request-Id"].startswith("cli-")


def test_query_repeats_lists_and_leaves_out_what_is_not_given() -> None:
    network = Network(ok)
    read(network)
    assert network.seen[0].url.query == b"tag=a&tag=b&at=3"


def test_a_look_at_what_is_answered_at_once_passes_over_a_replica_that_is_frozen() -> None:
    network = Network(broken, ok)
    assert network.remote().read("GET", "/v1/cluster", params={}, waits=False).status == 200
    assert [request.url.host for request in network.seen] == ["a", "b"]

    def hangs() -> Reply:
        frozen.time.moment += MARGIN_S
        return httpx.ReadTimeout

    frozen = Network(hangs)
    with pytest.raises(CommandFailed):
        frozen.remote().read("GET", "/v1/cluster", params={}, waits=False)
    assert len(frozen.seen) == 2
    assert {request.extensions["timeout"]["read"] for request in frozen.seen} == {MARGIN_S}


def test_a_request_is_given_its_own_timeout_and_a_margin() -> None:
    network = Network(ok)
    network.remote().read("GET", "/v1/memories", params={"timeout_ms": 30_000})
    assert network.seen[0].extensions["timeout"]["read"] == 30.0 + MARGIN_S


def test_replicas_that_hang_are_asked_in_one_round_only() -> None:
    def hangs() -> Reply:
        network.time.moment += 2.0 + MARGIN_S
        return httpx.ReadTimeout

    network = Network(hangs)
    with pytest.raises(CommandFailed):
        network.remote().read("GET", "/v1/locks/l", params={"timeout_ms": 2000})
    assert len(network.seen) == 2


@pytest.mark.parametrize(
    ("status", "raw", "headers"),
    [
        (200, b'{"a": "\xff"}', {}),
        (200, b"[1, 2]", {}),
        (200, b"", {}),
        (200, b"{}", {"Raftmem-Index": "soon"}),
        (200, b"{}", {"Raftmem-Cluster": "/x", "Raftmem-Index": "-1"}),
        (404, b"\xff\xfe", {}),
        (404, b'{"code": "\xff"}', {}),
        (404, b'{"code": 7, "detail": [], "status": "many"}', {}),
        (503, b'{"code": "no-leader", "status": 503, "detail": "d", "retry_after_ms": -5}', {"Retry-After": "soon"}),
        (599, b"{}", {}),
        (302, b"{}", {"Location": "http://c:1/"}),
    ],
)
@pytest.mark.parametrize("ask", [write, read])
def test_no_answer_is_a_bug_of_the_command(
    ask: Callable[[Network], Answer], status: int, raw: bytes, headers: dict[str, str]
) -> None:
    network = Network(lambda: httpx.Response(status, content=raw, headers=headers))
    with contextlib.suppress(CommandFailed):
        assert isinstance(ask(network).body, dict)
