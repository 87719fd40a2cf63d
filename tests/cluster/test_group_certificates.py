"""Mutual TLS between real replicas: who has another authority's certificate is not heard, and files may be replaced."""

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_command import command
from cluster_load import check_kept, load

from jepsen_like.cluster.client import until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.cluster.served import Served

CLUSTER = "5f2a9c01"
SECURED = 'peer_cert = "certs/{id}.pem"\npeer_key = "certs/{id}.key"\npeer_ca = "certs/ca.pem"'


def make_certificates(folder: Path) -> None:
    done = command("certs", "--out", folder, "--nodes", "n1,n2,n3", "--cluster-id", CLUSTER)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def secured_group(tmp_path: Path) -> Iterator[LoopbackGroup]:
    make_certificates(tmp_path / "certs")
    make_certificates(tmp_path / "others")
    with new_group(tmp_path, extra=SECURED, cluster_id=CLUSTER) as group:
        yield group


def put_certificate(group: LoopbackGroup, replica: Served, source: str) -> None:
    for suffix in (".pem", ".key"):
        shutil.copy(group.data / source / f"{replica.id}{suffix}", group.data / "certs" / f"{replica.id}{suffix}")


def test_a_certificate_of_another_authority_is_not_heard_and_counts_once_it_is_replaced_on_disk(
    secured_group: LoopbackGroup,
) -> None:
    group = secured_group
    host, _, port = group["n1"].peer.rpartition(":")
    assert "CERTIFICATE" in ssl.get_server_certificate((host, int(port)), timeout=10), "TLS is spoken at the peer port"
    shutil.copytree(group.data / "certs", group.data / "kept")
    follower = group.others(group.leader())[0]
    follower.stop()
    put_certificate(group, follower, "others")
    follower.start()
    with load(group) as work:
        until(lambda: follower.look("/livez"), what="it serves")
        until(lambda: "TLS" in follower.said().rpartition(" serves ")[2], what="the strange certificate is refused")
        work.wait_for_more(60)
        missed = group.others(follower)[0].ask("PUT", "/v1/memories/missed", {"value": 1})
        assert missed.status == 201
        for query in ("?timeout_ms=1000", "?consistency=linearizable&timeout_ms=1000"):
            assert follower.ask("GET", f"/v1/memories/missed{query}").status == 503
        assert follower.ask("GET", "/v1/memories/missed?consistency=eventual").status == 404
        put_certificate(group, follower, "kept")
        group.wait_ready([follower])
        assert "the certificates of the peer port were replaced" in follower.said()
    assert work.unsure == 0
    check_kept(group, work)
    assert follower.ask("GET", "/v1/memories/missed").status == 200
