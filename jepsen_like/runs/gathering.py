"""Gathers the evidence at the end: the final log, the digests, the memories, and the results of searches.

Rule: everything is read at one index, which every running replica has applied, from a group that has settled down. If
the index moves meanwhile, what depends on it is read again. A replica that has ended is another checker's finding; the
others are looked at.
"""

import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from jepsen_like.checkers.evidence import Ending, Searched
from jepsen_like.cluster.client import PATIENCE_S, Answer, Client, Trouble
from jepsen_like.cluster.served import Served
from jepsen_like.history.logged import Event
from jepsen_like.runs.folder import RunFolder
from jepsen_like.runs.world import World

PAGE: Final = 1000
QUERIES: Final = 6
TOP_K: Final = 10
TOP_K_WHOLE: Final = 1000  # as much as one search may ask for
REST_S: Final = 60.0  # within which expiries must have ended
PAUSE_S: Final = 0.3


class Moved(Exception):
    """The group went on while it was read."""


def gather(world: World, folder: RunFolder, *, seed: int, extra: Mapping[str, object]) -> Ending:
    """Writes log.jsonl and ending.json. Raises: Trouble, Lost."""
    deadline = time.monotonic() + REST_S
    while time.monotonic() < deadline:
        up = [replica for replica in world.group.replicas if replica.runs]
        if not up:
            raise Trouble("every replica has ended")
        index = world.group.settle()
        try:
            ending = _read(up, index, seed, extra)
        except Moved:
            time.sleep(PAUSE_S)
            continue
        save_log(up[0], index, folder.log)
        folder.ending.write_bytes(msgspec.json.encode(ending))
        return ending
    raise Trouble(f"the group did not come to rest: it wrote on its own for {REST_S:.0f} s")


def _read(up: list[Served], index: int, seed: int, extra: Mapping[str, object]) -> Ending:
    memories = tuple(_memories(up[0], index))
    return Ending(
        index=index,
        digests={one.id: one.ask("GET", f"/v1/state/digest?at={index}").text("digest") for one in up},
        memories=memories,
        searches=tuple(_searches(up, memories, index, random.Random(f"searches {seed}"))),
        extra=dict(extra),
    )


def save_log(replica: Served, index: int, path: Path) -> None:
    """All events up to that index, a page in memory at a time. Raises: Trouble, Lost."""
    encode = msgspec.json.Encoder().encode
    target = f"/v1/events?include=internal&from=1&to={index}&limit={PAGE}"
    with path.open("wb") as file:
        for page in _pages(replica, target):
            for row in page.rows("events"):
                file.write(encode(msgspec.convert(row, Event)) + b"\n")


def _memories(replica: Served, index: int) -> Iterator[dict[str, object]]:
    """As they were at that index, with their vectors."""
    for page in _pages(replica, f"/v1/memories?include=embedding&at={index}&limit={PAGE}"):
        yield from page.rows("memories")


def _pages(replica: Served, target: str) -> Iterator[Answer]:
    client = Client(replica.url)
    cursor = ""
    try:
        while True:
            page = client.ask("GET", target + cursor, timeout_s=PATIENCE_S)
            if page.status != 200:
                raise Trouble(f"{replica.id} refused {target} with {page.status}: {page.body}")
            yield page
            if page.at("next_cursor") is None:
                return
            cursor = f"&cursor={page.text('next_cursor')}"
    finally:
        client.close()


def _searches(
    replicas: list[Served], memories: tuple[dict[str, object], ...], index: int, chance: random.Random
) -> Iterator[Searched]:
    """Around what is stored, in all and under a scope, and one for each dimension that reaches as far as it may."""
    stored: dict[int, list[tuple[list[float], str | None]]] = {}
    for memory in memories:
        vector, app_id = _vector(memory), memory["app_id"]
        if vector:
            stored.setdefault(len(vector), []).append((vector, app_id if isinstance(app_id, str) else None))
    for dimension in sorted(stored):
        for number in range(QUERIES):
            near, app_id = chance.choice(stored[dimension])
            vector = [value + chance.gauss(0, 0.1) for value in near]
            scope = app_id if number % 2 else None
            yield _search(replicas, vector, scope, TOP_K if number else TOP_K_WHOLE, index)


def _vector(memory: Mapping[str, object]) -> list[float]:
    embedding = memory["embedding"]
    vector = embedding.get("vector") if isinstance(embedding, dict) else None
    return [float(value) for value in vector] if vector else []


def _search(replicas: list[Served], vector: list[float], app_id: str | None, top_k: int, index: int) -> Searched:
    """Raises: Moved."""
    found: dict[str, tuple[tuple[str, float], ...]] = {}
    body: dict[str, object] = {"embedding": vector, "top_k": top_k}
    if app_id is not None:
        body["app_id"] = app_id
    for replica in replicas:
        answer = replica.ask("POST", f"/v1/memories/search?consistency=session&min_index={index}", body)
        if answer.status != 200:
            raise Trouble(f"{replica.id} refused a search with {answer.status}: {answer.body}")
        if answer.index != index:
            raise Moved
        found[replica.id] = tuple(_hit(row) for row in answer.rows("results"))
    return Searched(tuple(vector), app_id, top_k, found)


def _hit(row: dict[str, object]) -> tuple[str, float]:
    memory, score = row["memory"], row["score"]
    if not isinstance(memory, dict) or not isinstance(score, int | float):
        raise Trouble(f"no result of a search: {row!r}")
    return str(memory["id"]), float(score)
