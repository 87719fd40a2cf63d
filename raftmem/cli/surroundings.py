"""The surroundings of a command, beside its options: bytes of arguments, signals, the umask, files.

The rule: text that is no UTF-8 is refused where it comes in, as a usage error that says where; only what belongs to
another program (behind `--`) is passed on as it is.
"""

import os
import signal
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from raftmem.api.http import strict_json
from raftmem.cli.output import complain
from raftmem.errors import BadRequest

PRIVATE: Final = 0o077  # nothing for the group and for others
_OURS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def prepare_signals() -> None:
    """Undo what a parent may have set that no command can work with; what it ignores (nohup) stays ignored."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else nobody hears how a child has ended
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_OURS, signal.SIGCHLD})


def private_files(data: Path) -> None:
    """From now on this process makes files for its user alone; so becomes the folder, if it is there and ours."""
    os.umask(PRIVATE)
    try:
        mode = stat.S_IMODE(data.stat().st_mode)
        if mode & PRIVATE:
            data.chmod(mode & ~PRIVATE)
    except FileNotFoundError:
        return
    except OSError as error:  # another's folder, or a file system without modes
        complain(f"raftmem: {data}: other users may have access, and it cannot be taken from them: {error.strerror}")


def check_texts(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Raises: BadRequest for an argument or a variable of ours that is no UTF-8."""
    for place, text in enumerate(arguments, 1):
        _check_text(text, f"argument {place}")
    for name, text in environ.items():
        if name.startswith("RAFTMEM_"):
            _check_text(text, f"environment {name}")


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        utf8(text.encode("utf-8", "surrogatepass" if _is_foreign(text) else "surrogateescape"), where=where)


def _is_foreign(text: str) -> bool:
    """It holds half a character that did not come from a byte."""
    return any("\ud800" <= c < "\udc80" or "\udcff" < c <= "\udfff" for c in text)


def utf8(raw: bytes, *, where: str) -> str:
    """Raises: BadRequest that says which byte is wrong."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        place = f"byte {error.start + 1} of it, in line {line}, is 0x{raw[error.start]:02x}"
        hint = "; it seems to be UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\0" in raw else ""
        raise BadRequest(f"{where} is not UTF-8: {place}{hint}; convert it to UTF-8", parameter=where) from error


def read_file(path: str, *, where: str) -> bytes:
    """A file that an argument names, or stdin for `-`. Raises: BadRequest."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadRequest(f"{where}: cannot read {path}: {reason}", parameter=where) from error


def json_of(raw: bytes, *, where: str) -> object:
    """The value of a JSON text: UTF-8, each key once, finite numbers. Raises: BadRequest that says where."""
    if raw.startswith(b"\xef\xbb\xbf"):
        raise BadRequest(f"{where} begins with a byte order mark; save it without one", parameter=where)
    utf8(raw, where=where)
    try:
        return strict_json.decode(raw, place=where)
    except BadRequest as error:
        told = str(error) if where in str(error) else f"{where}: {error}"
        raise BadRequest(told, parameter=where) from error
