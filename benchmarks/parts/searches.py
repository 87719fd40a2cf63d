"""Top-10 among 10,000 and 100,000 vectors of 384 dimensions: raftmem's index beside bare FAISS, and over HTTP.

In this process both search the same rows for the same probes in turns, on one thread. raftmem's part includes the
choice of rows that may be found, the scores and the order of ties. Over HTTP a group holds the same rows.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from benchmarks import raftmem_group, wrk
from benchmarks.bench import Bench
from benchmarks.measures import Sample, sample_of
from benchmarks.parts.stepping import places
from benchmarks.raftmem_group import RaftmemGroup, body
from benchmarks.raftmem_group import raftmem_group as start_raftmem
from benchmarks.systems import RAFTMEM, ask_json
from benchmarks.vector_world import SHARES, TOP, Bare, Floats, Stored, scope, some_vectors

ROWS: Final = (10_000, 100_000)
PROBES: Final = 20
REPEATS: Final = 3
HTTP_CLIENTS: Final = 4
HTTP_BATCH: Final = 200
_FIELDS: Final = {"of all": (), "50 %": ("user_id",), "1 %": ("app_id",)}


def searches(bench: Bench) -> None:
    for rows in ROWS:
        vectors = some_vectors(rows)
        with bench.scratch(f"index-{rows}") as folder:
            bench.say(f"applying {rows:,} vectors")
            stored, bare = Stored(vectors, folder), Bare(vectors)
            for share, (query, _) in SHARES.items():
                ours = _searching(vectors, partial(stored.search, query=query))
                theirs = _searching(vectors, bare.searching(share))
                point = bench.point(f"search {share}", rows, "one", compared="p50_ms", counted="rows")
                bench.race(point, {RAFTMEM: ours, "faiss": theirs})
            more = {"apply_us_a_vector": stored.apply_us, "flush_s": stored.flush_s}
            more |= stored.saved_and_opened(folder)
            bench.point("search index", rows, "one", counted="rows").samples[RAFTMEM] = [
                Sample(operations=0, seconds=0, more=more)
            ]


def _searching(vectors: Floats, search: Callable[[Floats], object]) -> Callable[[], Sample]:
    def run() -> Sample:
        taken, began, own = [], time.perf_counter(), time.process_time()
        for number in range(PROBES * REPEATS):
            start = time.perf_counter()
            search(vectors[number % PROBES])
            taken.append(time.perf_counter() - start)
        used = {"search": time.process_time() - own}
        return sample_of(taken, took=time.perf_counter() - began, cpu=used, errors=0)

    return run


def http_searches(bench: Bench) -> None:
    """On a group of its own, whose memory goes with it."""
    for rows in ROWS if bench.options.is_full else ROWS[:1]:
        vectors = some_vectors(rows)
        with bench.scratch(f"vectors-{rows}") as folder, start_raftmem(folder) as group:
            bench.say(f"storing {rows:,} vectors over HTTP")
            _store(group, vectors)
            for share, fields in _FIELDS.items():
                file = bench.file(f"search-{rows}-{share.replace(' ', '')}", partial(_requests, vectors, fields))
                work = f"search {share}, HTTP, {HTTP_CLIENTS} clients"
                for at in places(bench):
                    run = bench.wrk_run(group, file, clients=HTTP_CLIENTS, at=at)
                    bench.race(bench.point(work, rows, at, counted="rows"), {RAFTMEM: run})


def _numbers(vector: Floats) -> list[float]:
    return [round(float(value), 4) for value in vector]


def _store(group: RaftmemGroup, vectors: Floats) -> None:
    for start in range(0, len(vectors), HTTP_BATCH):
        events = []
        for number in range(start, min(start + HTTP_BATCH, len(vectors))):
            app, user = scope(number)
            fields = {"op": "ADD", "id": raftmem_group.key(number), "text": "text", "app_id": app, "user_id": user}
            events.append({**fields, "embedding": _numbers(vectors[number]), "embedding_model": "bench"})
        ask_json(f"{group.urls[0]}/v1/events", {"events": events}, timeout_s=60.0)


def _requests(vectors: Floats, fields: tuple[str, ...]) -> list[wrk.Request]:
    return [_request(probe, fields) for probe in vectors[:PROBES]]


def _request(probe: Floats, fields: tuple[str, ...]) -> wrk.Request:
    chosen = {"app_id": "app7", "user_id": "even"}
    asked = {"embedding": _numbers(probe), "top_k": TOP, **{name: chosen[name] for name in fields}}
    return wrk.Request("POST", "/v1/memories/search", body(asked))
