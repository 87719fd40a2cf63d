"""The folder of `raftmem up`: made once, resumed as it is, never bootstrapped twice."""

import os
import socket
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from cli_world import free_ports

from raftmem.cli.exits import CommandFailed
from raftmem.cli.group import Group, Layout, describe, open_group, remove_permit, without_leavers
from raftmem.cli.ports import check_ports
from raftmem.errors import BadRequest
from raftmem.settings import load
from raftmem.storage.folder import open_folder


def tokens() -> Callable[[int], str]:
    numbers = count(1)
    return lambda length: f"{next(numbers):0{2 * length}x}"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "group")
    layout.data.mkdir()
    return layout


def taken(other: socket.socket, port: int) -> None:
    """Somebody else listens there. Connections of earlier tests may still linger on the port."""
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", port))
    other.listen()


def opened(layout: Layout, *, replicas: int | None = None, port: int | None = None) -> tuple[Group, bool]:
    return open_group(layout, replicas=replicas, port=port, token=tokens())


def test_new_folder_gets_settings_that_load(layout: Layout) -> None:
    group, is_new = opened(layout)
    assert is_new
    assert [replica.id for replica in group.replicas] == ["n1", "n2", "n3"]
    for replica in group.replicas:
        settings = load(file=layout.settings(replica), environ={}, flags={}).settings
        assert settings.data == layout.folder(replica)
        assert settings.rest_url == replica.rest_url
        assert settings.folder_id == replica.folder_id
        assert not settings.bootstrap
        assert [voter.id for voter in settings.members] == ["n1", "n2", "n3"]
        assert layout.permit(replica).exists()


def test_addresses_are_port_and_port_plus_1000(layout: Layout) -> None:
    group, _ = opened(layout, replicas=2, port=9000)
    assert [(replica.rest_port, replica.peer_port) for replica in group.replicas] == [(9000, 10000), (9001, 10001)]


def test_second_start_is_the_same_group(layout: Layout) -> None:
    first, _ = opened(layout)
    again, is_new = opened(layout)
    assert (again, is_new) == (first, False)


def test_permit_that_was_used_does_not_come_back(layout: Layout) -> None:
    group, _ = opened(layout)
    remove_permit(layout, group.replicas[0])
    opened(layout)
    assert not layout.permit(group.replicas[0]).exists()


def test_start_that_was_cut_short_is_done_again(layout: Layout) -> None:
    group, _ = opened(layout)
    text = layout.description.read_text()
    layout.description.write_text(text.replace('"is_prepared": true', '"is_prepared": false'))
    layout.permit(group.replicas[2]).unlink()
    layout.settings(group.replicas[1]).unlink()
    again, is_new = opened(layout)
    assert (again, is_new) == (group, True)
    assert layout.permit(group.replicas[2]).exists()
    assert layout.settings(group.replicas[1]).exists()


@pytest.mark.parametrize(("replicas", "port"), [(5, None), (None, 9000)])
def test_another_group_than_the_one_that_is_there_is_refused(
    layout: Layout, replicas: int | None, port: int | None
) -> None:
    opened(layout)
    with pytest.raises(BadRequest, match="holds a group"):
        opened(layout, replicas=replicas, port=port)


def test_folder_with_other_things_is_refused(layout: Layout) -> None:
    (layout.data / "thesis.tex").write_text("")
    with pytest.raises(CommandFailed, match=r"holds thesis.tex but no cluster.json"):
        opened(layout)


def test_folder_is_for_one_up_at_a_time(layout: Layout) -> None:
    layout.lock()
    with pytest.raises(CommandFailed, match="in use by another `raftmem up`"):
        layout.lock()


@pytest.mark.parametrize("offset", [0, 1, 1000, 1001])
def test_busy_port_is_named(offset: int, layout: Layout) -> None:
    port = free_ports(2)
    group = describe(replicas=2, port=port, token=tokens())
    check_ports(layout, group, wait_s=0)
    with socket.socket() as other:
        taken(other, port + offset)
        with pytest.raises(CommandFailed, match=f"port {port + offset} .* is in use by another process"):
            check_ports(layout, group, wait_s=0)


def test_port_of_a_replica_that_was_left_behind_is_named_with_its_process(layout: Layout) -> None:
    """A paused replica does not notice that its `up` was killed."""
    group, _ = opened(layout, replicas=1, port=free_ports(1))
    (replica,) = group.replicas
    path, cluster_id = layout.folder(replica), group.cluster_id
    folder = open_folder(path, node_id="n1", cluster_id=cluster_id, folder_id=replica.folder_id, bootstrap=True)
    with socket.socket() as other:
        taken(other, replica.rest_port)
        with pytest.raises(CommandFailed, match=f"an earlier `raftmem up` .* in use by process {os.getpid()}"):
            check_ports(layout, group, wait_s=0)
    folder.close()


def test_port_that_is_being_left_is_waited_for(layout: Layout) -> None:
    port = free_ports(1)
    with socket.socket() as other:
        taken(other, port)
        group = describe(replicas=1, port=port, token=tokens())
        check_ports(layout, group, wait_s=5, sleep=lambda _: other.close())


def test_who_was_removed_or_is_of_an_older_incarnation_stays_down(layout: Layout) -> None:
    """Old folders beside a recovered one would be a majority of a group that is over."""
    group, _ = opened(layout)
    assert without_leavers(layout, group) == (group, {})
    for replica in group.replicas:
        folder = open_folder(
            layout.folder(replica),
            node_id=replica.id,
            cluster_id=group.cluster_id,
            folder_id=replica.folder_id,
            bootstrap=True,
        )
        folder.finish_bootstrap()
        if replica.id == "n1":
            folder.enter_incarnation(2, genesis="00")
        if replica.id == "n3":
            folder.mark_removed()
        folder.close()
    left, reasons = without_leavers(layout, group)
    assert [replica.id for replica in left.replicas] == ["n1"]
    assert "recovered as 2" in reasons["n2"]
    assert "has removed it" in reasons["n3"]
