"""The README's own commands, run as they stand against a group, with its addresses in place of the default ones."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import Up, free_ports, replicas

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = [block for block in re.findall(r"```sh\n(.*?)```", README.read_text("utf-8"), re.DOTALL) if "curl" in block]
MADE_BY_UP = (8101, 8102, 8103)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with Up(tmp_path_factory.mktemp("readme") / "group", "--port", str(free_ports(3))) as up:
        yield [replica.url for replica in replicas(up.ready())]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_curl_example_of_the_readme_succeeds(urls: list[str]) -> None:
    assert len(BLOCKS) >= 3
    script = "set -e\n" + "\n".join(BLOCKS)
    for port, url in zip(MADE_BY_UP, urls, strict=True):
        script = script.replace(f"http://127.0.0.1:{port}", url)
    script = script.replace("curl -s", "curl -sS --fail-with-body")
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert '"seen":2' in ended.stdout.replace(" ", "")
