"""A client that holds a lock, waits for a word, and then writes under its guard without a look at its lease.

Arguments: URLS LOCK TTL. Says `holding`; after the word what came of the write (`written`, `refused`), of a look at
the lease (`valid`, `lost`) and of the end of the hold (`released`, `lost`).
"""

import sys

from client_process import say, words

from raftmem.client import LeaseLost, PreconditionFailed, RaftmemClient


def main(urls: str, lock: str, ttl: str) -> None:
    heard = words()
    with RaftmemClient(urls, actor="agent/late") as client:
        try:
            with client.locks.hold(lock, ttl=float(ttl)) as held:
                say("holding", token=held.token)
                heard.get()
                try:
                    client.memories.add(text="written late", guards=[held.guard])
                except PreconditionFailed as refused:
                    say("refused", token=held.token, text=refused.detail)
                else:
                    say("written", token=held.token)
                try:
                    held.check()
                except LeaseLost as lost:
                    say("lost", token=lost.token, text="check")
                else:
                    say("valid", token=held.token)
        except LeaseLost as lost:
            say("lost", token=lost.token, text="end")
        else:
            say("released", token=held.token)


if __name__ == "__main__":
    main(*sys.argv[1:])
