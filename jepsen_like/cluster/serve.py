"""`python -m jepsen_like.cluster.serve --without=NAME… serve …`: a replica that does not keep some of its promises.

It shows that the harness notices. It says so in its output, in capitals, before anything else.
"""

import sys
from collections.abc import Sequence

from jepsen_like.cluster.off import SWITCHES
from jepsen_like.simulator.off import swapped
from raftmem.cli import main

_FLAG = "--without="


def weakened(argv: Sequence[str]) -> None:
    """Raises: SystemExit, as the command line does."""
    names = [word.removeprefix(_FLAG) for word in argv if word.startswith(_FLAG)]
    unknown = [name for name in names if name not in SWITCHES]
    if unknown:
        sys.exit(f"no such promise: {', '.join(unknown)}; there are {', '.join(sorted(SWITCHES))}")
    swaps = tuple(swap for name in names for swap in SWITCHES[name])
    print(f"WITHOUT {', '.join(names)}: THIS REPLICA IS BROKEN ON PURPOSE", file=sys.stderr, flush=True)
    with swapped(swaps):
        main([word for word in argv if not word.startswith(_FLAG)])


if __name__ == "__main__":
    weakened(sys.argv[1:])
