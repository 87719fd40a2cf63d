"""Check that the ports of a group are free before anything is started."""

import socket
import time
from collections.abc import Callable
from typing import Final

from raftmem.cli.exits import CommandFailed
from raftmem.cli.group import HOST, Group, Layout, Replica
from raftmem.errors import FolderRefused
from raftmem.storage.folder import ReadLock

PORT_WAIT_S: Final = 5.0  # replicas of a killed `up` need a moment to notice and leave


def check_ports(layout: Layout, group: Group, *, wait_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Check every port of the group, and wait for one that is just being left. Raises: CommandFailed naming it."""
    for replica in group.replicas:
        for port, use in ((replica.rest_port, "REST"), (replica.peer_port, "peers")):
            waited = 0.0
            while not is_free(port):
                if waited >= wait_s:
                    raise CommandFailed(f"port {port} ({use} of {replica.id}) is in use by {_user(layout, replica)}")
                sleep(0.1)
                waited += 0.1


def _user(layout: Layout, replica: Replica) -> str:
    """Name the process and the next step. A replica that is paused (SIGSTOP) does not notice that its `up` is gone."""
    folder = layout.folder(replica)
    try:
        if (folder / "lock").exists():
            ReadLock(folder).close()
    except FolderRefused as error:
        return f"a replica of this group that an earlier `raftmem up` has left behind: {error} (kill, then kill -CONT)"
    return "another process; stop that one, or give another --port (and --data)"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
