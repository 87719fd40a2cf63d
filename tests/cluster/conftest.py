"""Groups for the tests of this folder: one that all may use without disturbing each other, and ones to break."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jepsen_like.cluster.group import LoopbackGroup, new_group


@pytest.fixture(autouse=True, scope="module")
def harness_in_children() -> Iterator[None]:
    """Programs of these tests that run as processes of their own find `jepsen_like`, which is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        yield


@pytest.fixture(scope="session")
def shared_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackGroup]:
    """Never stopped, and no test looks at what another wrote (each has an app_id of its own)."""
    with new_group(tmp_path_factory.mktemp("shared")) as group:
        yield group


@pytest.fixture
def group(tmp_path: Path) -> Iterator[LoopbackGroup]:
    """For this test alone."""
    with new_group(tmp_path) as group:
        yield group
