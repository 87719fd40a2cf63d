"""A client that holds many locks, all renewed by one heartbeat, until it is told a word.

Arguments: URLS PREFIX COUNT TTL. Says `held` for each lock and then `holding`; `lost` for each that it loses; after
the word, `kept` for each that it can rely on still, and `done` when all are given back.
"""

import sys
from contextlib import ExitStack

from client_process import say, words

from raftmem.client import Hold, LeaseLost, RaftmemClient


def lost(hold: Hold) -> None:
    say("lost", token=hold.token, text=hold.name)


def main(urls: str, prefix: str, count: str, ttl: str) -> None:
    heard = words()
    with RaftmemClient(urls, actor="agent/holder") as client, ExitStack() as stack:
        holds = []
        for number in range(int(count)):
            hold = client.locks.hold(f"{prefix}-{number}", ttl=float(ttl), wait=0, on_lost=lost)
            holds.append(stack.enter_context(hold))
            say("held", token=hold.token, text=hold.name)
        say("holding")
        heard.get()
        for hold in holds:
            try:
                hold.check()
            except LeaseLost:
                continue  # on_lost has said so
            say("kept", token=hold.token, text=hold.name)
    say("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
