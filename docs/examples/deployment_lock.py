"""Two agents, one deployment lock, and a write that only its holder can make.

    python deployment_lock.py http://127.0.0.1:8101,http://127.0.0.1:8102,http://127.0.0.1:8103

A lock alone cannot stop a process that was asleep while its lease ran out: it wakes up and believes that it still holds
it. Its token can: every grant has a higher one, and a write that carries an old one is refused in the log itself.
"""

import sys

from raftmem.client import PreconditionFailed, RaftmemClient

LOCK = "deploy/prod"
RELEASE = "prod-release"  # the memory that says what runs in production


def main(endpoints: str) -> None:
    planner = RaftmemClient(endpoints, actor="agent/planner-7")
    coder = RaftmemClient(endpoints, actor="agent/coder-2")
    with planner, coder:
        # The planner takes the lock for a second, and then hangs: a long call of its model, a suspended laptop.
        # (It takes it by hand. `hold`, below, would renew it, and would tell the planner that it lost it.)
        stale = planner.locks.acquire(LOCK, owner=planner.owner, ttl=1.0, wait=60)
        print(f"planner-7 has {LOCK} with token {stale.token}, and falls asleep")

        # The coder queues. It is served when the lease of the planner has run out in the log.
        with coder.locks.hold(LOCK, ttl=10, wait=60) as lock:
            print(f"coder-2 has {LOCK} with token {lock.token}")
            coder.memories.put(RELEASE, value={"version": "1.4", "by": "coder-2"}, guards=[lock.guard])

            # The planner wakes up. It knows nothing of all this, and deploys.
            try:
                planner.memories.put(
                    RELEASE,
                    value={"version": "1.3", "by": "planner-7"},
                    guards=[{"lock": LOCK, "token": stale.token}],
                )
            except PreconditionFailed as refused:
                print(f"planner-7 is refused: {refused}")
            lock.check()  # would raise LeaseLost if the coder could not rely on its lock any more

        print(f"in production: {planner.memories.get(RELEASE).value}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8101")
