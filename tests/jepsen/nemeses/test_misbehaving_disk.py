"""The preloaded disk: what each fault does to a small process, and to nothing else."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jepsen_like.cluster.preload import FAILS, FULL, LIES, SOUND, STALLS, Counts, DiskFault, Preload

REASON = Preload.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

# Each line that it reads is an expression; it writes what came of it: its value, or the name of the error.
CHILD = """
import errno, mmap, os, shutil, socket, sys
inside = os.open("data/inside", os.O_RDWR | os.O_CREAT)
os.write(inside, b"before")
outside = os.open("outside", os.O_RDWR | os.O_CREAT)
page = mmap.mmap(-1, 4096)
near, far = socket.socketpair()
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
"""
SYNCS = ("os.fsync(inside)", "os.fdatasync(inside)", "page.flush()")
GROWING = (
    "os.write(inside, b'x')",
    "os.pwrite(inside, b'x', 6)",
    "os.writev(inside, [b'x', b'y'])",
    "os.pwritev(inside, [b'xxxx', b'yyyy'], 0)",
    "os.ftruncate(inside, 7)",
    "os.posix_fallocate(inside, 0, 1 << 20)",
    "os.sendfile(inside, outside, 0, 1)",
    "os.copy_file_range(outside, inside, 1)",
    "open('data/new', 'wb', buffering=0).write(b'x')",
    "open('data/inside', 'ab', buffering=0).write(b'x')",
    "shutil.copyfile('outside', 'data/copy')",
)
IN_PLACE = "os.pwrite(inside, b'before', 0)"
FREE = "os.statvfs('data').f_bavail * os.statvfs('data').f_frsize"


class Child:
    def __init__(self, folder: Path) -> None:
        (folder / "data").mkdir()
        (folder / "outside").write_bytes(b"out of the folder")
        self.preload = Preload(folder / "preload")
        environment = dict(os.environ)
        self.preload.put_under(environment, "n1", folder / "data")
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            cwd=folder,
            env=environment,
            text=True,
            bufsize=1,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._heard() == "ready"

    def _heard(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def does(self, line: str) -> str:
        self.say(line)
        return self._heard()

    @property
    def counts(self) -> Counts:
        return self.preload.counts("n1")

    def close(self) -> None:
        self.preload.clear("n1")
        self._process.communicate()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    made = Child(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_sound_disk_does_all_that_is_asked_and_counts_nothing(child: Child) -> None:
    for line in (*SYNCS, IN_PLACE, *GROWING):
        assert not child.does(line).startswith("E"), line
    assert child.counts == (0, 0, 0, 0, 0)


def test_failing_syncs_are_eio_each_time_and_writes_go_on(child: Child) -> None:
    child.preload.set("n1", FAILS)
    assert [child.does(line) for line in SYNCS * 2] == ["EIO"] * 6
    assert child.does(GROWING[0]) == "1"
    assert child.counts.failed == 6
    child.preload.clear("n1")
    assert child.does(SYNCS[0]) == "None"


def test_lying_syncs_say_that_they_are_done_and_do_nothing(child: Child) -> None:
    child.preload.set("n1", LIES)
    assert [child.does(line) for line in SYNCS] == ["None"] * 3
    assert child.counts == (0, 3, 0, 0, 0)


def test_a_slow_sync_takes_longer_and_a_stalled_one_until_it_is_let_go(child: Child) -> None:
    child.preload.set("n1", DiskFault(sync_ms=80))
    timed = "(begin := __import__('time').monotonic(), os.fsync(inside), __import__('time').monotonic() - begin)[2]"
    assert float(child.does(timed)) >= 0.08
    child.preload.set("n1", STALLS)
    child.say(SYNCS[0])
    child.say("'after it'")
    with pytest.raises(subprocess.TimeoutExpired):
        child._process.wait(0.2)
    assert child.counts.delayed == 2
    child.preload.clear("n1")
    assert [child._heard(), child._heard()] == ["None", "after it"]


def test_on_a_full_disk_a_file_below_the_folder_keeps_its_room_and_grows_by_no_kind_of_write(child: Child) -> None:
    child.preload.set("n1", FULL)
    for line in GROWING:
        before = child.counts.refused
        assert child.does(line) == "ENOSPC", line
        assert child.counts.refused > before, line
    assert child.does("os.pread(inside, 100, 0)") == "b'before'"
    assert child.does(IN_PLACE) == "6"


def test_on_a_full_disk_sockets_output_and_other_folders_are_written_as_ever(child: Child) -> None:
    child.preload.set("n1", FULL)
    assert child.does("near.send(b'x')") == "1"
    assert child.does("os.write(outside, b'x')") == "1"
    assert child.does("os.fsync(inside)") == "None"
    assert child.does(FREE) == "0"


def test_little_free_space_is_told_and_counted_while_writes_go_on(child: Child) -> None:
    child.preload.set("n1", DiskFault(free_bytes=40 << 20))
    assert child.does(FREE) == str(40 << 20)
    assert child.does("os.fstatvfs(inside).f_bavail * os.fstatvfs(inside).f_frsize") == str(40 << 20)
    assert child.does(GROWING[0]) == "1"
    assert child.counts.told == 4


def test_another_who_looks_at_the_same_folder_controls_the_same_disk(child: Child, tmp_path: Path) -> None:
    other = Preload(tmp_path / "preload")
    other.set("n1", DiskFault(write_error=errno.EDQUOT))
    assert child.preload.fault("n1") == DiskFault(write_error=errno.EDQUOT)
    assert child.does(GROWING[0]) == "EDQUOT"
    other.clear("n1")
    assert child.preload.fault("n1") == SOUND


def test_a_replica_whose_control_page_is_gone_does_not_start_with_a_sound_disk(tmp_path: Path) -> None:
    preload = Preload(tmp_path / "preload")
    environment = {"LD_PRELOAD": "libother.so"}
    preload.put_under(environment, "n1", tmp_path)
    preload.put_under(environment, "n1", tmp_path)
    assert environment["LD_PRELOAD"].split(":")[1:] == ["libother.so"]
    environment["LD_PRELOAD"] = environment["LD_PRELOAD"].split(":")[0]
    (tmp_path / "preload" / "n1.disk").unlink()
    ended = subprocess.run([sys.executable, "-c", ""], env=environment, capture_output=True, text=True)
    assert ended.returncode == 125
    assert "n1.disk" in ended.stderr
