"""`python -m jepsen_like.simulator --seeds 0-199 [--replicas 5] [--seconds 30]`: hostile schedules, one a seed.

Exit codes: 0 everything held, 1 something did not (the command that repeats each failing seed is printed), 2 usage.
"""

import argparse
import logging
import sys
import time
from collections import Counter

from jepsen_like.simulator.hostile import run
from jepsen_like.simulator.oracles import Violation

PROGRESS_SEEDS = 20


def _seeds(text: str) -> range:
    """`7` or `0-199`, inclusive."""
    first, _, last = text.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if not seeds:
        raise ValueError(f"{text} names no seed")
    return seeds


def repeats(seed: int, replicas: int, seconds: float) -> str:
    """The command that repeats one seed."""
    return f"python -m jepsen_like.simulator --seeds {seed} --replicas {replicas} --seconds {seconds:g}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m jepsen_like.simulator", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(200), help="one seed, or first-last inclusive")
    parser.add_argument("--replicas", type=int, choices=range(1, 10), default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="virtual time of one schedule")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # a schedule is all warnings; the seed repeats them
    names = tuple(f"n{number}" for number in range(1, options.replicas + 1))
    totals: Counter[str] = Counter()
    failed: list[int] = []
    began = time.monotonic()
    for done, seed in enumerate(options.seeds, start=1):
        try:
            totals.update(run(seed, seconds=options.seconds, names=names))
        except Violation as violation:
            failed.append(seed)
            print(f"VIOLATION {violation}\n  repeat: {repeats(seed, options.replicas, options.seconds)}", flush=True)
        if done % PROGRESS_SEEDS == 0:
            spent = time.monotonic() - began
            print(f"{done}/{len(options.seeds)} seeds, {len(failed)} violations, {spent:.0f} s", flush=True)
    print(f"{len(options.seeds)} seeds, {len(failed)} violations; " + ", ".join(f"{k} {v}" for k, v in totals.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
