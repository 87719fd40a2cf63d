"""`raftmem member`, `leader` and `snapshot` against a scripted group: what is asked, what is said, when it ends."""

import importlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cli_world import Cli

from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.member import wait_until

Body = dict[str, object]
Rows = dict[str, dict[str, object]]
EVENT: Body = {"index": 12, "op": "MEMBER"}


def row(name: str, role: str, lag: int | None = 0) -> Body:
    contact = None if lag is None else 5
    return {"id": name, "role": role, "rest_url": "http://127.0.0.1:1", "lag_entries": lag, "contact_age_ms": contact}


class Group:
    """`views`: what GET /v1/cluster says, one after the other, the last for ever. `replies`: by route."""

    def __init__(self) -> None:
        self.views: list[list[Body]] = [[row("n1", "leader"), row("n2", "follower"), row("n3", "follower")]]
        self.replies: dict[str, tuple[int, Body]] = {}
        self.asked: list[tuple[str, Body | None, str | None]] = []
        group = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                view = group.views.pop(0) if len(group.views) > 1 else group.views[0]
                answer: Body = {"leader": None, "members": view}
                self._send(200, group.replies.get(self.path, (200, answer))[1])

            def do_POST(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                group.asked.append((f"{self.command} {self.path}", body, self.headers.get("idempotency-key")))
                self._send(*group.replies[f"{self.command} {self.path}"])

            do_DELETE = do_POST

            def _send(self, status: int, body: Body) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:  # the test reads `asked`
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    started = Group()
    monkeypatch.setenv("RAFTMEM_URL", started.url)
    monkeypatch.setattr(importlib.import_module("raftmem.cli.member"), "POLL_S", 0.001)
    yield started
    started.close()


def learner(name: str = "n4") -> tuple[int, Body]:
    return 201, {"member": {"id": name, "role": "learner"}, "event": EVENT, "cluster": {}}


N4 = ("n4", "--peer", "10.0.0.4:9104", "--rest", "http://10.0.0.4:8104")


def test_added_member_is_followed_until_it_votes(group: Group, cli: Cli) -> None:
    group.replies["POST /v1/cluster/members"] = learner()
    group.views = [
        [row("n1", "leader"), row("n4", "learner", None)],
        [row("n1", "leader"), row("n4", "learner", 900)],
        [row("n1", "leader"), row("n4", "learner", 900)],
        [row("n1", "leader"), row("n4", "follower")],
    ]
    ended = cli("member", "add", *N4, "--actor", "user/mia")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "n4 is a learner, since index 12",
        "Start it on its machine, with a folder that does not exist yet:",
        f"  raftmem serve --join {group.url} --node-id n4 --data DIR --rest 10.0.0.4:8104 --peer 10.0.0.4:9104",
    ]
    assert ended.err.splitlines() == [
        "n4: a learner, waiting for it to be started",
        "n4: a learner, 900 entries behind",
        "n4: a voter",
    ]
    body = {"id": "n4", "peer_url": "10.0.0.4:9104", "rest_url": "http://10.0.0.4:8104"}
    assert group.asked == [("POST /v1/cluster/members", body, None)]


def test_replaced_member_is_followed_until_it_has_left(group: Group, cli: Cli) -> None:
    group.replies["POST /v1/cluster/members"] = learner()
    group.views = [
        [row("n3", "follower"), row("n4", "learner", 7)],
        [row("n3", "follower"), row("n4", "follower")],
        [row("n4", "follower")],
    ]
    ended = cli("member", "replace", "n3", *N4, "--json")
    assert (ended.code, ended.part("member", "role")) == (0, "learner")
    assert ended.err.splitlines()[-2:] == ["n4: a voter; n3 is still a member", "n4: a voter; n3 has left"]
    assert group.asked[0][1] is not None
    assert group.asked[0][1]["replaces"] == "n3"


def test_member_that_does_not_come_up_ends_the_wait_and_nothing_else(group: Group, cli: Cli) -> None:
    group.replies["POST /v1/cluster/members"] = learner()
    group.views = [[row("n4", "learner", None)]]
    ended = cli("member", "add", *N4, "--wait-s", "0.01")
    assert (ended.code, "goes on by itself" in ended.err) == (Exit.FAILED, True)
    assert cli("member", "add", *N4, "--no-wait").code == 0


def test_wait_outlives_a_group_that_does_not_answer_for_a_while() -> None:
    answers: list[Rows | None] = [None, {"n4": row("n4", "learner")}, None, {"n4": row("n4", "follower")}]
    pauses: list[float] = []

    def look() -> Rows:
        rows = answers.pop(0)
        if rows is None:
            raise CommandFailed("cannot reach anybody")
        return rows

    votes: Callable[[Rows], bool] = lambda rows: rows["n4"]["role"] == "follower"  # noqa: E731
    wait_until(look, votes, lambda rows: str(rows["n4"]["role"]), 600, sleep=pauses.append)
    assert (answers, len(pauses)) == ([], 3)


def test_refused_change_says_why(group: Group, cli: Cli) -> None:
    problem: Body = {
        "code": "wrong-state",
        "detail": "n2 does not answer",
        "outcome": "not_applied",
        "retryable": False,
    }
    group.replies["DELETE /v1/cluster/members/n3"] = (409, problem)
    ended = cli("member", "remove", "n3", "--json")
    assert (ended.code, ended.part("code")) == (Exit.FAILED, "wrong-state")
    assert ended.err == "raftmem: wrong-state: n2 does not answer\n"


def test_removed_member_is_told_also_when_the_first_answer_was_lost(group: Group, cli: Cli) -> None:
    group.replies["DELETE /v1/cluster/members/n3"] = (200, {"member": {"id": "n3"}, "event": EVENT})
    assert cli("member", "remove", "n3").out == (
        "n3 is no member any more, since index 12; its folder can be deleted\n"
    )
    gone: Body = {"code": "not-found", "detail": "no member", "outcome": "not_applied", "retryable": False}
    group.replies["DELETE /v1/cluster/members/n3"] = (404, gone)
    assert cli("member", "remove", "n3").out == "n3 is no member any more; its folder can be deleted\n"
    stranger = cli("member", "remove", "n9")
    assert (stranger.code, "its members are n1, n2, n3" in stranger.err) == (Exit.FAILED, True)


def test_unknown_change_may_be_asked_for_again(group: Group, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftmem.cli.remote.ATTEMPTS_S_MAX", 0.1)
    lost: Body = {"code": "unknown-outcome", "detail": "not in time", "outcome": "unknown", "retryable": True}
    group.replies["POST /v1/cluster/members"] = (504, lost)
    ended = cli("member", "add", *N4)
    assert (ended.code, "it is harmless" in ended.err) == (Exit.UNKNOWN, True)


def test_members_are_listed_with_their_roles(group: Group, cli: Cli) -> None:
    group.views = [[row("n1", "leader"), row("n4", "learner", 3)]]
    assert [line.split()[:2] for line in cli("member", "list").out.splitlines()] == [
        ["id", "role"],
        ["n1", "leader"],
        ["n4", "learner"],
    ]
    assert cli("member", "list", "--json").part("members", 1, "role") == "learner"


def test_lead_is_handed_over(group: Group, cli: Cli) -> None:
    group.replies["POST /v1/cluster/leader"] = (200, {"leader": {"id": "n2", "url": "http://127.0.0.1:8102"}})
    assert cli("leader", "transfer", "n2").out == "n2 leads, at http://127.0.0.1:8102\n"
    assert cli("leader", "transfer", "--json").part("leader", "id") == "n2"
    assert [body for _, body, _ in group.asked] == [{"id": "n2"}, {}]


def test_snapshots_are_taken_and_listed_over_rest(group: Group, cli: Cli) -> None:
    taken: Body = {"index": 9, "term": 2, "bytes": 4096, "checksum": "c", "digest": "d", "time": "t"}
    group.replies["POST /v1/admin/snapshot"] = (201, {"snapshot": taken})
    group.replies["/v1/admin/snapshots"] = (200, {"snapshots": [taken], "next_cursor": None})
    assert cli("snapshot", "take").out == "snapshot at index 9: 4096 bytes, digest d\n"
    assert cli("snapshot", "list").out.splitlines()[1].split() == ["9", "2", "t", "4096", "d", "c"]
    assert cli("snapshot", "list", "--json").part("snapshots", 0, "index") == 9
