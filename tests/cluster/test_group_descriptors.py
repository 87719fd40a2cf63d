"""Few file descriptors: connections never take those that a replica needs to go on."""

import socket
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest

from jepsen_like.cluster.client import once
from jepsen_like.cluster.group import LoopbackGroup
from jepsen_like.cluster.served import Served


def limited(group: LoopbackGroup, descriptors: int) -> Served:
    """One replica, started again with a hard limit of open files."""
    replica = group.replicas[1]
    replica.stop()
    replica.wrapper = ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh")
    replica.start()
    group.wait_ready()
    return replica


def open_idle(stack: ExitStack, address: str, count: int) -> None:
    host, _, port = address.rpartition(":")
    for _ in range(count):
        with suppress(OSError):  # it may be refused, or hung up on
            stack.enter_context(socket.create_connection((host, int(port)), timeout=5))


@pytest.mark.parametrize("descriptors", [256, 1024])
def test_idle_connections_past_the_limit_of_descriptors_do_not_end_a_replica(
    group: LoopbackGroup, descriptors: int
) -> None:
    replica = limited(group, descriptors)
    with ExitStack() as stack:
        open_idle(stack, urlsplit(replica.url).netloc, descriptors + 100)
        for _ in range(3):
            assert once(replica.url, "POST", "/v1/memories", {"text": "a"}).status == 201
            assert once(replica.url, "POST", "/v1/admin/snapshot").status == 201
        assert replica.runs
    assert once(replica.url, "GET", "/readyz").status == 200


def test_idle_connections_to_the_peer_port_do_not_end_a_replica(group: LoopbackGroup) -> None:
    replica = limited(group, 256)
    with ExitStack() as stack:
        open_idle(stack, replica.peer, 400)
        assert once(replica.url, "POST", "/v1/admin/snapshot").status == 201
        assert replica.runs
    assert once(replica.url, "POST", "/v1/memories", {"text": "a"}).status == 201
