"""A queue of tasks, and a worker that dies in the middle of one: another does it, and what waits for all still comes.

    python task_queue.py http://127.0.0.1:8101,http://127.0.0.1:8102,http://127.0.0.1:8103

A claim is a lease: a worker that lives renews it, one that died does not, and its task is available again. What a
worker does may therefore be done twice, but is completed once: the result of a claim that was lost is refused.
"""

import multiprocessing
import os
import sys
import uuid

from raftmem.client import BlockingFlag, Job, RaftmemClient

FILES = ["api.py", "cli.py", "log.py"]


def careless(endpoints: str, queue: str) -> None:
    """A worker whose process ends in the middle of its first task, as by a kill -9."""

    def die(job: Job[BlockingFlag]) -> object:
        print(f"the careless worker begins {job.payload} and dies", flush=True)
        os._exit(1)

    with RaftmemClient(endpoints, actor="agent/careless") as client:
        client.tasks.worker([queue], die, ttl=1.0).run()


def review(job: Job[BlockingFlag]) -> object:
    """What a handler returns is the result; what it raises is the error of this attempt."""
    if job.payload == "summary":
        return "nothing to complain about"
    job.check()  # in a long handler, now and then: raises if somebody cancelled it, or the claim is lost
    return {"file": job.payload, "attempt": job.attempt}


def main(endpoints: str) -> None:
    queue = f"reviews/{uuid.uuid4()}"  # so that two runs of this example do not take each other's tasks
    with RaftmemClient(endpoints, actor="agent/producer") as client:
        reviews = [client.tasks.add(queue, file, unique_key=file).task for file in FILES]
        added = client.tasks.add(queue, "summary", depends_on=[task.id for task in reviews])
        print(f"the summary is {added.task.state}")

        dying = multiprocessing.get_context("spawn").Process(target=careless, args=(endpoints, queue))
        dying.start()
        dying.join()

        # A worker beside this thread. `run()` instead would work here, until SIGTERM with install_signals=True.
        with client.tasks.worker([queue], review, concurrency=2, ttl=5.0, poll=1.0):
            for entry in client.watch(added.event.index, queue=queue, op="TASK_COMPLETE"):
                if any(added.task.id in event.task_ids for event in entry.events):
                    break

        for task in (client.tasks.get(task.id) for task in reviews):
            print(f"{task.payload}: {task.state}, attempt {task.attempt}, {[error.code for error in task.errors]}")
        print(f"the summary: {client.tasks.get(added.task.id).result}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8101")
