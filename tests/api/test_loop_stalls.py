"""A held loop is counted and logged with the route that began last."""

import logging
from collections.abc import Callable

import pytest
from api_world import World

from raftmem.api.http.loop_stalls import BOUNDS, INTERVAL_SECONDS, LoopStalls


class HandLoop:
    """A loop whose time and timers a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timer: Callable[[], object] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        assert delay == INTERVAL_SECONDS
        self._timer = callback

    def run_late(self, seconds: float) -> None:
        """The timer runs that long after its time."""
        self.now += INTERVAL_SECONDS + seconds
        timer, self._timer = self._timer, None
        assert timer is not None
        timer()


def test_timer_that_is_on_time_counts_nothing() -> None:
    loop, stalls = HandLoop(), LoopStalls()
    stalls.watch(loop)
    for _ in range(5):
        loop.run_late(0.009)
    assert sum(stalls.counts) == 0
    assert stalls.seconds == 0


def test_stalls_are_counted_by_how_long_they_were() -> None:
    loop, stalls = HandLoop(), LoopStalls()
    stalls.watch(loop)
    for late in (0.02, 0.02, 0.3, 60.0):
        loop.run_late(late)
    counted = dict(zip((*BOUNDS, None), stalls.counts, strict=True))
    assert {bound: count for bound, count in counted.items() if count} == {0.025: 2, 0.5: 1, None: 1}
    assert stalls.seconds == pytest.approx(60.34)


def test_long_stall_is_logged_with_the_route_and_not_every_time(caplog: pytest.LogCaptureFixture) -> None:
    loop, stalls = HandLoop(), LoopStalls()
    stalls.watch(loop)
    stalls.route = "/v1/memories"
    with caplog.at_level(logging.WARNING, logger="raftmem.http"):
        loop.run_late(0.5)
        loop.run_late(0.4)
        loop.run_late(0.05)
        loop.run_late(0.7)
    assert [record.getMessage() for record in caplog.records] == [
        "the event loop was held for 500 ms; /v1/memories began last before that",
        "the event loop was held for 700 ms; /v1/memories began last before that",
    ]


def test_metrics_show_the_stalls() -> None:
    text = World()("GET", "/metrics").text
    assert 'raftmem_loop_stall_seconds_bucket{le="0.01"} 0.0' in text
    assert "raftmem_loop_stall_seconds_count 0.0" in text
