"""Scenarios: a script and its whole expected trace in one text file (the manner of etcd-io/raft's `testdata`).

`python -m jepsen_like.simulator.scenario FILE... [--rewrite]`: runs each file and compares; exit 0 when all are as
written, 1 with a diff or a violation, 2 when a file cannot be read as a script.

A file is blocks, apart by blank lines: commands (`scenario_commands.py`), an indented line going on with the one above
it; a line `----`; what they are to say. Comments begin with `#` and stay. Rule: checks hold whatever the text expects,
so that a rewrite cannot hide a defect.
"""

import argparse
import difflib
import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

from msgspec import Struct

from jepsen_like.simulator.oracles import Violation
from jepsen_like.simulator.scenario_commands import Director, ScriptError

DIVIDER: Final = "----"
Patch = Callable[[], AbstractContextManager[object]]


class Block(Struct):
    """`line`: where it begins in the file. `above`: comments and blank lines before it."""

    line: int
    above: list[str]
    commands: list[str]
    expected: list[str]


class Outcome(Struct, frozen=True):
    """`text`: the script with what it really said. `violation`: what broke; the text ends there."""

    text: str
    violation: Violation | None = None


def parse(text: str) -> tuple[list[Block], list[str]]:
    """The blocks, and what stands after the last one. Raises: ScriptError."""
    blocks: list[Block] = []
    above: list[str] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if not lines[at] or lines[at].startswith("#"):
            above.append(lines[at])
            at += 1
            continue
        begin = at
        while at < len(lines) and lines[at] != DIVIDER:
            if not lines[at]:
                raise ScriptError(f"line {at + 1}: a blank line inside the commands of a block")
            at += 1
        if at == len(lines):
            raise ScriptError(f"line {begin + 1}: the block has no {DIVIDER}")
        commands, at = lines[begin:at], at + 1
        output = at
        while at < len(lines) and lines[at]:
            at += 1
        blocks.append(Block(begin + 1, above, commands, lines[output:at]))
        above = []
    return blocks, above


def run_script(text: str) -> Outcome:
    """Run it all. Raises: Violation with the text so far in a note; ScriptError."""
    outcome = _run(text)
    if outcome.violation is not None:
        outcome.violation.add_note(outcome.text)
        raise outcome.violation
    return outcome


def run(path: Path, *, patches: Iterable[Patch] = ()) -> Outcome:
    """Run a file with patches in force, which switch rules off; a violation is told, not raised."""
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch())
        return _run(path.read_text())


def _run(text: str) -> Outcome:
    blocks, below = parse(text)
    director = Director()
    written: list[str] = []
    for block in blocks:
        written += [*block.above, *block.commands, DIVIDER]
        try:
            written += director.perform(block.commands, line=block.line)
        except Violation as violation:
            return Outcome("\n".join([*written, *director.said(), f"VIOLATION: {violation}", ""]), violation)
    return Outcome("\n".join([*written, *below, ""]))


def differences(text: str, outcome: Outcome, name: str) -> str:
    """A unified diff from what the file says to what happened; empty when they are equal."""
    before, after = text.splitlines(keepends=True), outcome.text.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"{name} (as written)", f"{name} (as run)"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m jepsen_like.simulator.scenario")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--rewrite", action="store_true", help="write down what was said instead of comparing")
    options = parser.parse_args(arguments)
    logged = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return max(_compare(path, rewrite=options.rewrite) for path in options.files)
    finally:
        logging.disable(logged)


def _compare(path: Path, *, rewrite: bool) -> int:
    try:
        text = path.read_text()
        outcome = run(path)
    except (OSError, ScriptError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    difference = differences(text, outcome, str(path))
    if outcome.violation is None and rewrite and difference:
        path.write_text(outcome.text)
        print(f"{path}: rewritten")
        return 0
    if difference:
        print(difference, end="")
    return 1 if difference or outcome.violation is not None else 0


if __name__ == "__main__":
    sys.exit(main())
