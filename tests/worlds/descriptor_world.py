"""A process without a free descriptor, as clients with many connections leave it; in a child, so no test suffers."""

import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 64


@contextmanager
def none_left(*, spare: int = 0) -> Iterator[None]:
    """Every descriptor of this process is taken, but for `spare`."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    taken: list[int] = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        for _ in range(spare):
            os.close(taken.pop())
    try:
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)


def in_a_child(program: str, *arguments: object) -> str:
    """What `program` prints; it may import the test worlds. Raises: AssertionError with its errors when it fails."""
    path = os.pathsep.join(entry for entry in (str(Path(__file__).parent), *sys.path) if entry)
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
