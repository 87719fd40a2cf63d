"""A lock held by a block of code, on threads."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from raftmem.client.hold import HoldBase, Places, Want
from raftmem.client.keeper import Keeper
from raftmem.client.lease import Lease
from raftmem.client.retry import Caller
from raftmem.client.thread_driver import BlockingFlag, ThreadDriver


class Lost:
    """The loss of a hold: raised, like an Event, once the clock says so, also right after a pause of the process."""

    def __init__(self, lease: Lease, flag: BlockingFlag) -> None:
        self._lease = lease
        self._flag = flag

    def is_set(self) -> bool:
        return self._lease.is_lost() and not self._lease.ended

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the loss, until the block ends, for `timeout` seconds at most. True: the hold is lost."""
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
        keeper: Callable[[], Keeper],
        places: Places,
        want: Want,
        owner: str | None,
        on_lost: "Callable[[Hold], object] | None",
    ) -> None:
        super().__init__(caller, keeper, places, want, owner)
        self._driver = driver
        self._callback = on_lost
        self._lost_flag = driver.flag()

    @property
    def lost(self) -> Lost:
        return Lost(self._held, self._lost_flag)

    def __enter__(self) -> Self:
        try:
            self._driver.run(self._entering(self._tell))
        except BaseException as error:  # also Ctrl-C in the middle of it
            self._driver.run(self._giving_up(error))
            raise
        return self

    def _tell(self) -> None:
        self._lost_flag.set()
        callback = self._callback
        if callback is not None:
            self._driver.call(lambda: callback(self))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._driver.run(self._leaving(self._lost_flag, error))
