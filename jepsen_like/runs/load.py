"""The clients of a run, each on a thread of its own, until they are told to stop.

Rule: a client that breaks stops all of them, and its error is kept: a load that thins out in silence tests less than it
says.
"""

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from jepsen_like.cluster.client import Trouble
from jepsen_like.runs.options import Options
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection
from jepsen_like.workloads.contract import Workload


class Load:
    """`stopped`: set when it is to end, by itself too."""

    def __init__(self, world: World, workload: Workload, options: Options) -> None:
        self._world = world
        self._workload = workload
        self._options = options
        self._pool = ThreadPoolExecutor(options.clients, thread_name_prefix="client")
        self._clients: list[Future[None]] = []
        self.stopped = threading.Event()

    def start(self) -> None:
        self._clients = [self._pool.submit(self._client, number) for number in range(self._options.clients)]

    def stop(self) -> list[str]:
        """Once each has made its last step: what went wrong, a line each."""
        self.stopped.set()
        self._pool.shutdown(wait=True)
        return [line for client in self._clients if (line := broken(client))]

    def _client(self, number: int) -> None:
        try:
            self._steps(number)
        finally:
            self.stopped.set()

    def _steps(self, number: int) -> None:
        name = f"{self._options.seed} client {number}"
        connection = Connection(
            self._world.urls, self._world.recorder, actor=f"agent/client-{number}", chance=random.Random(name)
        )
        agent = self._workload.agent(self._world, connection, number, random.Random(f"{name} agent"))
        pause = self._options.clients / self._options.rate if self._options.rate else 0.0
        due = time.monotonic() + pause * number / self._options.clients
        try:
            while not self.stopped.is_set():
                agent.step()
                if pause:  # one that is late does not hurry afterwards
                    due = max(due + pause, time.monotonic())
                    self.stopped.wait(due - time.monotonic())
        finally:
            agent.close()
            connection.close()


def broken(work: "Future[None]") -> str:
    """The error that ended a piece of work: none, Trouble, or a mistake of the harness."""
    match work.exception():
        case None:
            return ""
        case Trouble() as trouble:
            return str(trouble)
        case error:
            return told(error)


def told(error: BaseException) -> str:
    """A programming error, in a line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{place}"
