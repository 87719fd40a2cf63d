"""A worker. A task's payload says what becomes of it: `plain` ones are done, `flaky` ones fail at their first attempt,
`deadly` ones kill the process that tries them, every time.

Arguments: URLS QUEUE CONCURRENCY TTL. Ends on SIGTERM.
"""

import os
import signal
import sys
import time

from client_process import words

from raftmem.client import BlockingFlag, Job, RaftmemClient, Retry

WORK_S = 0.005


def handle(job: Job[BlockingFlag]) -> object:
    assert isinstance(job.payload, dict)
    time.sleep(WORK_S)
    match job.payload["kind"]:
        case "flaky" if job.attempt == 1:
            raise Retry(reason="the first attempt fails")
        case "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
    return {"n": job.payload["n"], "doubled": 2 * job.payload["n"]}


def main(urls: str, queue: str, concurrency: str, ttl: str) -> None:
    words()
    with RaftmemClient(urls, actor="agent/worker") as client:
        client.tasks.worker([queue], handle, int(concurrency), float(ttl), poll=1.0, install_signals=True).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
