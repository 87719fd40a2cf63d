import pytest
from cli_world import Cli


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No RAFTMEM_* of the one who runs the tests."""
    for name in ("RAFTMEM_URL", "RAFTMEM_TOKEN", "RAFTMEM_ACTOR", "RAFTMEM_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capfd)
