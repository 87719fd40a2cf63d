"""A run that never was: its folder as a run leaves it, with faults, outages and findings of every verdict."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from jepsen_like.checkers.evidence import Finding, Picture
from jepsen_like.history.record import Fault, Line, Operation, Start
from jepsen_like.runs.folder import Result, RunFolder

S: Final = 1_000_000_000
MS: Final = 1_000_000
HOSTILE: Final = "</script><script>alert('x')</script>&\"<img src=http://evil.example/x onerror=alert(1)>"
COMMAND: Final = (
    "python -m jepsen_like run --workload register --nemesis kill,pause,partition,slow-disk --time 30 --seed 7"
)
FAULTS: Final = (
    ("kill", 3.0, 5.5, ("n1",), "the leader, by SIGKILL"),
    ("pause", 8.0, 11.2, ("n3",), "SIGSTOP"),
    ("partition-one-way", 13.0, 16.0, ("n1", "n2"), "n1 does not hear n2"),
    ("kill", 18.0, 20.0, ("n2", "n3"), "a majority"),
    ("slow-disk", 22.5, 26.0, ("n1",), "each fsync takes 200 ms"),
)
SLOWER: Final = {"kill": 6.0, "pause": 3.0, "partition-one-way": 9.0, "slow-disk": 60.0}


def timeline() -> str:
    """As a checker draws one: five processes, one operation that has no place."""
    rows = []
    for process in range(5):
        y = 30 + process * 34
        rows.append(f'<text x="10" y="{y + 15}" font-size="13">process {process}</text>')
        for k in range(4):
            x, stuck = 110 + k * 190 + process * 17, process == 3 and k == 2
            fill, stroke = ("#fbd3d3", "#c0272d") if stuck else ("#dbe8fb", "#4a7fd4")
            rows.append(f'<rect x="{x}" y="{y}" width="150" height="22" rx="3" fill="{fill}" stroke="{stroke}"/>')
            rows.append(
                f'<text x="{x + 8}" y="{y + 15}" font-size="12">{"read → 7 !" if stuck else f"write {k}"}</text>'
            )
    body = "".join(rows)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 210" width="960" height="210"'
        f' font-family="system-ui">{body}</svg>'
    )


def findings() -> tuple[Finding, ...]:
    return (
        Finding(
            name="durability",
            verdict="good",
            summary="9,214 acknowledged events, each once in the log",
            counts={"acknowledged": 9214, "unknown_found": 11},
        ),
        Finding(
            name="linearizability (register)",
            verdict="bad",
            summary="key r2 has no order that explains what was read",
            details=("process 3 read 7 at 14.21 s, which process 0 had overwritten by 13.90 s", f"hostile: {HOSTILE}"),
            pictures=(Picture("the smallest part that is impossible, 20 operations of key r2", timeline()),),
            counts={"keys": 4, "operations": 9231},
        ),
        Finding(name="sessions", verdict="unknown", summary="only 3 session reads: nothing was tested"),
        Finding(name="agreement", verdict="good", summary="three replicas and a replay say 5f0c…91 at 9,240"),
    )


def operations(seed: int = 7) -> list[Operation]:
    """Eight clients for thirty seconds; during a fault slower, and at its begin nobody is served for a moment."""
    chance, found, processes = random.Random(seed), [], iter(range(8, 10_000))
    for client in range(8):
        now, process = client * 3 * MS, client
        while now < 30 * S:
            call, at = now, now / S
            fault = next((one for one in FAULTS if one[1] <= at < one[2]), None)
            took = int(chance.lognormvariate(1.2, 0.5) * MS * (SLOWER[fault[0]] if fault else 1))
            out = fault is not None and fault[0] != "slow-disk" and at - fault[1] < 1.4
            f = chance.choice(("read", "read", "write", "cas"))
            node, type_, error = f"n{chance.randrange(3) + 1}", "ok", None
            if out and fault is not None:
                took = int((fault[1] + 1.4 - at) * S) + chance.randrange(400 * MS)
                type_, error = ("fail", "no-leader") if f == "read" else ("unknown", "lost")
            elif f == "cas" and chance.random() < 0.5:
                type_, error = "fail", "precondition-failed"
            level = chance.choice(("lease", "linearizable")) if f == "read" and type_ == "ok" else None
            fields = {"process": process, "f": f, "key": f"r{chance.randrange(4)}", "call": call, "node": node}
            end = None if type_ == "unknown" else call + took
            found.append(
                msgspec.convert({**fields, "type": type_, "return": end, "level": level, "error": error}, Bare)
            )
            if type_ == "unknown":
                process = next(processes)
            now = call + took + chance.randrange(20 * MS)
    return [msgspec.convert(msgspec.to_builtins(one), Operation) for one in found]


class Bare(msgspec.Struct, kw_only=True, omit_defaults=True, rename={"return_": "return"}):
    """The fields of an operation that this run fills."""

    kind: str = "op"
    process: int
    f: str
    key: str
    type: str
    call: int
    node: str
    return_: int | None = None
    level: str | None = None
    error: str | None = None


def faults() -> list[Fault]:
    found = [Fault(name="clock-jump", event="unavailable", at=0, detail="libfaketime is not installed")]
    for name, begin, end, targets, detail in FAULTS:
        found.append(Fault(name=name, event="begin", at=int(begin * S), targets=targets, detail=detail))
        found.append(Fault(name=name, event="end", at=int(end * S), targets=targets))
    return found


def write_lines(path: Path, lines: Sequence[Line]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def made_up(path: Path, *, found: tuple[Finding, ...] | None = None, hostile: str = HOSTILE) -> RunFolder:
    """The folder of the run. `found`: what the checkers said, if not the usual."""
    folder = RunFolder(path)
    folder.nodes.mkdir(parents=True)
    start = Start(
        workload="register",
        model="register",
        nemeses=("kill", "pause", "partition-one-way", "slow-disk", "clock-jump"),
        seed=7,
        seconds=30,
        clients=8,
        options={"keys": 4, "levels": ["lease", "linearizable"], "note": hostile},
        command=COMMAND,
    )
    write_lines(folder.history, [start, *operations(), *faults()])
    found = findings() if found is None else found
    verdict = "bad" if any(one.verdict == "bad" for one in found) else "good"
    result = Result(
        verdict=verdict,
        findings=found,
        sometimes={
            "elections": 5,
            "unknown writes that were applied": 11,
            "snapshots installed": 0,
            "replicas killed": 3,
        },
        unavailable={"clock-jump": "libfaketime is not installed"},
        began="2026-11-21T09:12:44Z",
        seconds=41.8,
        command=COMMAND,
    )
    folder.result.write_bytes(msgspec.json.encode(result))
    for name in ("n1", "n2", "n3"):
        lines = [f"2026-11-21T09:12:{k:02d}Z info {name} term 3 commit {k * 211}" for k in range(44, 60)]
        (folder.nodes / f"{name}.output").write_text("\n".join([*lines, hostile]) + "\n")
    return folder
