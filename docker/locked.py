"""Prints the part of requirements.lock that some packages need, versions and hashes as they stand there.

    python docker/locked.py --project          what the project needs to run, by pyproject.toml
    python docker/locked.py setuptools wheel   these and what they need

The lock says after each package on whose account it is there (`# via`). Rule: it prints too much rather than too
little; what is missing all the same, `pip --require-hashes` refuses.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def blocks(lock: str) -> dict[str, str]:
    """By package, its lines."""
    parts = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return {part.partition("==")[0]: part for part in parts if "==" in part}


def parents(block: str) -> set[str]:
    """The packages on whose account it is there."""
    return set(re.findall(r"^    #(?: via)? +([A-Za-z0-9._-]+)$", block, flags=re.MULTILINE))


def needed(found: dict[str, str], wanted: set[str]) -> list[str]:
    """`wanted` and all below, in the order of the lock. Raises: ValueError if one is not locked."""
    missing = wanted - found.keys()
    if missing:
        raise ValueError(f"requirements.lock does not hold {', '.join(sorted(missing))}: run `make lock`")
    size = 0
    while len(wanted) > size:
        size = len(wanted)
        wanted = wanted | {name for name, block in found.items() if parents(block) & wanted}
    return [name for name in found if name in wanted]


def project() -> set[str]:
    """Names as the lock spells them."""
    listed: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = (re.match(r"[A-Za-z0-9._-]+", entry) for entry in listed)
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name is not None}


def main(words: list[str]) -> int:
    if not words:
        print(__doc__, file=sys.stderr)
        return 2
    found = blocks((ROOT / "requirements.lock").read_text("utf-8"))
    try:
        names = needed(found, project() if words == ["--project"] else set(words))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print("".join(found[name] for name in names), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
