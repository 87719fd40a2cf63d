"""A disk that is full when a replica ends or starts: it says what to do, and does so once there is room."""

import signal
from pathlib import Path

import pytest

from jepsen_like.cluster.group import new_group
from jepsen_like.cluster.preload import FULL, OVER_QUOTA, Preload
from jepsen_like.cluster.served import Served
from raftmem.cli.exits import Exit

REASON = Preload.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def asks_for_room(replica: Served) -> bool:
    code, words = replica.ended(), replica.last_words()
    return code == Exit.FAILED and f"{replica.folder}: " in words and "make room" in words


def test_a_replica_that_ends_or_starts_on_a_full_disk_asks_for_room(tmp_path: Path) -> None:
    with new_group(tmp_path, count=1) as group:
        (replica,) = group.replicas
        replica.stop()
        disk = Preload(tmp_path / "preload")
        disk.put_under(replica.environment, replica.id, replica.folder)
        group.start()
        assert replica.ask("PUT", "/v1/memories/kept", {"text": "kept"}).status == 201
        disk.set(replica.id, FULL)
        replica.send(signal.SIGTERM)
        assert asks_for_room(replica)
        disk.set(replica.id, OVER_QUOTA)
        replica.start(may_end=True)
        assert asks_for_room(replica)
        disk.clear(replica.id)
        group.start()
        assert replica.ask("GET", "/v1/memories/kept").text("text") == "kept"
