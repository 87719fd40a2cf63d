"""A lock held by a block of code, on threads."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from raftmem.client.asking import Caller
from raftmem.client.holding import HoldBase, Places, Want, leaving, taking
from raftmem.client.keeper import Keeper
from raftmem.client.lease import Lease
from raftmem.client.thread_driver import BlockingFlag, ThreadDriver

_log = logging.getLogger("raftmem.client")


class Lost:
    """Raised, like a threading.Event, when the hold is over: by the clock, also after a pause of the process."""

    def __init__(self, lease: Lease, flag: BlockingFlag) -> None:
        self._lease = lease
        self._flag = flag

    def is_set(self) -> bool:
        return self._lease.is_lost() and not self._lease.ended

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is lost; at the end of the block, or after `timeout` seconds, at the latest."""
        self._flag.wait(timeout)
        return self.is_set()


class Hold(HoldBase):
    """`with client.locks.hold(…) as lock`: taken at the start, renewed in the background, given back at the end.

    Leaving the block raises LeaseLost if the lock was lost inside, unless another exception is under way.
    """

    def __init__(
        self,
        caller: Caller,
        driver: ThreadDriver,
        keeper: Keeper,
        places: Places,
        want: Want,
        owner: str | None,
        on_lost: "Callable[[Hold], object] | None",
    ) -> None:
        super().__init__(want)
        self._caller = caller
        self._driver = driver
        self._keeper = keeper
        self._places = places
        self._asked_owner = owner
        self._callback = on_lost
        self._lost_flag = driver.flag()

    @property
    def lost(self) -> Lost:
        return Lost(self._held, self._lost_flag)

    def __enter__(self) -> Self:
        if self._lease is not None:
            raise RuntimeError(f"this hold of {self.name} was used already; make another one")
        owner = self._places.take(self.name, self._asked_owner)
        try:
            taken = self._driver.run(taking(self._caller, self._want._replace(owner=owner), self._places.doubtful))
        except BaseException:
            self._places.give(self.name, owner)
            raise
        self._lease = Lease(
            self._caller.clock,
            name=self.name,
            owner=owner,
            token=taken.token,
            ttl=self._want.ttl,
            sent=taken.sent,
            on_lost=self._tell,
        )
        self._keeper.keep(self._lease)
        return self

    def _tell(self) -> None:
        self._lost_flag.set()
        callback = self._callback
        if callback is not None:
            self._driver.call(lambda: callback(self))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._held
        self._keeper.drop(lease)
        try:
            lost = self._driver.run(leaving(self._caller, lease))
        finally:
            self._places.end(lease)
            self._lost_flag.set()  # who waits for the loss is let go
        if lost is not None:
            if error is None:
                raise lost
            _log.warning("%s", lost)
