"""`raftmem recover`: what the plan tells, what --yes leaves in the folder, what is refused."""

import os
from pathlib import Path

import pytest
from cli_world import Cli

from raftmem.cli.exits import Exit
from raftmem.errors import FolderRefused
from raftmem.lifecycle.open_folder import open_stores
from raftmem.lifecycle.recover import plan, read_members, recover
from raftmem.machine.run import step_entry
from raftmem.model import codec
from raftmem.model.commands import Actor, Member, Members
from raftmem.runtime.system import SystemRandomness
from raftmem.settings import Settings
from raftmem.storage.folder import ReadLock, genesis_of, open_folder, read_identity
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry, Truncate
from raftmem.storage.log.files import segment_path
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.state.store import LmdbStateStore


def member(name: str, folder_id: str | None = None) -> Member:
    number = name.removeprefix("n")
    return Member(name, f"127.0.0.1:910{number}", f"http://127.0.0.1:810{number}", folder_id)


GROUP = Members("5f2a9c01", 4, (member("n1", "f1"), member("n2", "f2"), member("n3", "f3")), 900, 300)
NEW = """
[[members]]
id = "n1"
peer = "127.0.0.1:9101"
rest_url = "http://127.0.0.1:8101"

[[members]]
id = "n4"
peer = "127.0.0.1:9104"
rest_url = "http://127.0.0.1:8104"

[[members]]
id = "n5"
peer = "127.0.0.1:9105"
rest_url = "http://127.0.0.1:8105"
"""


def entries(group: Members) -> list[LogEntry]:
    """A membership, and five entries of a leader, a second apart."""
    rest = [LogEntry(k, 7, codec.no_op(time=k * 1_000_000, wall_ms=0)) for k in range(2, 7)]
    return [LogEntry(1, 0, codec.membership(group, time=0, wall_ms=0)), *rest]


def make_folder(path: Path, group: Members = GROUP, *, applied: int = 4) -> Path:
    folder = open_folder(path, node_id="n1", cluster_id="5f2a9c01", folder_id="f1", bootstrap=True)
    log = SegmentLogStore(folder.log_path)
    log.commit([HardState(9, "n1"), Append(tuple(entries(group)))])
    log.close()
    state = LmdbStateStore(folder.state_path, mark=folder.state_mark())
    with state.write() as writer:
        for entry in entries(group)[:applied]:
            step_entry(writer, entry.index, entry.term, entry.data)
    state.close(clean=True)
    folder.finish_bootstrap()
    folder.close()
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "n1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new.toml"
    path.write_text(NEW)
    return path


def newest(path: Path) -> tuple[HardState, LogEntry, Members]:
    """The hard state, and the newest membership with its entry."""
    log = SegmentLogStore(path / "log", readonly=True)
    entry = log.memberships()[-1]
    hard_state = log.hard_state()
    log.close()
    members = codec.decode(entry.data).members
    assert members is not None
    return hard_state, entry, members


def test_a_state_that_was_cut_short_tells_nothing_of_what_was_applied(data: Path, file: Path) -> None:
    os.truncate(data / "state" / "data.mdb", 5000)
    assert plan(data, read_members(file), actor=Actor("user", "ops"), request_id="r").applied == 0


def test_plan_tells_what_is_here_what_may_be_lost_and_whom_to_compare(data: Path, file: Path, cli: Cli) -> None:
    before = Path(segment_path(data / "log", 1)).read_bytes()
    ended = cli("recover", "--data", str(data), "--members", str(file), "--plan")
    assert ended.code == 0
    for said in (
        "n1 of 5f2a9c01/4",
        "last entry here: term 7, index 6; applied up to 4; term of its hard state 9",
        "voters n1, n2, n3",
        "every write after index 6",
        "2 entries here (5 to 6)",
        "every survivor among n2, n3",
        "incarnation 5, in term 10: n1 votes alone",
        "raftmem serve --join http://127.0.0.1:8101 --node-id n4",
    ):
        assert said in ended.out
    assert Path(segment_path(data / "log", 1)).read_bytes() == before


def test_yes_makes_the_replica_the_only_voter_of_a_new_incarnation(data: Path, file: Path, cli: Cli) -> None:
    (data / "acquaintances.json").write_text('{"n2": "b"}')
    ended = cli("recover", "--data", str(data), "--members", str(file), "--yes", "--json")
    assert (ended.code, ended.part("done"), ended.part("after", "incarnation")) == (0, True, 5)
    hard_state, entry, members = newest(data)
    assert (hard_state, entry.index, entry.term) == (HardState(10, None), 7, 10)
    assert codec.times(entry.data)[0] == 6_000_000  # log time goes on where it stood
    assert (members.cluster_id, members.incarnation) == ("5f2a9c01", 5)
    assert members.voters == (member("n1", "f1"),)
    assert members.learners == (member("n4"), member("n5"))
    assert members.removed == ("n2", "n3")
    assert (members.election_timeout_ms, members.clock_drift_ppm) == (900, 300)
    assert members.change is not None
    assert (members.change.op, members.change.member_id, members.change.actor.type) == ("recover", "n1", "user")
    assert not (data / "acquaintances.json").exists()
    identity = read_identity(data)
    assert identity is not None
    assert (identity.incarnation, identity.genesis, identity.folder_id) == (5, genesis_of(entry.data), "f1")
    assert cli("log", "verify", "--data", str(data)).code == 0
    shown = cli("log", "list", "--data", str(data), "--op", "MEMBER").out
    assert "MEMBER recover" in shown


def test_ids_that_only_older_memberships_name_never_come_back(tmp_path: Path, file: Path, cli: Cli) -> None:
    """The log that newcomers are sent says that n9 and n4 voted, the membership in force knows nothing of them."""
    data = make_folder(tmp_path / "n1", Members("5f2a9c01", 4, (member("n1", "f1"), member("n9")), 900, 300))
    then = [Members("5f2a9c01", 4, (member("n1", "f1"), member(name)), 900, 300) for name in ("n4", "n2")]
    log = SegmentLogStore(data / "log")
    later = enumerate(then, 7)
    log.commit([Append(tuple(LogEntry(k, 7, codec.membership(one, time=6_000_000, wall_ms=0)) for k, one in later))])
    log.commit([Compact(5, log.memberships()[0])])
    log.close()
    asked = ("recover", "--data", str(data), "--members", str(file), "--yes")
    assert "n4, a member of this group before" in cli(*asked).err
    file.write_text(NEW.replace('"n4"', '"n9"'))
    assert "n9, a member of this group before" in cli(*asked).err
    file.write_text(NEW.replace('"n4"', '"n6"'))
    assert cli(*asked).code == 0
    assert newest(data)[2].removed == ("n9", "n4", "n2")


def test_recovery_cut_short_does_not_serve_and_does_the_same_again(
    data: Path, file: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(SegmentLogStore, "commit", killed)
        with pytest.raises(Killed):
            recover(data, read_members(file), actor=Actor("user", "o"), request_id="r", wall_ms=1)
    assert newest(data)[0] == HardState(9, "n1")
    settings = Settings(node_id="n1", data=data, map_bytes=64 << 20)
    with pytest.raises(FolderRefused, match="recovery to incarnation 5 was cut short, the log still says 4"):
        open_stores(settings, SystemRandomness())
    assert cli("recover", "--data", str(data), "--members", str(file), "--yes").code == 0
    _, entry, members = newest(data)
    identity = read_identity(data)
    assert identity is not None
    assert (members.incarnation, identity.incarnation, identity.genesis) == (5, 5, genesis_of(entry.data))
    disks = open_stores(settings, SystemRandomness())
    assert (disks.incarnation, disks.folder.identity) == (5, identity)
    disks.close(clean=False)


def test_two_recoveries_of_one_group_have_nothing_in_common(tmp_path: Path, file: Path, cli: Cli) -> None:
    made = []
    for name in ("one", "other"):
        data = make_folder(tmp_path / name)
        assert cli("recover", "--data", str(data), "--members", str(file), "--yes").code == 0
        made.append(read_identity(data))
    assert made[0] is not None
    assert made[1] is not None
    assert made[0].incarnation == made[1].incarnation
    assert made[0].genesis != made[1].genesis


def test_members_may_be_json_too(data: Path, tmp_path: Path, cli: Cli) -> None:
    own = '{"id": "n1", "peer": "10.0.0.1:9101", "rest_url": "http://10.0.0.1:8101"}'
    for number, text in enumerate((f"[{own}]", f'{{"members": [{own}]}}'), 5):
        path = tmp_path / "new.json"
        path.write_text(text)
        assert cli("recover", "--data", str(data), "--members", str(path), "--yes").code == 0
        members = newest(data)[2]
        assert (members.incarnation, members.voters[0].peer_url, members.learners) == (number, "10.0.0.1:9101", ())


def test_folder_of_a_learner_is_marked_as_second_best(tmp_path: Path, file: Path, cli: Cli) -> None:
    group = Members("5f2a9c01", 4, GROUP.voters[1:], 900, 300, learners=GROUP.voters[:1])
    data = make_folder(tmp_path / "n1", group)
    assert "n1 was a learner" in cli("recover", "--data", str(data), "--members", str(file), "--plan").out


def test_state_that_is_not_trusted_counts_as_nothing_applied(data: Path, file: Path, cli: Cli) -> None:
    (data / "state.json").write_text('{"boot_id": "another", "clean": false}')
    ended = cli("recover", "--data", str(data), "--members", str(file), "--plan", "--json")
    assert (ended.part("applied_index"), ended.part("undecided_entries")) == (0, 6)


@pytest.mark.parametrize("flags", [(), ("--plan", "--yes")])
def test_either_plan_or_yes_is_asked_for(flags: tuple[str, ...], data: Path, file: Path, cli: Cli) -> None:
    ended = cli("recover", "--data", str(data), "--members", str(file), *flags)
    assert (ended.code, "--plan" in ended.err) == (Exit.USAGE, True)


@pytest.mark.parametrize("flag", ["--plan", "--yes"])
@pytest.mark.parametrize(
    ("new", "group", "reason"),
    [
        (NEW.replace('"n1"', '"n6"'), GROUP, "does not name n1"),
        (NEW.replace('"n5"', '"n4"'), GROUP, "each once"),
        (NEW.replace('"n4"', '"n2"'), GROUP, "n2, a member of this group before: an empty folder"),
        (NEW, Members("5f2a9c01", 4, GROUP.voters, 900, 300, learners=(member("n5"),)), "n5, a member of this group"),
        (NEW.replace("127.0.0.1:9104", "0.0.0.0:9104"), GROUP, "peer of n4"),
        (NEW.replace("peer =", "port ="), GROUP, "unknown field|missing required"),
        ("members = [", GROUP, "new.toml"),
        (NEW, Members("5f2a9c01", 4, GROUP.voters, 900, 300, removed=("n4",)), "n4, a member of this group before"),
        (NEW, Members("5f2a9c01", 4, GROUP.voters[1:], 900, 300), "does not name n1 any more"),
    ],
)
def test_group_that_cannot_be_is_refused_and_nothing_changes(
    flag: str, new: str, group: Members, reason: str, tmp_path: Path, file: Path, cli: Cli
) -> None:
    data = make_folder(tmp_path / "n1", group)
    file.write_text(new)
    ended = cli("recover", "--data", str(data), "--members", str(file), flag)
    assert ended.code in (Exit.USAGE, Exit.FAILED)
    assert any(part in ended.err for part in reason.split("|")), ended.err
    log = SegmentLogStore(data / "log", readonly=True)
    assert (log.last_index(), log.hard_state()) == (6, HardState(9, "n1"))
    log.close()


@pytest.mark.parametrize("flag", ["--plan", "--yes"])
def test_what_is_not_there_is_refused(flag: str, data: Path, file: Path, tmp_path: Path, cli: Cli) -> None:
    ended = cli("recover", "--data", str(tmp_path / "none"), "--members", str(file), flag)
    assert (ended.code, "is not a replica's data folder" in ended.err) == (Exit.USAGE, True)
    ended = cli("recover", "--data", str(data), "--members", str(tmp_path / "none"), flag)
    assert (ended.code, "cannot read" in ended.err) == (Exit.USAGE, True)


@pytest.mark.parametrize("flag", ["--plan", "--yes"])
def test_state_beyond_its_log_is_refused(flag: str, tmp_path: Path, file: Path, cli: Cli) -> None:
    data = make_folder(tmp_path / "n1", applied=6)
    log = SegmentLogStore(data / "log")
    log.commit([Truncate(5)])
    log.close()
    ended = cli("recover", "--data", str(data), "--members", str(file), flag)
    assert (ended.code, "log ends at index 4 but the state stands at index 6" in ended.err) == (Exit.FAILED, True)


def test_folder_in_use_is_refused(data: Path, file: Path, cli: Cli) -> None:
    folder = open_folder(data, node_id="n1")
    for flag in ("--plan", "--yes"):
        assert "in use" in cli("recover", "--data", str(data), "--members", str(file), flag).err
    folder.close()
    reading = ReadLock(data)
    assert "in use" in cli("recover", "--data", str(data), "--members", str(file), "--yes").err
    reading.close()


def test_folder_that_never_became_a_member_s_is_refused(tmp_path: Path, file: Path, cli: Cli) -> None:
    path = tmp_path / "n1"
    begun = open_folder(path, node_id="n1", cluster_id="5f2a9c01", folder_id="f1", joining=True)
    begun.close()
    assert "never became a member's" in cli("recover", "--data", str(path), "--members", str(file), "--yes").err
    joined = open_folder(path, node_id="n1", cluster_id="5f2a9c01", folder_id="f1", joining=True)
    log = SegmentLogStore(joined.log_path)
    nobody = Members("5f2a9c01", 4, (), 900, 300)
    log.commit([HardState(0, None), Append((LogEntry(0, 0, codec.membership(nobody, time=0, wall_ms=0)),))])
    log.close()
    joined.finish_bootstrap()
    joined.close()
    for flag in ("--plan", "--yes"):
        ended = cli("recover", "--data", str(path), "--members", str(file), flag)
        assert "was sent nothing yet" in ended.err
    folder = open_folder(path, node_id="n1")
    folder.mark_removed()
    folder.close()
    assert "was removed" in cli("recover", "--data", str(path), "--members", str(file), "--yes").err
