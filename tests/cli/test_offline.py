"""`log`, `state` and `replay` on a data folder: what they show, what they find, what they refuse."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from cli_world import Cli

from raftmem.cli.exits import Exit
from raftmem.machine.run import step_entry
from raftmem.model import codec
from raftmem.model.commands import (
    Actor,
    Add,
    Content,
    Delete,
    Draft,
    Fields,
    Guard,
    Header,
    Member,
    MemberChange,
    Members,
    Update,
)
from raftmem.storage.folder import Folder, open_folder
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry
from raftmem.storage.log.files import segment_path
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.snapshots.store import FileSnapshotStore
from raftmem.storage.state.store import LmdbStateStore

MEMBERS = Members("5f2a9c01", 1, (Member("n1", "127.0.0.1:9101", "http://127.0.0.1:8101", "f"),), 1000, 500)
Operation = Add | Update | Delete


def text_of(words: str) -> Content:
    return Content(text=words)


def command(operation: Operation, content: Content | None, *, who: str, guards: tuple[Guard, ...] = ()) -> bytes:
    header = Header(Actor("agent", who), f"req-{who}", (operation,), guards)
    return codec.encode_draft(Draft(header, (content,)), bytes)


BODIES = (
    command(Add("freeze", Fields(app_id="shop", tags=("deploy",))), text_of("frozen"), who="planner-7"),  # 3
    command(Add("owner", Fields()), text_of("Mia"), who="coder-2"),  # 4
    command(Update("freeze", Fields()), text_of("open"), who="coder-2", guards=(Guard(memory="freeze", version=9),)),
    command(Update("freeze", Fields()), text_of("thawed"), who="planner-7"),  # 6
    command(Delete("owner"), None, who="planner-7"),  # 7
)


def entries(bodies: Sequence[bytes] = BODIES) -> list[LogEntry]:
    """Membership, a leader's first entry, then the commands, a second apart."""
    first = LogEntry(1, 0, codec.membership(MEMBERS, time=0, wall_ms=0))
    second = LogEntry(2, 1, codec.no_op(time=0, wall_ms=0))
    commands = [
        LogEntry(k, 1, codec.seal(body, time=k * 1_000_000, wall_ms=1_800_000_000_000 + k * 1000))
        for k, body in enumerate(bodies, 3)
    ]
    return [first, second, *commands]


def write_log(folder: Folder, logged: Sequence[LogEntry]) -> None:
    store = SegmentLogStore(folder.log_path)
    store.commit([HardState(1, "n1"), Append(tuple(logged))])
    store.close()


def write_state(folder: Folder, applied: Sequence[LogEntry]) -> None:
    store = LmdbStateStore(folder.state_path, mark=folder.state_mark())
    with store.write() as writer:
        for entry in applied:
            step_entry(writer, entry.index, entry.term, entry.data)
    store.close(clean=True)


def opened(path: Path) -> Folder:
    return open_folder(path, node_id="n1", cluster_id="5f2a9c01", folder_id="f", bootstrap=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven entries in the log, of which six are applied."""
    folder = opened(tmp_path / "n1")
    write_log(folder, entries())
    write_state(folder, entries()[:6])
    folder.finish_bootstrap()
    folder.close()
    return tmp_path / "n1"


def lines(text: str) -> list[dict[str, object]]:
    return [msgspec.json.decode(line, type=dict[str, object]) for line in text.splitlines()]


def test_log_list_shows_who_did_what_when_with_which_outcome(data: Path, cli: Cli) -> None:
    rows = [line.split() for line in cli("log", "list", "--data", str(data)).out.splitlines()]
    assert rows == [
        ["index", "seq", "time", "actor", "op", "subject", "outcome"],
        ["1", "0", "-", "system/raft", "RAFT", "-", "applied"],
        ["2", "0", "-", "system/raft", "RAFT", "-", "applied"],
        ["3", "0", "2027-01-15T08:00:03.000Z", "agent/planner-7", "ADD", "freeze", "v1", "applied"],
        ["4", "0", "2027-01-15T08:00:04.000Z", "agent/coder-2", "ADD", "owner", "v1", "applied"],
        [
            *("5", "0", "2027-01-15T08:00:05.000Z", "agent/coder-2", "UPDATE", "freeze", "v1"),
            *("refused:", "precondition-failed"),
        ],
        ["6", "0", "2027-01-15T08:00:06.000Z", "agent/planner-7", "UPDATE", "freeze", "v2", "applied"],
        ["7", "0", "2027-01-15T08:00:07.000Z", "agent/planner-7", "DELETE", "owner", "not", "applied", "yet"],
    ]


@pytest.mark.parametrize(
    ("options", "indexes"),
    [
        ((), [1, 2, 3, 4, 5, 6, 7]),
        (("--from", "3", "--to", "5"), [3, 4, 5]),
        (("--from", "7"), [7]),
        (("--from", "8"), []),
        (("--op", "UPDATE"), [5, 6]),
        (("--memory", "owner"), [4, 7]),
        (("--memory", "owner", "--op", "DELETE"), [7]),
        (("--limit", "2"), [1, 2]),
    ],
)
def test_log_list_keeps_what_was_asked_for(options: tuple[str, ...], indexes: list[int], data: Path, cli: Cli) -> None:
    ended = cli("log", "list", "--data", str(data), "--json", *options)
    assert ended.code == 0
    assert [event["index"] for event in lines(ended.out)] == indexes


def test_log_show_tells_condition_request_and_digest(data: Path, cli: Cli) -> None:
    shown = cli("log", "show", "5", "--data", str(data), "--json")
    assert shown.part("guards") == [{"memory": "freeze", "version": 9}]
    assert shown.part("events", 0, "payload") == {"text": "open", "guards": [{"memory": "freeze", "version": 9}]}
    assert shown.part("events", 0, "outcome") == "refused"
    assert shown.part("digest") == cli("state", "digest", "--at", "5", "--data", str(data), "--json").part("digest")
    assert cli("log", "show", "1", "--data", str(data), "--json").part("members", "cluster_id") == "5f2a9c01"
    pending = cli("log", "show", "7", "--data", str(data), "--json")
    assert (pending.part("applied"), pending.part("digest")) == (False, None)
    assert cli("log", "show", "8", "--data", str(data)).code == Exit.USAGE


def test_state_is_shown_as_it_was_at_an_index(data: Path, cli: Cli) -> None:
    for at, text in (("3", "frozen"), ("5", "frozen"), ("6", "thawed")):
        assert cli("state", "get", "freeze", "--at", at, "--data", str(data), "--json").part("text") == text
    ended = cli("state", "get", "owner", "--at", "3", "--data", str(data))
    assert (ended.code, ended.err) == (Exit.FAILED, "raftmem: no memory owner at index 3\n")


@pytest.mark.parametrize(
    ("options", "ids"),
    [((), ["freeze", "owner"]), (("--at", "3"), ["freeze"]), (("--app", "shop"), ["freeze"]), (("--tag", "x"), [])],
)
def test_state_list_keeps_what_was_asked_for(options: tuple[str, ...], ids: list[str], data: Path, cli: Cli) -> None:
    listed = cli("state", "list", "--data", str(data), "--json", *options).json()["memories"]
    assert [memory.id for memory in msgspec.convert(listed, list[_Named])] == ids


class _Named(msgspec.Struct):
    id: str


def test_index_that_is_not_applied_is_told(data: Path, cli: Cli) -> None:
    ended = cli("state", "digest", "--at", "7", "--data", str(data))
    assert ended.code == Exit.USAGE
    assert "index 7 is above" in ended.err


def test_replay_rebuilds_the_same_digest_from_the_log_alone(data: Path, cli: Cli) -> None:
    stored = cli("state", "digest", "--data", str(data), "--json").json()
    replayed = cli("replay", "--data", str(data), "--json").json()
    assert (replayed["index"], replayed["digest"]) == (stored["index"], stored["digest"])
    (data / "state" / "data.mdb").unlink()
    without_state = cli("replay", "--until", "6", "--data", str(data), "--json").json()
    assert without_state["digest"] == stored["digest"]
    assert cli("replay", "--data", str(data), "--json").json()["index"] == 7
    assert cli("replay", "--verify", "--data", str(data)).code == Exit.FAILED


def test_replay_until_an_index_is_the_state_of_then(data: Path, cli: Cli) -> None:
    for index in range(1, 7):
        stored = cli("state", "digest", "--at", str(index), "--data", str(data), "--json").json()
        replayed = cli("replay", "--until", str(index), "--verify", "--data", str(data), "--json").json()
        assert (replayed["digest"], replayed["verified"]) == (stored["digest"], True)


def test_replay_verify_names_the_first_index_that_differs(tmp_path: Path, cli: Cli) -> None:
    folder = opened(tmp_path / "n1")
    write_log(folder, entries())
    other = list(BODIES)
    other[2] = command(Update("freeze", Fields()), text_of("forged"), who="mallory")
    write_state(folder, entries(other))
    folder.finish_bootstrap()
    folder.close()
    ended = cli("replay", "--verify", "--data", str(folder.path), "--json")
    assert ended.code == Exit.FAILED
    assert (ended.json()["verified"], ended.json()["first_difference"]) == (False, 5)
    assert "at index 5" in ended.err
    found = cli("log", "verify", "--data", str(folder.path), "--json")
    assert found.code == Exit.FAILED
    assert found.part("problems", 0, "index") == 5


def test_log_verify_is_quiet_about_a_sound_log(data: Path, cli: Cli) -> None:
    assert cli("log", "verify", "--data", str(data), "--json") == (
        0,
        '{"sound":true,"last_index":7,"problems":[]}\n',
        "",
    )


def test_compacted_log_is_shown_and_replayed_from_its_first_entry_on(data: Path, cli: Cli) -> None:
    before = cli("log", "list", "--data", str(data), "--json").out
    store = SegmentLogStore(data / "log")
    store.commit([Compact(5, entries()[0])])
    store.close()
    assert cli("log", "list", "--data", str(data), "--json").out == before
    assert "the log is sound, 5..7" in cli("log", "verify", "--data", str(data)).out
    assert cli("log", "show", "3", "--data", str(data), "--json").part("applied") is True
    verified = cli("replay", "--verify", "--data", str(data), "--json")
    assert (verified.part("index"), verified.part("verified")) == (6, True)
    assert cli("replay", "--until", "7", "--data", str(data), "--json").part("index") == 7


def test_change_of_the_members_is_shown_with_who_asked(tmp_path: Path, cli: Cli) -> None:
    folder = opened(tmp_path / "n1")
    change = MemberChange("add", "n4", Actor("user", "mia"), "req-9")
    grown = msgspec.structs.replace(MEMBERS, learners=(Member("n4", "h:1", "http://h:2"),), change=change)
    added = LogEntry(3, 1, codec.membership(grown, time=0, wall_ms=0))
    write_log(folder, [*entries()[:2], added])
    write_state(folder, entries()[:2])
    folder.finish_bootstrap()
    folder.close()
    rows = [line.split() for line in cli("log", "list", "--data", str(folder.path), "--op", "MEMBER").out.splitlines()]
    assert rows[1][3:] == ["user/mia", "MEMBER", "add", "n4", "not", "applied", "yet"]
    shown = cli("log", "show", "3", "--data", str(folder.path), "--json")
    assert shown.part("members", "learners", 0, "id") == "n4"
    assert shown.part("members", "change", "op") == "add"


def test_snapshots_of_a_folder_are_listed_and_verified(data: Path, cli: Cli) -> None:
    assert "holds no snapshot" in cli("snapshot", "verify", "--data", str(data)).out
    state = LmdbStateStore(data / "state", readonly=True)
    digest = state.head().digest.hex()
    taken = FileSnapshotStore(data / "snapshots", state).take(lambda _: entries()[0], 1_800_000_000_000)
    state.close(clean=False)
    listed = cli("snapshot", "list", "--data", str(data), "--json")
    assert (listed.part("snapshots", 0, "index"), listed.part("snapshots", 0, "digest")) == (6, digest)
    assert cli("snapshot", "verify", "--data", str(data)).out == f"{taken.name}: sound\n"
    file = next((data / "snapshots").glob("*.state"))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    ended = cli("snapshot", "verify", "--data", str(data), "--json")
    assert (ended.code, ended.part("sound"), ended.part("snapshots", 0, "index")) == (Exit.FAILED, False, 6)
    assert cli("snapshot", "verify", "--data", str(data.parent)).code == Exit.USAGE


def test_damaged_record_is_found_with_its_index(data: Path, cli: Cli) -> None:
    file = Path(segment_path(data / "log", 1))
    raw = file.read_bytes()
    assert raw.count(b"thawed") == 1
    file.write_bytes(raw.replace(b"thawed", b"thAwed"))
    found = cli("log", "verify", "--data", str(data), "--json")
    assert found.code == Exit.FAILED
    assert found.part("problems", 0, "index") == 6
    ended = cli("replay", "--data", str(data))
    assert ended.code == Exit.FAILED
    assert "index 6" in ended.err


def test_folder_of_a_running_replica_needs_live(data: Path, cli: Cli) -> None:
    folder = open_folder(data, node_id="n1")
    try:
        for command_line in (("log", "list"), ("state", "digest"), ("replay",)):
            refused = cli(*command_line, "--data", str(data))
            assert (refused.code, "--live" in refused.err) == (Exit.FAILED, True)
            assert cli(*command_line, "--data", str(data), "--live").code == 0
    finally:
        folder.close()


def contents(folder: Path) -> dict[Path, bytes]:
    """Of the log and the state."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.name == "data.mdb" or path.suffix == ".log"}


def test_looking_changes_nothing(data: Path, cli: Cli) -> None:
    before = contents(data)
    assert len(before) == 2
    for command_line in (("log", "list"), ("log", "verify"), ("state", "list"), ("replay", "--verify")):
        assert cli(*command_line, "--data", str(data)).code == 0
    assert contents(data) == before
