"""`/metrics`: what this replica counts, in Prometheus text, under etcd's names where the thing is the same.

Prometheus has one home: this file. The registry is the app's own, so two replicas in one process do not mix.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from raftmem.api.http.loop_stalls import BOUNDS, LoopStalls
from raftmem.service.interface import Service

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4.encode()


_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})  # a client may send any word


class Requests:
    """Replies by route and status: one dictionary step a request."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, int], int] = {}

    def count(self, method: str, route: str, status: int) -> None:
        key = (method if method in _METHODS else "other", route, status)
        self.counts[key] = self.counts.get(key, 0) + 1


class Exposition(Collector):
    """The numbers of one replica, read when they are asked for."""

    def __init__(self, service: Service, requests: Requests, stalls: LoopStalls) -> None:
        self._service = service
        self._requests = requests
        self._stalls = stalls
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        for name, value in sorted(self._service.metrics().items()):
            yield _family(f"raftmem_{name}", value)
        replies = CounterMetricFamily(
            "raftmem_http_requests_total", "Replies sent, by route and status.", labels=["method", "route", "status"]
        )
        for (method, route, status), count in sorted(self._requests.counts.items()):
            replies.add_metric([method, route, str(status)], count)
        yield replies
        yield self._stalled()

    def _stalled(self) -> Metric:
        bounds = [*map(str, BOUNDS), "+Inf"]
        up_to = list(zip(bounds, accumulate(self._stalls.counts), strict=True))
        told = "Times that the event loop was held for 10 ms or more, in seconds."
        family = HistogramMetricFamily("raftmem_loop_stall_seconds", told)
        family.add_metric([], buckets=up_to, sum_value=self._stalls.seconds)
        return family

    def text(self) -> bytes:
        return generate_latest(self._registry)


def _family(name: str, value: float) -> Metric:
    """A counter when its name says so."""
    shown = name.removesuffix("_total").replace("_", " ")
    if name.endswith("_total"):
        return CounterMetricFamily(name, shown, value=value)
    return GaugeMetricFamily(name, shown, value=value)
