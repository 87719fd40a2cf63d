"""A client that counts in a memory: reads, works a little, writes one higher under the guard of its lock. It never
checks its lease before the write: what it does late is for the service to refuse.

Arguments: URLS LOCK MEMORY TTL. Says `in`, and then what came of the write: `written`, `refused` or `unknown`; and
`lost` if the hold was. Goes on until it is told a word.
"""

import random
import sys
import time

from client_process import say, words

from raftmem.client import LeaseLost, PreconditionFailed, RaftmemClient, WriteOutcomeUnknown

WORK_S = (0.005, 0.05)


def main(urls: str, lock: str, memory: str, ttl: str) -> None:
    heard = words()
    with RaftmemClient(urls, actor="agent/counter") as client:
        while heard.empty():
            try:
                with client.locks.hold(lock, ttl=float(ttl)) as held:
                    say("in", token=held.token)
                    count(client, memory, held.token, held.guard)
            except LeaseLost as lost:
                say("lost", token=lost.token, text=lost.reason)
    say("done")


def count(client: RaftmemClient, memory: str, token: int, guard: dict[str, object]) -> None:
    value = client.memories.get(memory).value
    assert isinstance(value, dict)
    time.sleep(random.uniform(*WORK_S))
    try:
        client.memories.patch(memory, value={"n": value["n"] + 1, "token": token}, guards=[guard])
    except PreconditionFailed:
        say("refused", token=token)
    except WriteOutcomeUnknown as unknown:
        say("unknown", token=token, text=unknown.detail)
    else:
        say("written", token=token)


if __name__ == "__main__":
    main(*sys.argv[1:])
