"""The suite's own load: clients in a closed loop, or planned arrivals whose latency counts from the intended time.

In an open loop an arrival waits for a free connection if all are busy, and its latency counts from when it should have
left. So a server that stalls cannot slow the load down and hide the cost of the stall.
"""

import asyncio
import ctypes
import gc
import math
import os
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Final

from benchmarks.connection import Broken, Connection, Reply
from benchmarks.measures import LOAD, Sample, sample_of
from benchmarks.processes import cpu_seconds, since

Step = Callable[[], Awaitable[bool]]  # one operation; whether it succeeded
WARM_UP_S: Final = 0.5
GRID_S: Final = 0.0005
LAST_S: Final = 30.0  # for what is under way at the end of an open loop


class Tally:
    """Latencies in seconds of what succeeded."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors = 0

    def count(self, began: float, is_ok: bool) -> None:
        if is_ok:
            self.latencies.append(time.perf_counter() - began)
        else:
            self.errors += 1


async def closed_loop(
    steps: Sequence[Step],
    *,
    seconds: float,
    pids: Mapping[str, int],
    warm_up_s: float,
    each: int = 1,
    settle: Callable[[], Awaitable[None]] | None = None,
) -> Sample:
    """Each step again as soon as it is done. What began before the warm-up was over does not count.

    `each`: operations of a step. `settle`: what has to be waited for until the work counts as done.
    """
    tally = Tally()
    begins = time.perf_counter() + warm_up_s
    ends = begins + seconds

    async def client(step: Step) -> None:
        while (began := time.perf_counter()) < ends:
            try:
                is_ok = await step()
            except Broken:
                tally.errors += 1
                return
            if began >= begins:
                tally.count(began, is_ok)

    with quiet_collector():
        running = asyncio.gather(*(client(step) for step in steps))
        await asyncio.sleep(warm_up_s)
        before, own = cpu_seconds(pids), time.process_time()
        await running
        if settle is not None:
            await settle()
        took = time.perf_counter() - begins
        used = {**since(before, cpu_seconds(pids)), LOAD: time.process_time() - own}
    return sample_of(tally.latencies, took=took, cpu=used, errors=tally.errors, each=each)


def arrivals(rate: float, seconds: float, *, seed: int) -> Iterator[float]:
    """Poisson: seconds from the start, rising, each put off to the next mark of a fine grid.

    Who comes between two marks is sent at once, which spares the load a wake-up each.
    """
    draw, at = random.Random(seed), 0.0
    while (at := at + draw.expovariate(rate)) < seconds - GRID_S:
        yield math.ceil(at / GRID_S) * GRID_S


async def open_loop(
    connections: Sequence[Connection],
    requests: Sequence[bytes],
    plan: Iterator[float],
    *,
    pids: Mapping[str, int],
    each: int = 1,
) -> Sample:
    """Each arrival sends the next of `requests` on the connection that has been free for longest, or waits for one."""
    tally, due, free = Tally(), deque[float](), deque(connections)
    next_request, is_idle = cycle(requests), asyncio.Event()
    under_way = 0
    began = time.perf_counter()

    def send(connection: Connection, intended: float) -> None:
        nonlocal under_way

        def then(reply: Reply | Broken) -> None:
            nonlocal under_way
            under_way -= 1
            tally.count(intended, not isinstance(reply, Broken) and reply.is_ok)
            if due and not connection.is_closed:
                send(connection, due.popleft())
            elif not connection.is_closed:
                free.append(connection)
            if not under_way:
                is_idle.set()

        under_way += 1
        connection.send(next(next_request), then)

    with quiet_collector(), alarm() as until:
        before, own = cpu_seconds(pids), time.process_time()
        for after in plan:
            await until(began + after)
            if free:
                send(free.popleft(), began + after)
            else:
                due.append(began + after)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                while under_way:
                    is_idle.clear()
                    await is_idle.wait()
        took = time.perf_counter() - began
        used = {**since(before, cpu_seconds(pids)), LOAD: time.process_time() - own}
    return sample_of(tally.latencies, took=took, cpu=used, errors=tally.errors + len(due) + under_way, each=each)


_CLOCK_MONOTONIC: Final = 1  # what perf_counter reads on Linux
_TIMER_ABSOLUTE: Final = 1


@contextmanager
def alarm() -> Iterator[Callable[[float], Awaitable[None]]]:
    """Waits until a time of `perf_counter`, by a timer of the kernel: those of the loop only count milliseconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    loop, rung = asyncio.get_running_loop(), asyncio.Event()

    def ring() -> None:
        os.read(timer, 8)
        rung.set()

    async def until(at: float) -> None:
        if at <= time.perf_counter():
            return
        whole = int(at)
        when = (ctypes.c_long * 4)(0, 0, whole, int((at - whole) * 1e9))
        rung.clear()
        if libc.timerfd_settime(timer, _TIMER_ABSOLUTE, ctypes.byref(when), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        await rung.wait()

    loop.add_reader(timer, ring)
    try:
        yield until
    finally:
        loop.remove_reader(timer)
        os.close(timer)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keeps the garbage collector of this process out of the measurement."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
