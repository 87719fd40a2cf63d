from collections.abc import Iterator

import pytest
from cli_world import Cli
from scripted_group import ScriptedGroup, scripted_group


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capfd)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedGroup]:
    """A scripted group, at the address that commands ask without --url."""
    with scripted_group() as group:
        monkeypatch.setenv("RAFTMEM_URL", group.url)
        yield group
