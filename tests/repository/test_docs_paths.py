"""The documents name files, folders, tests, functions, make targets and sections; each of them exists."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from source_tree import ROOT

DOCUMENTS: Final = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/examples/*.md", "docker/*.md", "jepsen_like/*.md", "**/DESIGN.md")
    for path in ROOT.glob(pattern)
    if path.relative_to(ROOT).parts[0][0] != "." and path.name != "CHANGELOG.md"
)
_CODE: Final = re.compile(r"`([^`\n]+)`")
_FENCE: Final = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_TEST: Final = re.compile(r"(?<![\w/])test_\w+(?![\w*])")
_PATH: Final = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")
_UPSTREAM: Final = re.compile(r"^\w+\.py:\d+")  # a line of PySyncObj
_MAKE: Final = re.compile(r"\bmake ([a-z][a-z-]*)\b")


class Tree(NamedTuple):
    """`names`: every file and folder, from the root, with a slash before it. `tops`: the folders in the root."""

    names: frozenset[str]
    test_names: frozenset[str]
    tops: frozenset[str]


def files_of(root: Path) -> Iterator[str]:
    """Every file, from the root; nothing that is installed, cached or hidden but for `.ci`."""
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if name == ".ci" or not name.startswith((".", "__pycache__"))]
        yield from (str((Path(folder) / name).relative_to(root)) for name in files)


@pytest.fixture(scope="module")
def tree() -> Tree:
    files = list(files_of(ROOT))
    folders = {str(parent) for name in files for parent in Path(name).parents}
    linked = {f"raftmem/{name}" for name in (*files, *folders) if name.split("/")[0] in ("api", "storage")}
    tests = [ROOT / name for name in files if name.startswith("tests/") and name.endswith(".py")]
    functions = {name for path in tests for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))}
    names = frozenset(f"/{name}" for name in (*files, *folders, *linked))
    return Tree(
        names, frozenset(functions | {path.stem for path in tests}), frozenset(f.split("/")[0] for f in folders)
    )


def exists(tree: Tree, name: str) -> bool:
    """Is `name` the end of a path in the tree? A star stands for a part of one segment."""
    if "*" not in name:
        return any(known.endswith(f"/{name}") for known in tree.names)
    pattern = re.compile(".*/" + re.escape(name).replace(r"\*", "[^/]*"))
    return any(pattern.fullmatch(known) for known in tree.names)


def named_paths(text: str, tops: frozenset[str]) -> Iterator[tuple[str, str | None]]:
    """Paths in code spans: (path, name of a function or class behind `::`). Routes, URLs and commands are none."""
    for span in _CODE.findall(_FENCE.sub("", text)):
        path, _, member = span.partition("::")
        if _UPSTREAM.match(span) or not _PATH.fullmatch(path) or path.startswith("/"):
            continue
        path = path.rstrip("/")
        if path.endswith(".py") or (path.split("/")[0] in tops and ("/" in path or span.endswith("/"))):
            yield path, member or None


def slugs(text: str) -> set[str]:
    """The anchors of a document: of its headings, as GitHub makes them, and those written out."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_path_in_a_document_exists(document: Path, tree: Tree) -> None:
    beside = f"{document.parent.relative_to(ROOT)}/".removeprefix("./")
    paths = dict.fromkeys(path for path, _ in named_paths(document.read_text("utf-8"), tree.tops))
    assert [path for path in paths if not exists(tree, path) and not exists(tree, beside + path)] == []


def test_every_function_named_behind_a_path_is_in_that_file(document: Path, tree: Tree) -> None:
    missing = []
    for path, member in named_paths(document.read_text("utf-8"), tree.tops):
        if member is not None and not re.search(
            rf"^\s*(?:async )?(?:def|class) {member}\b", (ROOT / path).read_text(), re.M
        ):
            missing.append(f"{path}::{member}")
    assert missing == []


def test_every_test_in_a_document_exists(document: Path, tree: Tree) -> None:
    named = dict.fromkeys(_TEST.findall(document.read_text("utf-8")))
    assert [name for name in named if name not in tree.test_names] == []


def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    broken = []
    for link in dict.fromkeys(_LINK.findall(_FENCE.sub("", document.read_text("utf-8")))):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if "://" not in link and not (target.exists() and (not anchor or anchor in slugs(target.read_text("utf-8")))):
            broken.append(link)
    assert broken == []


def test_every_make_target_in_a_document_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = document.read_text("utf-8")
    spans = [*_CODE.findall(_FENCE.sub("", text)), *re.findall(r"^ *(make .*)$", text, re.MULTILINE)]
    named = dict.fromkeys(name for span in spans for name in _MAKE.findall(span))
    assert [name for name in named if name not in targets] == []


def test_a_path_that_is_gone_would_be_found(tree: Tree) -> None:
    text = "See `raftmem/gone.py`, `gone/rules.py`, `api/http/`, `rules.py`, `raftmem/node.py::run` and `/v1/memories`."
    found = list(named_paths(text, tree.tops))
    assert [path for path, _ in found if not exists(tree, path)] == ["raftmem/gone.py", "gone/rules.py"]
    assert found[-1] == ("raftmem/node.py", "run")
