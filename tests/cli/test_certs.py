"""`raftmem certs`: a set that works, secrets for their owner only, nothing overwritten, no id spoken for twice."""

import ssl
import stat
from pathlib import Path

import pytest
from cli_world import Cli

from raftmem.cli.exits import Exit
from raftmem.errors import BadRequest
from raftmem.raft.transport.tls import PeerTls, names
from raftmem.settings import Settings, load


def shaken(client: ssl.SSLContext, server: ssl.SSLContext, cluster: str) -> tuple[frozenset[str], frozenset[str]]:
    """Both ends of a handshake in memory: the names that the client and the server were shown."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return names(ends[0].getpeercert(), cluster), names(ends[1].getpeercert(), cluster)


def tls(folder: Path, node: str) -> PeerTls:
    return PeerTls(cert=folder / f"{node}.pem", key=folder / f"{node}.key", ca=folder / "ca.pem")


def test_what_is_printed_can_be_put_into_the_settings_and_makes_the_replicas_know_each_other(
    cli: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "certs"
    ended = cli(
        "certs", "--out", str(out), "--nodes", "n1,n2", "--hosts", "db.example.org,10.0.0.1", "--cluster-id", "5f2a9c01"
    )
    assert ended.code == 0, ended.err
    part = ended.out.split("# settings of ")[1].partition("\n")[2]
    file = tmp_path / "n1.toml"
    file.write_text('peer = "10.0.0.1:9101"\n' + part)  # not loopback, and allowed
    settings = load(file=file, environ={}, flags={"node_id": "n1", "data": "d", "cluster_id": "5f2a9c01"}).settings
    assert settings.peer_cert is not None
    assert settings.peer_key is not None
    assert settings.peer_ca is not None
    one = PeerTls(cert=settings.peer_cert, key=settings.peer_key, ca=settings.peer_ca)
    assert shaken(tls(out, "n2").client(), one.server(), "5f2a9c01") == ({"n1"}, {"n2"})
    assert shaken(tls(out, "n2").client(), one.server(), "00000000") == (set(), set())


def test_keys_are_for_their_owner_only(cli: Cli, tmp_path: Path) -> None:
    assert cli("certs", "--out", str(tmp_path), "--nodes", "n1").code == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ca.key": 0o600, "ca.pem": 0o644, "n1.key": 0o600, "n1.pem": 0o644}


def test_a_group_that_grows_gets_its_certificates_of_the_same_authority(cli: Cli, tmp_path: Path) -> None:
    assert cli("certs", "--out", str(tmp_path), "--nodes", "n1").code == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    ended = cli("certs", "--out", str(tmp_path), "--nodes", "n4", "--json")
    cluster = str(ended.part("cluster_id"))
    assert ended.part("nodes", "n4", "peer_cert") == str(tmp_path / "n4.pem")
    assert {path: path.read_bytes() for path in before} == before
    assert shaken(tls(tmp_path, "n4").client(), tls(tmp_path, "n1").server(), cluster) == ({"n1"}, {"n4"})


@pytest.mark.parametrize(
    ("there", "arguments", "reason"),
    [
        pytest.param("n2.key", ("--nodes", "n1,n2"), "n2.key is there already", id="a key that is there"),
        pytest.param("n2.pem", ("--nodes", "n1,n2"), "n2.pem is there already", id="a certificate that is there"),
        pytest.param("ca.pem", ("--nodes", "n1"), "without the other half", id="half an authority"),
        pytest.param("n9.pem", ("--nodes", "n1", "--hosts", "n9"), "n9 is a replica's id", id="the id of another"),
        pytest.param(None, ("--nodes", "n1,n2", "--hosts", "n2"), "n2 is a replica's id", id="the id of one of them"),
        pytest.param(None, ("--nodes", "n1,n1"), "one twice", id="an id twice"),
        pytest.param(None, ("--nodes", ","), "names no replica", id="no id"),
        pytest.param(None, ("--nodes", "ca"), "cannot be the id", id="the authority's own name"),
        pytest.param(None, ("--nodes", "../n1"), "cannot be the id", id="no id at all"),
        pytest.param(None, ("--nodes", "n1", "--hosts", "a b"), "no host name", id="no host name"),
        pytest.param(
            None, ("--nodes", "n1", "--hosts", ",".join(f"h{n}" for n in range(65))), "at most 64", id="hosts"
        ),
        pytest.param(None, ("--nodes", "n1", "--days", "0"), "days", id="no day"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    there: str | None, arguments: tuple[str, ...], reason: str, cli: Cli, tmp_path: Path
) -> None:
    if there is not None:
        (tmp_path / there).write_text("mine")
    ended = cli("certs", "--out", str(tmp_path), *arguments)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert reason in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ([] if there is None else [there])


def test_an_authority_that_ends_too_early_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("certs", "--out", str(tmp_path), "--nodes", "n1").code == 0
    ended = cli("certs", "--out", str(tmp_path), "--nodes", "n2", "--days", "9999")
    assert ended.code == Exit.USAGE
    assert "before --days 9999 do" in ended.err


def test_an_authority_with_the_key_of_another_is_refused(cli: Cli, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert cli("certs", "--out", str(tmp_path / name), "--nodes", "n1").code == 0
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    ended = cli("certs", "--out", str(tmp_path / "a"), "--nodes", "n2")
    assert ended.code == Exit.USAGE
    assert "is not the key to" in ended.err
    (tmp_path / "b" / "ca.pem").write_text("no certificate")
    assert "no authority can be read" in cli("certs", "--out", str(tmp_path / "b"), "--nodes", "n2").err


CERTIFICATES = {"peer_cert": "c", "peer_key": "k", "peer_ca": "a"}


def configured(flags: dict[str, str]) -> Settings:
    named = {"node_id": "n1", "data": "d", "cluster_id": "5f2a9c01"}
    return load(file=None, environ={}, flags=named | flags).settings


def test_certificates_allow_the_peer_port_beyond_loopback() -> None:
    assert configured(CERTIFICATES | {"peer": "0.0.0.0:9101"}).peer == "0.0.0.0:9101"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        pytest.param(CERTIFICATES | {"rest": "0.0.0.0:8101"}, "rest = 0.0.0.0:8101 is not loopback", id="rest"),
        pytest.param({"peer": "0.0.0.0:9101"}, "set peer_cert, peer_key and peer_ca", id="no certificates"),
        pytest.param({"peer_cert": "c"}, "belong together", id="one of three"),
    ],
)
def test_certificates_allow_nothing_else(flags: dict[str, str], reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        configured(flags)
