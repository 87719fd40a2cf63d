"""Databases whose disk fails in the middle of a commit."""

import errno
import os
from pathlib import Path

import pytest

from raftmem.errors import RestartNeeded
from raftmem.storage.lmdb.environment import Environment


def fill_meta_pages(file: Path) -> None:
    """From now on no room is left for them, although the file need not grow."""
    for number in os.listdir("/proc/self/fd"):
        place = Path("/proc/self/fd", number)
        if place.exists() and place.readlink() == file:
            flags = Path("/proc/self/fdinfo", number).read_text().split("flags:")[1].split()[0]
            if int(flags, 8) & os.O_DSYNC:
                full = os.open("/dev/full", os.O_WRONLY)
                os.dup2(full, int(number))
                os.close(full)


def test_no_room_for_a_meta_page_is_a_stop_after_which_a_restart_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    env = Environment(folder, tables_max=1, durable=True)
    table = env.table("rows")
    with env.write() as txn:
        txn.put(table, b"a", b"1")
    fill_meta_pages(folder / "data.mdb")
    with pytest.raises(OSError, match="no room") as refused, env.write() as txn:
        txn.put(table, b"b", b"2")
    assert refused.value.errno == errno.ENOSPC
    with pytest.raises(RestartNeeded, match=r"a commit could not be finished .* start it again"), env.write() as txn:
        txn.put(table, b"b", b"2")
    with pytest.raises(RestartNeeded):
        env.read()
    env.close()
    env = Environment(folder, tables_max=1, durable=True)
    table, reader = env.table("rows"), env.read()
    assert (reader.get(table, b"a"), reader.get(table, b"b")) == (b"1", None)
    reader.release()
    env.close()
