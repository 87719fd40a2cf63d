"""Every test, and each process that one starts, runs in the same surroundings, whoever starts the tests and where.

The surroundings are: default signal dispositions (nohup ignores SIGHUP, a shell ignores SIGINT in the background), no
blocked signal, the usual umask, a UTF-8 locale, an empty home folder, a terminal of one size, and no setting of raftmem
but those that are meant for the tests.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from typing import Final

import pytest

SLOW_LIMIT_S: Final = 600  # of a test that is marked slow; `timeout` in pyproject.toml is the limit of the others
_INHERITED: Final = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
_FOR_TESTS: Final = ("RAFTMEM_TEST_", "RAFTMEM_FUZZ_")
_OF_A_TERMINAL: Final = {"COLUMNS": "120", "LINES": "40", "TERM": "xterm"}
# These would colour an output that a test reads, or encode it in another way.
_LEFT_OUT: Final = (
    *("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERMINAL_WIDTH"),
    *("LANGUAGE", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONWARNINGS"),
)


def _same_surroundings() -> None:
    for number in _INHERITED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    for name in [*_LEFT_OUT, *(name for name in os.environ if name.startswith("LC_"))]:
        os.environ.pop(name, None)
    for name in [name for name in os.environ if name.startswith("RAFTMEM_") and not name.startswith(_FOR_TESTS)]:
        del os.environ[name]
    os.environ |= {"LANG": "C.UTF-8", **_OF_A_TERMINAL}


def pytest_configure(config: pytest.Config) -> None:
    """One home for all processes of a run: a worker of xdist has inherited it."""
    _same_surroundings()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        home = tempfile.mkdtemp(prefix="raftmem-test-home-")
        os.environ["HOME"] = home
        config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    """A command inside a test may make the files of its process private; the next test has the usual umask."""
    yield
    os.umask(0o022)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that is marked slow has more time, unless it names its own limit."""
    for item in items:
        if item.get_closest_marker("slow") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT_S))
