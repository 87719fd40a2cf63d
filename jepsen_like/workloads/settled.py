"""Speaks to a whole, healthy group before the first client and after the last, with patience.

Rule: a write is there when it returns, and a read misses no earlier write.
"""

import secrets
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from jepsen_like.cluster.client import Client, Lost, Trouble, until
from jepsen_like.runs.world import World

PAGE_ROWS = 1000


def make(world: World, values: Mapping[str, object], **scope: str) -> int:
    """A memory for each id, with its value. The index at which all of them are there. Raises: Trouble."""
    index, writer = 0, world.group.writer(f"prepare-{secrets.token_hex(4)}")
    try:
        for name, value in values.items():
            answer = writer.write("PUT", f"/v1/memories/{name}", {"value": value, **scope})
            if answer is None or answer.status not in (200, 201):
                raise Trouble(f"{name} could not be made: {answer}")
            index = answer.index
    finally:
        writer.close()
    return index


def memories(world: World, **scope: str) -> list[dict[str, object]]:
    """All active ones of a scope, as of one index that no acknowledged write is above. Raises: Trouble."""
    return until(lambda: _pages(world, urlencode(scope)), what="the memories are read to the end")[0]


def _pages(world: World, query: str) -> tuple[list[dict[str, object]]] | None:
    """None: a page was not to be had, so that all must be read anew."""
    client = Client(next(replica.url for replica in world.group.replicas if replica.runs))
    found: list[dict[str, object]] = []
    target = f"/v1/memories?consistency=linearizable&limit={PAGE_ROWS}&{query}".rstrip("&")
    try:
        answer = client.ask("GET", target)
        while answer.status == 200:
            found += answer.rows("memories")
            if answer.at("next_cursor") is None:
                return (found,)
            answer = client.ask("GET", f"{target}&cursor={quote(answer.text('next_cursor'))}")
    except Lost:
        return None
    finally:
        client.close()
    if answer.status < 500:  # no patience will change that
        raise Trouble(f"a page of memories was refused: {answer}")
    return None


def values(world: World, **scope: str) -> dict[str, object]:
    """The value of each active memory of a scope, by its id. Raises: Trouble."""
    return {str(row["id"]): row["value"] for row in memories(world, **scope)}
