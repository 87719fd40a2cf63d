"""A client that counts in a plain file, one higher in each critical section. Nothing but the lock guards the file.

Arguments: URLS LOCK FILE SECTIONS TTL. Says `ready`, waits for a word, says `done` with the longest wait for the lock.
"""

import sys
import time
from pathlib import Path

from client_process import say, words

from raftmem.client import RaftmemClient


def main(urls: str, lock: str, file: str, sections: str, ttl: str) -> None:
    heard, counter, longest = words(), Path(file), 0.0
    with RaftmemClient(urls, actor="agent/counter") as client:
        client.cluster()  # the connection is there
        say("ready")
        heard.get()
        for _ in range(int(sections)):
            asked = time.monotonic()
            with client.locks.hold(lock, ttl=float(ttl)):
                longest = max(longest, time.monotonic() - asked)
                seen = int(counter.read_text())  # empty while another writes
                counter.write_text(str(seen + 1))
    say("done", seconds=longest)


if __name__ == "__main__":
    main(*sys.argv[1:])
