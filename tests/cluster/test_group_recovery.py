"""Replicas that lost their folder, and groups that lost their majority: how they come back, and what stays out.

RAFTMEM_TEST_REPLACEMENTS=10 wipes and replaces so often (once if not set), RAFTMEM_TEST_CLIENTS=32 under so many
clients (6).
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_command import command
from cluster_load import check_kept, load

from jepsen_like.cluster.client import Writer, until
from jepsen_like.cluster.group import LoopbackGroup, new_group
from jepsen_like.cluster.served import Served
from raftmem.cli.exits import Exit

REPLACEMENTS = int(os.environ.get("RAFTMEM_TEST_REPLACEMENTS", "1"))
EAGER = "snapshot_entries = 200\nlog_keep_entries = 20"


@pytest.fixture
def eager_group(tmp_path: Path) -> Iterator[LoopbackGroup]:
    """Its logs are short: whoever comes with nothing is sent a snapshot."""
    with new_group(tmp_path, extra=EAGER) as group:
        yield group


def wipe(replica: Served) -> None:
    shutil.rmtree(replica.folder)
    replica.folder.mkdir()


def last_line(refused: Served, code: Exit) -> str:
    """What it says when it refuses to start."""
    refused.start()
    assert refused.ended() == code, refused.said()
    return refused.said().rstrip().splitlines()[-1]


# --- a folder is lost ----------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_wiped_replica_stays_out_under_its_id_and_is_replaced_by_a_snapshot_under_load(
    eager_group: LoopbackGroup,
) -> None:
    group = eager_group
    with load(group, urls=group.every_url) as work:
        for _ in range(REPLACEMENTS):
            work.wait_for_more(400)
            lost = group.others(group.leader())[0]
            lost.kill()
            wipe(lost)
            others = group.others(lost)
            group.let_join(lost, *others)
            line = last_line(lost, Exit.STOPPED)
            assert "comes back under a new id" in line
            assert not (lost.folder / "folder.json").exists()
            replace(group, lost)
            work.wait_for_more(100)
    assert work.unsure == 0
    check_kept(group, work)


def replace(group: LoopbackGroup, lost: Served) -> None:
    """By a new one, with the commands of an operator."""
    group.part_with(lost)
    asked = group.leader()
    fresh = group.newcomer(asked)
    addresses = ("--peer", fresh.peer, "--rest", fresh.url)
    done = command("member", "replace", lost.id, fresh.id, *addresses, "--no-wait", "--url", asked.url)
    assert done.returncode == 0, done.stderr
    assert f"--join {asked.url} --node-id {fresh.id}" in done.stdout
    fresh.start()
    group.wait_voters(*group.replicas)
    assert "installed a snapshot" in fresh.said()
    line = last_line(lost, Exit.STOPPED)
    assert f"{lost.id} was removed, and an id is used once" in line


# --- a majority is lost ----------------------------------------------------------------------------------
def members_file(path: Path, replicas: list[Served]) -> Path:
    rows = [{"id": one.id, "peer": one.peer, "rest_url": one.url} for one in replicas]
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.slow
def test_after_a_majority_is_lost_recover_makes_a_new_incarnation_that_keeps_what_the_survivor_had(
    group: LoopbackGroup, tmp_path: Path
) -> None:
    with load(group) as work:
        work.wait_for_more(100)
    index = group.settle()
    (before,) = group.digests(index)
    old = group["n1"].ask("GET", "/v1/cluster").headers["raftmem-cluster"]
    survivor, *lost = group.replicas
    stale = lost[0]
    for replica in group.replicas:
        replica.kill()
    wipe(lost[1])
    for gone in lost:
        group.part_with(gone)
    newcomers = [group.newcomer(survivor) for _ in range(2)]
    file = members_file(tmp_path / "members.json", group.replicas)
    arguments = ("recover", "--data", survivor.folder, "--members", file)
    plan = command(*arguments, "--plan")
    assert plan.returncode == 0, plan.stderr
    assert f"index {index}" in plan.stdout
    assert "incarnation 2" in plan.stdout
    folder = {path: path.read_bytes() for path in survivor.folder.glob("*.json")}
    assert command(*arguments).returncode == Exit.USAGE, "neither --plan nor --yes"
    assert folder == {path: path.read_bytes() for path in survivor.folder.glob("*.json")}
    done = command(*arguments, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["after"]["incarnation"] == 2
    survivor.start()
    group.wait_ready([survivor])
    answer = survivor.ask("GET", f"/v1/state/digest?at={index}")
    assert answer.text("digest") == before
    assert (old.rpartition("/")[2], answer.headers["raftmem-cluster"]) == ("1", f"{group.cluster_id}/2")
    assert survivor.ask("POST", "/v1/memories", {"text": "it writes again"}).status == 201
    stale.start()  # nobody may start it again; somebody will
    for newcomer in newcomers:
        newcomer.start()
    told = f"refuses this replica: belongs to cluster {group.cluster_id}/1, this is {group.cluster_id}/2"
    until(lambda: told in stale.said(), what="the old incarnation is told")
    group.wait_voters(*group.replicas)
    check_kept(group, work)
    write = stale.ask("POST", "/v1/memories?timeout_ms=1000", {"text": "of the past"})
    assert write.status in (503, 504), write.body
    assert stale.ask("GET", "/v1/memories/load?timeout_ms=1000").status == 503
    writer = Writer(group.urls, name="after")
    assert writer.write("POST", "/v1/memories", {"text": "of the new group"}) is not None
    writer.close()
    assert len(group.digests(group.settle())) == 1
