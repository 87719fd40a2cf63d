"""A hundred watchers: how soon each hears of a write, and how much they cost the writes of others.

Fan-out: one client writes fifty times a second at the leader, and all hundred watch everything at another replica. The
time runs from sending the request to the event at the watcher. Cost: 64 clients write at the leader, where each watcher
watches a hundredth of the writes. The same without watchers stands beside it.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from benchmarks import etcd_group, raftmem_group, wrk
from benchmarks.bench import Bench, Run, by_wrk, roles
from benchmarks.connection import opened, request
from benchmarks.load import alarm
from benchmarks.measures import LOAD, Sample, sample_of
from benchmarks.processes import cpu_seconds, since
from benchmarks.systems import KEYS, RAFTMEM, System, encoded, values
from benchmarks.watchers import Stream, mark, watching

FAN_OUT: Final = "watch fan-out"
WATCHED: Final = "ADD, 100 watchers"
WATCHERS: Final = 100
WRITERS: Final = 64
RATE: Final = 50
LAST_S: Final = 0.5  # what is under way arrives


def watches(bench: Bench) -> None:
    bench.refresh()
    _fan_out(bench)
    _cost(bench)


def _fan_out(bench: Bench) -> None:
    ours, runs = bench.raftmem, dict[str, Run]()
    streams = [Stream(ours.urls[-1], "GET", "/v1/watch")] * WATCHERS
    runs[RAFTMEM] = _deliver(bench, ours, streams, lambda text: ("/v1/memories", {"text": text, "app_id": "bench"}))
    if (etcd := bench.etcd) is not None:
        streams = [_etcd_stream(etcd.urls[-1], 0, KEYS)] * WATCHERS
        put = etcd_group.key(1)
        runs["etcd"] = _deliver(bench, etcd, streams, lambda text: ("/v3/kv/put", {"key": put, "value": encoded(text)}))
    bench.race(bench.point(FAN_OUT, WATCHERS, "spread", "deliveries", compared="p50_ms"), runs, rounds=bench.fewer(2))


def _etcd_stream(url: str, start: int, stop: int) -> Stream:
    asked = {"create_request": {"key": etcd_group.key(start), "range_end": etcd_group.key(stop)}}
    return Stream(url, "POST", "/v3/watch", msgspec.json.encode(asked).decode())


def _deliver(
    bench: Bench, system: System, streams: Sequence[Stream], write: Callable[[str], tuple[str, dict[str, str]]]
) -> Run:
    async def send() -> int:
        errors = 0
        async with opened(system.urls[:1], 1) as (connection,):
            with alarm() as until:
                began = time.perf_counter()
                for number in range(bench.options.seconds * RATE):
                    await until(began + number / RATE)
                    path, body = write(mark())
                    errors += not (await connection.ask(request("POST", path, msgspec.json.encode(body)))).is_ok
        return errors

    def run() -> Sample:
        pids = roles(system)
        with watching(streams) as watchers:
            before, began = cpu_seconds(pids), time.perf_counter()
            errors = uvloop.run(send())
            took = time.perf_counter() - began
            time.sleep(LAST_S)
            used = {**since(before, cpu_seconds(pids)), LOAD: 0.0}
            watchers.end()
        late = watchers.heard.late
        wanted = bench.options.seconds * RATE * len(streams)
        more = {"heard_percent": len(late) / wanted * 100}
        return sample_of(late, took=took, cpu=used, errors=errors, more=more)

    return run


def _cost(bench: Bench) -> None:
    texts = values()
    ours = [
        wrk.Request("POST", "/v1/memories", raftmem_group.body({"text": texts[n % len(texts)], "app_id": f"app-{n}"}))
        for n in range(WATCHERS)
    ]
    file = bench.file("raftmem-add-apps", lambda: ours)
    group = bench.raftmem
    narrow = [Stream(group.urls[0], "GET", f"/v1/watch?app_id=app-{n}") for n in range(WATCHERS)]
    runs = {"raftmem unwatched": _adds(bench, group, file, []), RAFTMEM: _adds(bench, group, file, narrow)}
    if (etcd := bench.etcd) is not None:
        file = bench.file("etcd-put", etcd_group.put_requests)
        share = KEYS // WATCHERS
        narrow = [_etcd_stream(etcd.urls[0], n * share, (n + 1) * share) for n in range(WATCHERS)]
        runs["etcd unwatched"] = _adds(bench, etcd, file, [])
        runs["etcd"] = _adds(bench, etcd, file, narrow)
    bench.race(bench.point(WATCHED, WRITERS, "leader"), runs, rounds=bench.fewer(1))


def _adds(bench: Bench, system: System, requests: Path, streams: Sequence[Stream]) -> Run:
    def run() -> Sample:
        with watching(streams) as watchers:
            sample = by_wrk(system, system.urls[:1], requests, clients=WRITERS, seconds=bench.options.seconds)
            watchers.end()
        if not streams:
            return sample
        heard = {"heard_mb_a_second": watchers.heard.bytes / sample.seconds / 1e6}
        return msgspec.structs.replace(sample, more=heard)

    return run
