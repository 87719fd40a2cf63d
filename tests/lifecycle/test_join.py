"""A new replica enters a group: what its folder holds afterwards, what cuts it short, what refuses it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import msgspec
import pytest
from api_world import World

from raftmem import errors
from raftmem.client.thread_driver import SystemTime
from raftmem.lifecycle.asked_group import GROUP_S
from raftmem.lifecycle.join import prepare_joining
from raftmem.lifecycle.open_folder import open_stores
from raftmem.model import codec
from raftmem.model.commands import Members
from raftmem.raft.transport.frames import MAGIC, PROTOCOL_VERSION, Hello
from raftmem.runtime.system import SystemRandomness
from raftmem.settings import Settings
from raftmem.storage.folder import open_folder, read_identity
from raftmem.storage.log.contract import Append, HardState, LogEntry
from raftmem.storage.log.store import SegmentLogStore

GENESIS = "9e" * 32
JOIN = "http://127.0.0.1:8102"
Fault = Callable[[httpx.Request], httpx.Response | None]


class Counting:
    """Randomness that never repeats itself."""

    def __init__(self) -> None:
        self.drawn = 0

    def random(self) -> float:
        return 0.5

    def bytes(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


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


class Machine:
    """A new replica's machine. `fault`: answers a request in place of the group, or None."""

    def __init__(self, path: Path) -> None:
        self.world = World()
        self.path = path
        self.fault: Fault = lambda _: None
        self.time = JumpingTime()
        self._randomness = Counting()

    def start(self, **settings: object) -> None:
        given = {"node_id": "n4", "data": self.path, "join": JOIN, "rest": "127.0.0.1:8104", "peer": "127.0.0.1:9104"}
        prepare_joining(
            msgspec.convert(given | settings, Settings, dec_hook=lambda _, value: value),
            randomness=self._randomness,
            transport=httpx.MockTransport(self._answer),
            time=self.time,
            greet=self.greet,
        )

    def greet(self, members: Sequence[tuple[str, str]], cluster_id: str) -> Hello:
        """What a member says of the group over its peer port."""
        assert members[0] == ("n1", "127.0.0.1:9101")
        of = self.world.service.members
        timing = {"election_timeout_ms": of.election_timeout_ms, "clock_drift_ppm": of.clock_drift_ppm}
        return Hello(
            magic=MAGIC, protocol=PROTOCOL_VERSION, cluster_id=cluster_id, incarnation=of.incarnation, node_id="n1",
            to_node_id="n4", folder_id="f1", birth="b1", genesis=bytes.fromhex(GENESIS), rest_url="", version="",
            **timing,
        )  # fmt: skip

    @property
    def pauses(self) -> list[float]:
        return self.time.pauses

    def _answer(self, request: httpx.Request) -> httpx.Response:
        given = self.fault(request)
        if given is not None:
            return given
        headers = {key: value for key, value in request.headers.items() if key in ("content-type", "raftmem-actor")}
        reply = self.world(request.method, request.url.path, content=request.content or None, headers=headers)
        return httpx.Response(reply.status_code, content=reply.content, headers=reply.headers)

    @property
    def registered(self) -> list[tuple[str, str | None, str, str]]:
        learners = self.world.service.members.learners
        return [(one.id, one.folder_id, one.peer_url, one.rest_url) for one in learners]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "data" / "n4")


def posts(request: httpx.Request) -> bool:
    return request.method == "POST"


def down(request: httpx.Request) -> None:
    raise httpx.ConnectError(f"{request.url} refuses")


def test_empty_folder_becomes_a_learner_s_with_a_first_entry_that_names_no_voter(machine: Machine) -> None:
    machine.start()
    folder = open_folder(machine.path, node_id="n4")
    identity = folder.identity
    assert (identity.cluster_id, identity.genesis, identity.ready, identity.joining) == (
        "5f2a9c01",
        GENESIS,
        True,
        False,
    )
    assert len({identity.folder_id, identity.birth}) == 2
    assert machine.registered == [("n4", identity.folder_id, "127.0.0.1:9104", "http://127.0.0.1:8104")]
    log = SegmentLogStore(folder.log_path)
    nobody = Members("5f2a9c01", 1, (), 1000, 500)
    assert (log.first_index(), log.last_index(), log.is_empty()) == (0, 0, False)
    assert log.read(0, 1) == [LogEntry(0, 0, codec.membership(nobody, time=0, wall_ms=0))]
    assert log.hard_state() == HardState(0, None)
    log.close()
    folder.close()


def test_learner_of_a_recovered_group_knows_its_incarnation_while_its_log_is_of_an_older_one(machine: Machine) -> None:
    machine.world = World(incarnation=2)
    before = msgspec.structs.replace(machine.world.service.members, incarnation=1)
    machine.start()
    log = SegmentLogStore(machine.path / "log")
    log.commit([HardState(5, None), Append((LogEntry(1, 0, codec.membership(before, time=0, wall_ms=0)),))])
    log.close()
    settings = Settings(node_id="n4", data=machine.path, join=JOIN, map_bytes=64 << 20)
    for _ in range(2):
        disks = open_stores(settings, SystemRandomness())
        assert (disks.incarnation, disks.members.incarnation) == (2, 1)
        disks.close(clean=True)


def test_folder_of_a_member_is_left_alone(machine: Machine) -> None:
    machine.start()
    before = (machine.path / "folder.json").read_bytes()
    machine.fault = down
    machine.start()
    assert (machine.path / "folder.json").read_bytes() == before
    assert machine.pauses == []


def test_join_cut_short_after_the_group_agreed_goes_on_under_the_same_ids(machine: Machine) -> None:
    class Killed(BaseException):
        pass

    def killed_after(request: httpx.Request) -> httpx.Response | None:
        if posts(request):
            machine.world(request.method, request.url.path, content=request.content)
            raise Killed
        return None

    machine.fault = killed_after
    with pytest.raises(Killed):
        machine.start()
    left = read_identity(machine.path)
    assert left is not None
    assert (left.ready, left.joining) == (False, True)
    machine.fault = lambda _: None
    machine.start()
    found = read_identity(machine.path)
    assert found is not None
    assert (found.folder_id, found.birth, found.ready) == (left.folder_id, left.birth, True)
    assert [folder_id for _, folder_id, _, _ in machine.registered] == [found.folder_id]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>Bad Gateway</html>"),
        httpx.Response(503, json={"code": "corrupt", "detail": "this replica has stopped", "retryable": False}),
    ],
)
def test_error_of_a_server_is_never_a_refusal_whatever_its_body(answer: httpx.Response, machine: Machine) -> None:
    """The group took the folder in, and its answer was lost: the folder must not be."""
    taken: list[str] = []

    def lost(request: httpx.Request) -> httpx.Response | None:
        if not posts(request):
            return None
        if not taken:
            machine.world(request.method, request.url.path, content=request.content)
            taken.extend(folder_id or "" for _, folder_id, _, _ in machine.registered)
            raise httpx.ReadTimeout("no answer")
        return answer

    machine.fault = lost
    with pytest.raises(errors.NoLeader, match=r"answered 502|this replica has stopped"):
        machine.start()
    kept = read_identity(machine.path)
    assert kept is not None
    assert [kept.folder_id] == taken
    machine.fault = lambda _: None
    machine.start()
    assert [folder_id for _, folder_id, _, _ in machine.registered] == taken


@pytest.mark.parametrize("restarted", [False, True])
def test_refusal_after_a_request_that_may_have_been_taken_keeps_the_folder(restarted: bool, machine: Machine) -> None:
    machine.world("DELETE", "/v1/cluster/members/n3")
    asked = 0

    class Killed(BaseException):
        pass

    def doubtful(request: httpx.Request) -> None:
        nonlocal asked
        if posts(request) and (asked := asked + 1) == 1:
            raise Killed if restarted else httpx.ReadError("reset")

    machine.fault = doubtful
    if restarted:
        with pytest.raises(Killed):
            machine.start(node_id="n3")
    with pytest.raises(errors.WrongState, match=r"n3 was removed, and an id.*stays n3's.*delete the folder"):
        machine.start(node_id="n3")
    assert asked == 2
    kept = read_identity(machine.path)
    assert kept is not None
    assert (kept.node_id, kept.joining) == ("n3", True)


def test_refusal_of_something_else_than_a_replica_keeps_the_folder(machine: Machine) -> None:
    machine.fault = lambda request: httpx.Response(403, json={"message": "no"}) if posts(request) else None
    with pytest.raises(errors.WrongState, match=r"answered 403.*delete the folder"):
        machine.start()
    assert read_identity(machine.path) is not None


def test_group_without_a_leader_is_waited_for(machine: Machine) -> None:
    failures = [errors.NoLeader("no leader is known"), errors.UnknownOutcome("nobody knows"), None]

    def failing(request: httpx.Request) -> None:
        if posts(request):
            machine.world.service.failure = failures.pop(0)

    machine.fault = failing
    machine.start()
    assert len(machine.pauses) == 2
    assert len(machine.registered) == 1


def test_member_that_does_not_answer_is_passed_over(machine: Machine) -> None:
    machine.fault = lambda request: down(request) if request.url.port == 1 else None
    machine.start(join=f"http://127.0.0.1:1, {JOIN}")
    assert machine.pauses == []
    assert len(machine.registered) == 1


def test_group_that_never_answers_is_given_up_in_one_line(machine: Machine) -> None:
    machine.fault = down
    with pytest.raises(errors.NoLeader, match=rf"within {GROUP_S:.0f} s: {JOIN}: cannot connect"):
        machine.start()
    assert not machine.path.exists()


def test_wrong_cluster_is_refused_before_anything_is_written(machine: Machine) -> None:
    with pytest.raises(errors.FolderRefused, match="is of cluster 5f2a9c01, not 00000000"):
        machine.start(cluster_id="00000000")
    assert not machine.path.exists()
    assert machine.registered == []


def test_members_of_two_groups_are_refused_and_nothing_is_made(machine: Machine) -> None:
    """One that is named belongs to another group, and only says which it is."""
    seen = {"cluster_id": "00000000", "members": [{"id": "n1", "peer_url": "127.0.0.1:9101", "rest_url": ""}]}
    machine.fault = lambda request: None if posts(request) else httpx.Response(200, json=seen)
    with pytest.raises(errors.FolderRefused, match="members of different groups"):
        machine.start()
    identity = read_identity(machine.path)
    assert identity is not None
    assert not identity.ready


def test_folder_begun_for_another_group_is_refused(machine: Machine) -> None:
    open_folder(machine.path, node_id="n4", cluster_id="00000000", folder_id="f", joining=True).close()
    with pytest.raises(errors.FolderRefused, match="belongs to cluster 00000000, not 5f2a9c01"):
        machine.start()
    assert machine.registered == []


def test_refusal_leaves_a_folder_that_another_id_may_take(machine: Machine) -> None:
    machine.world("DELETE", "/v1/cluster/members/n3")
    machine.fault = lambda request: down(request) if posts(request) and request.url.port == 1 else None
    with pytest.raises(errors.WrongState, match="n3 was removed, and an id is used once"):
        machine.start(node_id="n3", join=f"http://127.0.0.1:1, {JOIN}")
    assert read_identity(machine.path) is None
    machine.start(node_id="n4")
    assert [name for name, *_ in machine.registered] == ["n4"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"election_timeout_ms": 900}, "election_timeout_ms = 900, but the group runs with 1000"),
        ({"clock_drift_ppm": 1}, "clock_drift_ppm = 1, but the group runs with 500"),
        ({"election_timeout_ms": 60_000, "heartbeat_ms": 400}, "the group runs with 1000"),
        ({"join": "n1:8101"}, "join = 'n1:8101' is not an http:// address"),
        ({"peer": "0.0.0.0:9104", "insecure": True}, "names no address that the other replicas reach"),
        ({"rest": "0.0.0.0:8104", "insecure": True}, "names no address that clients reach"),
    ],
)
def test_settings_that_do_not_fit_the_group_are_refused(
    settings: dict[str, object], reason: str, machine: Machine
) -> None:
    with pytest.raises(errors.BadRequest, match=reason):
        machine.start(**settings)
    identity = read_identity(machine.path) if machine.path.exists() else None
    assert identity is None or not identity.ready


def test_replica_that_listens_everywhere_keeps_the_addresses_it_was_added_with(machine: Machine) -> None:
    body = {"id": "n4", "peer_url": "10.0.0.4:9104", "rest_url": "http://10.0.0.4:8104", "replaces": "n3"}
    machine.world("POST", "/v1/cluster/members", body)
    machine.start(peer="0.0.0.0:9104", rest="0.0.0.0:8104", insecure=True)
    assert [urls for _, _, *urls in machine.registered] == [["10.0.0.4:9104", "http://10.0.0.4:8104"]]


def test_answer_of_something_else_is_told(machine: Machine) -> None:
    machine.fault = lambda _: httpx.Response(200, text="<html>")
    with pytest.raises(errors.WrongState, match="not as a replica does"):
        machine.start()
