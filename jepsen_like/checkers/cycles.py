"""Cycles among transactions: each must come before the next, and the last before the first.

Edges are of four kinds: `ww` (the other appended right after it), `wr` (the other read what it appended last), `rw` (it
did not see what the other appended next), `rt` (it returned before the other was called). Real time stands in the graph
as a chain of moments between the operations, so that there are O(n) edges of it and not O(n^2).

Names are those of Adya's thesis and of Elle: G0 (ww alone), G1c (ww, wr), G-single (one rw), lost-update (one rw, one
ww, two operations, one key), G2 (more rw); with `-realtime` if the cycle needs real time.
"""

from array import array
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

WW, WR, RW, RT = range(4)
KINDS: Final = ("ww", "wr", "rw", "rt")
_EFFORT: Final = 2_000_000  # edges looked at in search of the shortest cycle of one component


class Step(NamedTuple):
    """`source` before `target`, for a reason that concerns `key` (-1: real time)."""

    source: int
    target: int
    kind: int
    key: int


class Cycle(NamedTuple):
    """Its steps, each beginning where the one before ends, the last ending where the first begins."""

    name: str
    steps: tuple[Step, ...]


class Graph:
    """`count`: operations, numbered from 0; moments of time are numbered after them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._nodes = count
        self._sources, self._targets, self._kinds, self._keys = (array("i") for _ in range(4))

    def add(self, source: int, target: int, kind: int, key: int = -1) -> None:
        if source != target:
            self._sources.append(source)
            self._targets.append(target)
            self._kinds.append(kind)
            self._keys.append(key)

    def moment(self) -> int:
        self._nodes += 1
        return self._nodes - 1

    def cycles(self) -> Iterator[Cycle]:
        """One of each strongly connected component, the plainest and shortest that is found there."""
        sources = np.frombuffer(self._sources, dtype=np.int32) if self._sources else np.zeros(0, dtype=np.int32)
        order = np.argsort(sources, kind="stable")
        starts = np.searchsorted(sources[order], np.arange(self._nodes + 1)).tolist()
        targets = np.frombuffer(self._targets, dtype=np.int32)[order].tolist() if self._targets else []
        for component in components(starts, targets):
            members = frozenset(component)
            inside = {
                node: [
                    Step(node, targets[place], self._kinds[edge], self._keys[edge])
                    for place in range(starts[node], starts[node + 1])
                    if targets[place] in members
                    for edge in (int(order[place]),)
                ]
                for node in component
            }
            yield self._named(_plainest(inside))

    def _named(self, found: tuple[str, list[Step]]) -> Cycle:
        """Without the moments: what goes over some is one step of real time."""
        name, path = found
        first = next(place for place, step in enumerate(path) if step.source < self.count)
        steps: list[Step] = []
        for step in (*path[first:], *path[:first]):
            if step.source < self.count:
                steps.append(step)
            else:
                steps[-1] = steps[-1]._replace(target=step.target, kind=RT, key=-1)
        kinds = sorted(step.kind for step in steps)
        if kinds == [WW, RW] and steps[0].key == steps[1].key:
            name = "lost-update"
        return Cycle(name, tuple(steps))


def components(starts: Sequence[int], targets: Sequence[int]) -> list[list[int]]:
    """Strongly connected ones of more than one node (Tarjan 1972, without recursion).

    The edges of node n go to `targets[starts[n]:starts[n + 1]]`.
    """
    count = len(starts) - 1
    met = [0] * count  # when it was met first, from 1; 0: not yet
    low = [0] * count
    on_stack = bytearray(count)
    places = list(starts[:count])
    stack: list[int] = []
    found: list[list[int]] = []
    clock = 0
    for root in range(count):
        if met[root]:
            continue
        path = [root]
        while path:
            node = path[-1]
            if not met[node]:
                clock += 1
                met[node] = low[node] = clock
                stack.append(node)
                on_stack[node] = 1
            place, end = places[node], starts[node + 1]
            lowest = low[node]
            while place < end:
                target = targets[place]
                if not met[target]:
                    break
                if on_stack[target] and low[target] < lowest:
                    lowest = low[target]
                place += 1
            low[node], places[node] = lowest, place
            if place < end:
                path.append(targets[place])
                continue
            path.pop()
            if lowest == met[node]:
                _close(node, stack, on_stack, found)
    return found


def _close(root: int, stack: list[int], on_stack: bytearray, found: list[list[int]]) -> None:
    component: list[int] = []
    while True:
        node = stack.pop()
        on_stack[node] = 0
        component.append(node)
        if node == root:
            break
    if len(component) > 1:
        found.append(component)


_Edges = Mapping[int, Sequence[Step]]


def _plainest(inside: _Edges) -> tuple[str, list[Step]]:
    """By the ladder of names; a strongly connected component has a cycle, so that the last rung holds."""
    edges = [edge for found in inside.values() for edge in found]
    reads = [edge for edge in edges if edge.kind == RW]
    for suffix, time in (("", frozenset[int]()), ("-realtime", frozenset({RT}))):
        for name, kinds in (("G0", {WW}), ("G1c", {WW, WR})):
            path = _shortest(inside, kinds | time, [edge for edge in edges if edge.kind in kinds])
            if path:
                return f"{name}{suffix}", path
        for name, kinds in (("G-single", {WW, WR}), ("G2", {WW, WR, RW})):
            path = _shortest(inside, kinds | time, reads)
            if path:
                return f"{name}{suffix}", path
    raise AssertionError("a strongly connected component has a cycle")


def _shortest(inside: _Edges, kinds: Collection[int], firsts: Sequence[Step]) -> list[Step]:
    """The shortest cycle found that begins with one of `firsts` and goes on over edges of these kinds; empty: none.

    The effort is bounded. If every edge is of these kinds, the first try has found one.
    """
    best: list[Step] = []
    effort = 0
    for first in firsts:
        path, looked = _way(inside, kinds, first.target, first.source)
        effort += looked
        if path and (not best or len(path) + 1 < len(best)):
            best = [first, *path]
        if effort > _EFFORT:
            break
    return best


def _way(inside: _Edges, kinds: Collection[int], start: int, goal: int) -> tuple[list[Step], int]:
    """The shortest path, and how many edges were looked at."""
    came: dict[int, Step] = {}
    todo, looked = deque([start]), 0
    while todo and goal not in came:
        for edge in inside[todo.popleft()]:
            looked += 1
            if edge.kind in kinds and edge.target != start and edge.target not in came:
                came[edge.target] = edge
                todo.append(edge.target)
    if goal not in came:
        return [], looked
    path = [came[goal]]
    while path[-1].source != start:
        path.append(came[path[-1].source])
    return path[::-1], looked
