"""Settings: file < environment < flags, nothing unknown, nothing invalid, nothing secret shown."""

import json
from pathlib import Path

import pytest

from raftmem.errors import BadRequest
from raftmem.limits import MEMBERS_MAX
from raftmem.model.commands import Member
from raftmem.settings import FIELDS, Loaded, Settings, load, mask_url

NAMED = {"node_id": "n1", "data": "d", "cluster_id": "5f2a9c01"}
VOTER = {"id": "n1", "peer": "127.0.0.1:9101", "rest_url": "http://127.0.0.1:8101"}
MEMBERS = '[{"id": "n1", "peer": "127.0.0.1:9101", "rest_url": "http://127.0.0.1:8101", "folder_id": "f"}]'


def loaded(
    tmp_path: Path, *, file: str = "", environ: dict[str, str] | None = None, flags: dict[str, str] | None = None
) -> Loaded:
    path = tmp_path / "node.toml"
    path.write_text(file)
    return load(file=path, environ=environ or {}, flags=NAMED | (flags or {}))


def test_flag_wins_over_environment_which_wins_over_file(tmp_path: Path) -> None:
    file = "heartbeat_ms = 10\nelection_timeout_ms = 500\nclock_drift_ppm = 7\n"
    environ = {"RAFTMEM_HEARTBEAT_MS": "20", "RAFTMEM_ELECTION_TIMEOUT_MS": "600"}
    settings, sources = loaded(tmp_path, file=file, environ=environ, flags={"heartbeat_ms": "30"})
    assert (settings.heartbeat_ms, settings.election_timeout_ms, settings.clock_drift_ppm) == (30, 600, 7)
    assert settings.search_threads == 2
    assert sources["heartbeat_ms"] == "flag --heartbeat-ms"
    assert sources["election_timeout_ms"] == "environment RAFTMEM_ELECTION_TIMEOUT_MS"
    assert sources["clock_drift_ppm"] == f"file {tmp_path / 'node.toml'}"
    assert sources["search_threads"] == "default"


VALUES = {
    "node_id": ('"n1"', "n1"),
    "data": ('"d"', "d"),
    "cluster_id": ('"5f2a9c01"', "5f2a9c01"),
    "rest": ('"127.0.0.1:7001"', "127.0.0.1:7001"),
    "peer": ('"127.0.0.1:7101"', "127.0.0.1:7101"),
    "rest_url": ('"http://a:1"', "http://a:1"),
    "members": ('[{id = "n1", peer = "127.0.0.1:9101", rest_url = "http://127.0.0.1:8101", folder_id = "f"}]', MEMBERS),
    "bootstrap": ("false", "false"),
    "folder_id": ('"f"', "f"),
    "join": ('"http://a:1"', "http://a:1"),
    "election_timeout_ms": ("900", "900"),
    "heartbeat_ms": ("90", "90"),
    "clock_drift_ppm": ("100", "100"),
    "peer_cert": ('"n1.crt"', "n1.crt"),
    "peer_key": ('"n1.key"', "n1.key"),
    "peer_ca": ('"ca.crt"', "ca.crt"),
    "snapshot_entries": ("1000", "1000"),
    "snapshot_bytes": ("1048576", "1048576"),
    "snapshot_age_s": ("60", "60"),
    "log_keep_entries": ("0", "0"),
    "allowed_hosts": ('["mem.example"]', '["mem.example"]'),
    "cors_origins": ('["https://app.example"]', '["https://app.example"]'),
    "insecure": ("true", "true"),
    "peer_secret_file": ('"p.secret"', "p.secret"),
    "log_level": ('"debug"', "debug"),
    "default_consistency": ('"eventual"', "eventual"),
    "overrides": ('[{level = "linearizable", tags = ["lock"]}]', '[{"level": "linearizable", "tags": ["lock"]}]'),
    "append_bytes_max": ("65536", "65536"),
    "disk_low_bytes": ("99999999", "99999999"),
    "map_bytes": ("1073741824", "1073741824"),
    "search_threads": ("3", "3"),
}


PATHS = ("data", "peer_cert", "peer_key", "peer_ca", "peer_secret_file")
TOGETHER = {name: VALUES[name][1] for name in PATHS[1:4]}


def test_every_setting_is_in_the_table() -> None:
    assert set(VALUES) == set(FIELDS)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_setting_means_the_same_in_file_environment_and_flag(name: str, tmp_path: Path) -> None:
    in_file, text = VALUES[name]
    path = tmp_path / "node.toml"
    path.write_text(f"{name} = {in_file}\n")
    others = {
        other: value for other, value in (NAMED | (TOGETHER if name in TOGETHER else {})).items() if other != name
    }
    from_file = load(file=path, environ={}, flags=others).settings
    from_environment = load(file=None, environ={f"RAFTMEM_{name.upper()}": text}, flags=others).settings
    from_flag = load(file=None, environ={}, flags=others | {name: text}).settings
    assert from_flag == from_environment
    if name in PATHS:
        assert getattr(from_file, name) == tmp_path / text  # a path in a file is relative to the file
    else:
        assert from_file == from_flag


def test_members_become_voters_of_the_log(tmp_path: Path) -> None:
    settings = loaded(tmp_path, flags={"members": MEMBERS}).settings
    assert settings.voters() == (Member("n1", "127.0.0.1:9101", "http://127.0.0.1:8101", "f"),)


def test_rest_url_follows_the_listening_address(tmp_path: Path) -> None:
    assert loaded(tmp_path, flags={"rest": "127.0.0.1:7001"}).settings.rest_url == "http://127.0.0.1:7001"


def test_unknown_setting_in_the_file_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"unknown setting hearbeat_ms; did you mean heartbeat_ms\?"):
        loaded(tmp_path, file="hearbeat_ms = 10\n")


def test_unknown_setting_in_the_environment_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"RAFTMEM_HEARTBEATMS; did you mean RAFTMEM_HEARTBEAT_MS\?"):
        loaded(tmp_path, environ={"RAFTMEM_HEARTBEATMS": "10"})


@pytest.mark.parametrize(
    "variable", ["RAFTMEM_URL", "RAFTMEM_TOKEN", "RAFTMEM_ACTOR", "RAFTMEM_PORT", "RAFTMEM_PORT_8101_TCP_ADDR", "HOME"]
)
def test_variable_that_is_no_setting_is_left_alone(variable: str, tmp_path: Path) -> None:
    loaded(tmp_path, environ={variable: "tcp://10.0.0.1:8101"})


REFUSED = [
    ({"rest": "0.0.0.0:8101"}, "not loopback"),
    ({"peer": "10.1.2.3:9101"}, "not loopback"),
    ({"rest": "example.org:8101"}, "not loopback"),
    ({"rest": "127.0.0.1"}, "not host:port"),
    ({"rest": "127.0.0.1:70000"}, "not host:port"),
    ({"cluster_id": "xyz"}, "cluster_id"),
    ({"node_id": "a/b"}, "node_id"),
    ({"heartbeat_ms": "fast"}, r"heartbeat_ms = 'fast' \(flag --heartbeat-ms\)"),
    ({"heartbeat_ms": "900"}, "at most a third"),
    ({"bootstrap": "true"}, "bootstrap needs members"),
    ({"bootstrap": "true", "members": MEMBERS, "join": "http://a:1"}, "set one of them"),
    ({"peer_cert": "a"}, "belong together"),
    ({"members": json.dumps([VOTER, VOTER])}, "names an id twice"),
    ({"members": json.dumps([VOTER | {"id": f"n{n}"} for n in range(MEMBERS_MAX + 1)])}, "names 10 voters, at most 9"),
    ({"members": MEMBERS, "node_id": "n2"}, "not this node_id n2"),
    ({"members": "{"}, "not JSON"),
    ({"members": '[{"id": "n1", "port": 1}]'}, "unknown field `port`|missing required field"),
    ({"default_consistency": "session"}, "default_consistency"),
    ({"overrides": '[{"level": "lease"}]'}, "neither tags nor a scope"),
    ({"log_level": "loud"}, "log_level"),
]


@pytest.mark.parametrize(("flags", "reason"), REFUSED)
def test_invalid_value_is_refused_with_its_reason(flags: dict[str, str], reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=reason):
        loaded(tmp_path, flags=flags)


@pytest.mark.parametrize("rest", ["127.0.0.1:8101", "127.9.9.9:8101", "[::1]:8101", "localhost:8101"])
def test_loopback_needs_no_permission(rest: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, flags={"rest": rest}).settings.rest == rest


def test_other_addresses_need_insecure(tmp_path: Path) -> None:
    assert loaded(tmp_path, flags={"rest": "0.0.0.0:8101", "insecure": "true"}).settings.insecure


def test_settings_made_in_code_are_checked_too() -> None:
    with pytest.raises(ValueError, match="not loopback"):
        Settings(node_id="n1", data=Path("d"), cluster_id="5f2a9c01", rest="0.0.0.0:1")


def test_missing_settings_are_all_named() -> None:
    with pytest.raises(BadRequest, match=r"--node-id .*--data "):
        load(file=None, environ={}, flags={})


def test_new_group_needs_a_cluster_id_and_nothing_else_does() -> None:
    flags = {"node_id": "n1", "data": "d"}
    assert load(file=None, environ={}, flags=flags).settings.cluster_id is None
    with pytest.raises(BadRequest, match="bootstrap needs cluster_id"):
        load(file=None, environ={}, flags=flags | {"bootstrap": "true", "members": MEMBERS})


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"cannot read .*none\.toml: No such file"):
        load(file=tmp_path / "none.toml", environ={}, flags=NAMED)


def test_password_in_an_address_is_masked() -> None:
    assert mask_url("http://user:secret@host:1") == "http://***@host:1"
    assert mask_url("http://host:1/a@b") == "http://host:1/a@b"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("allowed_hosts", host) for host in ("http://a", "a:1", "a/b", "", "a b")),
        *(("cors_origins", origin) for origin in ("*", "null", "app.example", "https://a/", "https://a.example/b", "")),
    ],
)
def test_host_or_origin_that_is_none_is_refused(name: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=name):
        loaded(tmp_path, flags={name: json.dumps([wrong])})


def test_hosts_are_those_of_every_address_that_is_set(tmp_path: Path) -> None:
    flags = {"rest_url": "https://Mem.example:443", "peer": "n1.internal:9101", "insecure": "true"}
    settings, _ = loaded(tmp_path, flags=flags | {"rest": "10.0.0.7:8101", "allowed_hosts": '["proxy.example"]'})
    assert settings.hosts() == ("10.0.0.7", "mem.example", "n1.internal", "proxy.example")
    assert not settings.answers_any_address()
    assert loaded(tmp_path, flags={"rest": "0.0.0.0:8101", "insecure": "true"}).settings.answers_any_address()
