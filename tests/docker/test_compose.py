"""compose.yaml: what stands in it, and its three services run as processes, with only folders and ports changed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from image import DOCKER, compose, dockerfile

from jepsen_like.cluster.client import Client, Trouble, once, until
from jepsen_like.cluster.group import claimed_ports
from raftmem.settings import load

COMPOSE = compose()
REPLICAS = {name: service for name, service in COMPOSE["services"].items() if "profiles" not in service}
STAGES = dockerfile()
PRODUCT = STAGES["product"]


def text(service: dict[str, object], *path: str) -> str:
    here: object = service
    for step in path:
        assert isinstance(here, dict)
        here = here[step]
    assert isinstance(here, str)
    return here


def words(service: dict[str, object], name: str) -> list[str]:
    found = service[name]
    assert isinstance(found, list)
    return [str(word) for word in found]


def environment(service: dict[str, object]) -> dict[str, str]:
    found = service["environment"]
    assert isinstance(found, dict)
    return {**{k: v for k, v in PRODUCT.variables().items() if k.startswith("RAFTMEM_")}, **found}


# --- what stands in it ----------------------------------------------------------------------------------
def test_three_replicas_restart_and_publish_on_loopback_only() -> None:
    assert list(REPLICAS) == ["n1", "n2", "n3"]
    for place, (name, service) in enumerate(REPLICAS.items()):
        assert service["restart"] == "unless-stopped"
        assert service["hostname"] == name
        assert words(service, "ports") == [f"127.0.0.1:{8101 + place}:8101"]


def test_each_replica_has_a_volume_of_its_own_and_all_share_the_one_that_remembers() -> None:
    data, group = PRODUCT.variables()["RAFTMEM_DATA"], "/var/lib/raftmem/group"
    for name, service in REPLICAS.items():
        assert words(service, "volumes") == [f"{name}:{data}", f"group:{group}"]
        assert words(service, "entrypoint")[-1] == group
    used = {
        volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in words(service, "volumes")
    }
    assert used == set(COMPOSE["volumes"])


def test_settings_of_each_replica_are_accepted_and_agree() -> None:
    found = {
        name: load(file=None, environ=environment(service), flags={"bootstrap": "true"}).settings
        for name, service in REPLICAS.items()
    }
    assert len({(one.cluster_id, one.members) for one in found.values()}) == 1
    for name, settings in found.items():
        (own,) = [voter for voter in settings.members if voter.id == name]
        assert (settings.node_id, settings.folder_id, settings.rest_url) == (name, own.folder_id, own.rest_url)
        assert own.peer == f"{name}:9101"
        assert settings.peer == "0.0.0.0:9101"
        assert settings.rest_url.rpartition(":")[2] == words(REPLICAS[name], "ports")[0].split(":")[1]


def test_harness_comes_only_with_its_profile_and_reaches_no_network() -> None:
    harness = COMPOSE["services"]["jepsen"]
    assert harness["profiles"] == ["jepsen"]
    assert harness["network_mode"] == "none"
    assert text(harness, "build", "target") in STAGES
    assert all(text(service, "build", "target") == "product" for service in REPLICAS.values())
    assert all(
        (DOCKER / text(one, "build", "context") / text(one, "build", "dockerfile")).is_file()
        for one in COMPOSE["services"].values()
    )


def test_harness_is_told_what_it_knows() -> None:
    argv = [sys.executable, "-m", "jepsen_like", *words(COMPOSE["services"]["jepsen"], "command"), "--plan"]
    ended = subprocess.run(argv, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


# --- what it does ---------------------------------------------------------------------------------------
class Container:
    """A service as a process: its entrypoint, command, environment and healthcheck, on the test's folders and ports."""

    def __init__(self, name: str, root: Path, ports: dict[str, int]) -> None:
        self.name, self._root, self._ports = name, root, ports
        self.data = root / name
        self.data.mkdir()
        self.url = f"http://127.0.0.1:{ports[f'{name} rest']}"
        service = REPLICAS[name]
        self._argv = [self._placed(word) for word in (*words(service, "entrypoint"), *words(service, "command"))]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAFTMEM_")}
        self._environment = {**kept, **{k: self._placed(v) for k, v in environment(service).items()}}
        self.output = root / f"{name}.output"
        self.process: subprocess.Popen[bytes] | None = None

    def _placed(self, word: str) -> str:
        """With what a container has of its own put where this test has it."""
        binary = Path(sys.executable).parent
        for before, after in (
            ("/opt/raftmem/bin", str(binary)),
            ("/opt/raftmem", str(DOCKER)),
            ("/var/lib/raftmem/data", str(self.data)),
            ("/var/lib/raftmem/group", str(self._root / "group")),
            ("0.0.0.0:8101", self.url.removeprefix("http://")),
            ("0.0.0.0:9101", f"127.0.0.1:{self._ports[f'{self.name} peer']}"),
        ):
            word = word.replace(before, after)
        word = re.sub(r"\b(n\d):9101", lambda match: f"127.0.0.1:{self._ports[f'{match[1]} peer']}", word)
        published = {words(service, "ports")[0].split(":")[1]: name for name, service in REPLICAS.items()}
        return re.sub(
            r"127\.0\.0\.1:(810\d)\b", lambda match: f"127.0.0.1:{self._ports[f'{published[match[1]]} rest']}", word
        )

    def start(self) -> None:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self._argv, env=self._environment, stdout=output, stderr=output)

    def is_healthy(self) -> bool:
        check = PRODUCT.only("HEALTHCHECK").rest.partition(" CMD ")[2]
        return subprocess.run([self._placed(word) for word in json.loads(check)], env=self._environment).returncode == 0

    def wait_healthy(self) -> None:
        until(self.is_healthy, what=f"{self.name} is healthy")

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def clean_up(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[list[Container]]:
    (tmp_path / "group").mkdir()
    with claimed_ports() as base:
        names = [f"{name} {kind}" for name in REPLICAS for kind in ("rest", "peer")]
        ports = {name: base + place for place, name in enumerate(names)}
        made = [Container(name, tmp_path, ports) for name in REPLICAS]
        try:
            yield made
        finally:
            for one in made:
                one.clean_up()


def start(containers: list[Container]) -> None:
    for one in containers:
        one.start()
    for one in containers:
        one.wait_healthy()


@pytest.mark.slow
def test_services_make_a_group_keep_its_data_and_let_no_emptied_volume_vote(containers: list[Container]) -> None:
    assert not containers[0].is_healthy()
    start(containers)
    written = once(containers[0].url, "POST", "/v1/memories", {"id": "freeze", "text": "until 18:00"})
    assert written.status == 201
    listed = once(containers[1].url, "GET", "/v1/cluster").rows("members")
    assert [row["rest_url"] for row in listed] == [one.url for one in containers]
    assert [one.stop() for one in containers] == [0, 0, 0]

    start(containers)  # docker compose up, after docker compose down
    client = Client(containers[2].url)
    assert client.ask("GET", "/v1/memories/freeze").text("text") == "until 18:00"
    client.close()

    lost = containers[1]
    assert lost.stop() == 0
    shutil.rmtree(lost.data)
    lost.data.mkdir()
    lost.start()
    assert lost.process is not None
    assert lost.process.wait(30) == 6
    assert list(lost.data.iterdir()) == [] or not (lost.data / "log").exists()
    assert once(containers[0].url, "POST", "/v1/memories", {"text": "two are a majority"}).status == 201
    with pytest.raises(Trouble):
        until(lost.is_healthy, what="it is healthy", seconds=0)
