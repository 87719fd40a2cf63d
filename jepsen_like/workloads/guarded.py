"""Locks that guard a real resource, used by holders that sleep past their lease: the case for fencing tokens.

Each section reads a number and writes it one higher, in a file that knows nothing of locks but the token. If the
workload is fenced, it also writes a memory under the guard of the lock. Now and then a holder sleeps between read and
write until another one holds the lock and has used the file. A fenced file then refuses the sleeper. Without fencing,
one of the two updates is lost.
"""

import random
from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Final

from jepsen_like.checkers import counting, locks
from jepsen_like.checkers.evidence import Checker
from jepsen_like.history.record import Operation
from jepsen_like.runs.world import World
from jepsen_like.workloads import settled
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Agent, Workload
from jepsen_like.workloads.holders import TTL_MS, Gone, Holder, PlainHolder, Section, Sleep, StoppedHolder
from jepsen_like.workloads.records import record_of
from jepsen_like.workloads.resource import Fenced, Resource

LOCK: Final = "guarded"
OVERSLEPT_S: Final = TTL_MS / 1000 + 2  # how long it waits for another, at most
STOPPED_EVERY: Final = 4  # one in so many clients is a process that is stopped


class Guarded(Workload):
    """`oversleeps`: how often a holder does, of 1. `memory`: that is counted up where it is fenced."""

    fewest = 20  # all go through one lock
    fenced: ClassVar[bool]
    oversleeps: ClassVar[float] = 0.15
    memory: ClassVar[str] = "guarded-counter"

    def prepare(self, world: World) -> None:
        self.resource = Resource(world.folder / "resource", fenced=self.fenced)
        if self.fenced:
            settled.make(world, {self.memory: 0})

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> Agent:
        if number % STOPPED_EVERY == 0:
            return GuardedAgent(self, world, connection, StoppedHolder(world, connection, chance), chance)
        return GuardedAgent(self, world, connection, PlainHolder(connection, chance), chance)

    def final(self, world: World) -> Mapping[str, object]:
        del world
        return {"resource": self.resource.number(), "fenced": self.fenced}

    def checkers(self) -> tuple[Checker, ...]:
        return (locks.check, counting.check) if self.fenced else (locks.check,)


class FencedLocks(Guarded):
    name = "lock-fenced"
    about = "a lock guards a file that looks at tokens, and a memory; some holders sleep past their time"
    fenced = True


class UnfencedLocks(Guarded):
    name = "lock-unfenced"
    about = "the same file without a look at tokens: a demonstration, updates are lost"
    fenced = False
    expected = "bad"


class GuardedAgent(Agent):
    """One section a turn."""

    def __init__(
        self, workload: Guarded, world: World, connection: Connection, holder: Holder, chance: random.Random
    ) -> None:
        self._workload = workload
        self._resource = workload.resource
        self._recorder = world.recorder
        self._connection = connection
        self._holder = holder
        self._chance = chance

    def step(self) -> None:
        try:
            section = self._holder.take(LOCK)
            if section is not None:
                self._work(section)
                self._holder.give()
        except Gone:
            return  # what it held runs out, and the next turn begins a new one

    def _work(self, section: Section) -> None:
        number = self._counted() if self._workload.fenced else None
        self._use(section)
        if number is not None:
            self._count(section, number + 1)

    # --- the file -----------------------------------------------------------------------------------
    def _use(self, section: Section) -> None:
        """Raises: Gone."""
        record = partial(self._record, section, process=self._connection.process, call=self._recorder.now())
        try:
            result = self._update(section.token)
        except Fenced:
            record(error="fenced")
        except Gone:
            record(error="gone")
            raise
        else:
            record(result=result)

    def _update(self, token: int) -> dict[str, object]:
        """Raises: Fenced, Gone: nothing was written."""
        number = self._resource.read(token)
        asleep: Sleep | None = None
        if self._chance.random() < self._workload.oversleeps:
            asleep = partial(self._resource.wait_newer, token, seconds=OVERSLEPT_S)
        changed = self._holder.work(number, asleep)
        self._resource.write(token, changed)
        return {"read": number, "wrote": changed}

    def _record(
        self,
        section: Section,
        *,
        process: int,
        call: int,
        result: dict[str, object] | None = None,
        error: str | None = None,
    ) -> None:
        operation = Operation(
            process=process,
            f="use",
            key=LOCK,
            value={"owner": section.owner, "token": section.token},
            type="ok" if error is None else "fail",
            result=result,
            call=call,
            return_=self._recorder.now(),
            error=error,
        )
        self._recorder.write(operation)

    # --- the memory ---------------------------------------------------------------------------------
    def _counted(self) -> int | None:
        """The number in the memory; None if no replica could be asked."""
        memory = self._workload.memory
        level = self._chance.choice(self._workload.choices.levels)
        request = Request("GET", f"/v1/memories/{memory}?consistency={level}", reads=True)
        operation = self._connection.do("read", memory, None, request, record_of)
        value = operation.result.get("value") if isinstance(operation.result, dict) else None
        return value if isinstance(value, int) else None

    def _count(self, section: Section, number: int) -> None:
        value = {"owner": section.owner, "token": section.token, "value": number}
        body = {"value": number, "guards": [section.guard]}
        memory = self._workload.memory
        self._connection.do("count", memory, value, Request("PATCH", f"/v1/memories/{memory}", body))

    def close(self) -> None:
        self._holder.close()
        self._connection.close()
