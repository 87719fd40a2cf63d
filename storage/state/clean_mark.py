"""The clean mark: it decides whether the state on disk can be trusted after the last stop.

Commits of the state are not synced. A kill of the process loses nothing (the kernel keeps the pages), a stop of the
machine may. So each run first writes a mark that names this boot, and a clean stop writes one that says clean.
The rule that must hold: the mark on disk says unclean before a run writes its first page of the state.
"""

import shutil
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

from raftmem.storage.atomic_file import sync_folder, write_atomic


class _Mark(Struct, frozen=True, forbid_unknown_fields=True):
    boot_id: str
    clean: bool


class StateMark:
    """The clean mark of the state in `state`. `boot_id`: changes with every start of the machine."""

    def __init__(self, path: Path, state: Path, *, boot_id: str) -> None:
        self._path = path
        self._state = state
        self._boot_id = boot_id
        self._begun = False
        self._lock = threading.Lock()

    def trusted(self) -> bool:
        """True if the state is the last committed one: stopped cleanly, or killed on a machine that ran on."""
        try:
            mark = msgspec.json.decode(self._path.read_bytes(), type=_Mark)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return False
        return mark.clean or mark.boot_id == self._boot_id

    def discard_untrusted(self) -> bool:
        """Remove a state that is not trusted, so that it is rebuilt from a snapshot and the log; whether it did."""
        if self.trusted() or not self._state.exists():
            return False
        self._discard()
        return True

    def discard_damaged(self) -> None:
        """Remove a state that is known to be damaged, so that it is rebuilt likewise: whatever the mark says of it."""
        self.begin()
        self._discard()

    def _discard(self) -> None:
        shutil.rmtree(self._state)
        sync_folder(self._path.parent)

    def begin(self) -> None:
        """Before the first write of a run, and before another state takes its place; later calls cost nothing.

        Any thread.
        """
        with self._lock:
            if not self._begun:
                self._write(clean=False)
                self._begun = True

    def finish(self) -> None:
        """After the state was synced."""
        self._write(clean=True)
        self._begun = False

    def _write(self, *, clean: bool) -> None:
        write_atomic(self._path, msgspec.json.encode(_Mark(self._boot_id, clean)))
