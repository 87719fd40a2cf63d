"""The commands of a scenario, a line each; what comes of them is said on the lines below.

group n1 n2 n3 [append=BYTES] [chunk=BYTES] [heartbeat=0.25]: bootstrapped, not started; the election timeout is 1 s
log n1 = terms 1 1 4: entries from index 2 on, before its start (index 1 is the bootstrap, of term 0)
hard n1 term=7 [vote=n2] | start [n1 ...] | state [n1 ...] | waiting [n1->n2]
advance 1.2s: time goes on, messages wait | run 1.2s: time goes on, messages take none of it
campaign n1: its election timer rings | elect n1: the same, and messages flow, until it has learnt the term and stood
deliver: what waits now | deliver until quiet: and all that follows
deliver|duplicate|drop [late] n1->n2 [KIND] [all]: the first one (of a kind), or all; the second copy of a duplicate
    comes late, and so does what was waiting on a connection when it broke
drop n1|all: what waits to and from it | hold|release n1->n2|n1 ...: `deliver` passes that by
apart n1 n2: the connection breaks and stays so | together n1 n2
crash n1 ... [power]: with its power a machine loses the state | start n1
pause n1 2.5s [reading]: reading by the lease is then the first thing it does when it wakes
clock n1 rate 0.99: from now on, in this life | clock n1 wall 3600s: the wall clock jumps
wipe n1 [joins]: an empty folder, bootstrapped or about to join | join n4: a new replica
disk|chores n1 hold|go: writes of the log, work on snapshots | sync n1: what is being written, and nothing after it
propose n1 x ... [within 1s] | forward n2 x ... [within 1s] | read n1 lease|quorum | ask n2
acquire n1 x lock=L owner=A ttl=1s [wait=1s] | renew n1 x lock=L owner=A [ttl=1s] | unlock n1 x lock=L owner=A: write x,
    with the token of that owner's hold
expire n1: it looks once for what is due, and proposes its end if it leads
transfer n1 [n2] | add n1 n4 [replaces=n3] | remove n1 n3 | snapshot n1 | compact n1 5: asked of n1
check ...: see `scenario_checks.py` | quietly COMMAND: without the messages
"""

from collections.abc import Iterator, Sequence

from jepsen_like.simulator.scenario_acts import ACTS
from jepsen_like.simulator.scenario_checks import check
from jepsen_like.simulator.stage import Stage
from raftmem.raft.interfaces import Timing


class ScriptError(ValueError):
    """A line of a script that says nothing, or nothing that can be done."""


class Director:
    """Performs the blocks of one script on one stage."""

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def perform(self, lines: Sequence[str], *, line: int) -> list[str]:
        """Perform the commands of one block; the lines that they said. Raises: Violation, ScriptError."""
        for offset, command in _joined(lines):
            try:
                self._perform(command.split())
            except (KeyError, ValueError, IndexError) as error:
                raise ScriptError(f"line {line + offset}: {command}: {error!r}") from error
        return self.said() or ["ok"]

    def said(self) -> list[str]:
        """And forget it."""
        if self._stage is None:
            return []
        lines, self._stage.lines = self._stage.lines, []
        return lines

    def _perform(self, words: list[str]) -> None:
        verb, rest = words[0], [word for word in words[1:] if "=" not in word or word == "="]
        options = dict(word.split("=", 1) for word in words[1:] if "=" in word and word != "=")
        if verb == "group":
            timing = Timing(1.0, float(options.get("heartbeat", "0.25")), 0.01)
            append, chunk = int(options.get("append", str(1 << 20))), int(options.get("chunk", str(1 << 20)))
            self._stage = Stage(rest, timing=timing, append_bytes=append, chunk_bytes=chunk)
        elif self._stage is None:
            raise ScriptError("a script begins with `group`")
        elif verb == "quietly":
            before = len(self._stage.lines)
            self._perform(words[1:])
            self._stage.lines[before:] = [said for said in self._stage.lines[before:] if "->" not in said]
        elif verb == "check":
            self._stage.settle()
            self._stage.say(check(self._stage, rest))
        else:
            ACTS[verb](self._stage, rest, options)
            self._stage.settle()


def _joined(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Each command with the indented lines below it, and where it begins."""
    begin, command = 0, ""
    for offset, text in enumerate(lines):
        if text.startswith("#"):
            continue
        if command and not text.startswith(" "):
            yield begin, command
            command = ""
        if not command:
            begin = offset
        command = f"{command} {text.strip()}".strip()
    yield begin, command
