"""Nothing that a client began in the background outlives its test."""

import threading
from collections.abc import Iterator

import pytest

PATIENCE_S = 5.0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("raftmem-client"):
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} goes on after the test"
