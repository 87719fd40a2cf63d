"""Ends with 0 if the replica of this container serves (`/readyz`, a real read), with 1 and a line if not."""

import os
import sys
import urllib.request

WAIT_S = 4.0


def main() -> int:
    port = os.environ["RAFTMEM_REST"].rpartition(":")[2]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=WAIT_S) as reply:
            reply.read()
    except OSError as error:
        print(f"not ready: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
