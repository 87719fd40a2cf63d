"""`python -m benchmarks`: measures raftmem beside etcd and Redis, prints the goals and the table, ends what it started.

    python -m benchmarks                        the short form, about five minutes (make bench)
    python -m benchmarks --full                 everything (make bench-full)
    python -m benchmarks --only adds,gets       some of the work; --list says what there is
    python -m benchmarks --only adds --clients 64 --rounds 5 --peers etcd
    python -m benchmarks --only adds --peers none --beside before.json      a change, before and after
    python -m benchmarks --from run.json more.json --markdown docs/performance.md    from figures of before

Ends with 1 if something failed, or if a goal that was measured is missed and --judge was given; with 130 after Ctrl-C.
"""

import argparse
import shlex
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import pictures, report, wrk
from benchmarks.bench import FAILURES, Bench, Options, file_system
from benchmarks.goals import judge_all
from benchmarks.machine import this_machine
from benchmarks.measures import Results
from benchmarks.plan import PARTS, chosen
from benchmarks.systems import PEERS, how_to_install


def main() -> int:
    arguments = _arguments()
    if arguments.list:
        for part in PARTS:
            print(f"{part.name:12} {'' if part.in_short else '(full) '}{part.says}")
        return 0
    if arguments.sources:
        run, status = report.merged([report.from_json(path.read_bytes()) for path in arguments.sources]), 0
    else:
        run, status = _measure(arguments)
    _write(arguments, run)
    print(report.markdown(run))
    if arguments.beside is not None:
        print(report.beside(run, report.from_json(arguments.beside.read_bytes())))
    missed = [one for one in judge_all(Results(run.points)) if one.missed_by]
    return status or int(bool(arguments.judge and missed))


def _measure(arguments: argparse.Namespace) -> tuple[report.Run, int]:
    if not wrk.is_installed():
        raise SystemExit(f"the load generator {how_to_install('wrk')}")
    began = time.monotonic()
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background would have us ignore it
    bench = Bench(
        Options(
            is_full=arguments.full,
            seconds=arguments.seconds or (4 if arguments.full else 2),
            rounds=arguments.rounds or (5 if arguments.full else 3),
            peers=tuple(arguments.peers),
            clients=tuple(arguments.clients),
        )
    )
    status = 0
    try:
        for part in chosen(arguments.only, is_full=arguments.full):
            bench.say(f"{part.name}: {part.says}")
            try:
                part.run(bench)
            except FAILURES as error:  # what was measured before is not lost by it
                bench.fail(part.name, error)
    except KeyboardInterrupt:
        bench.note("ended by Ctrl-C: what follows is what was measured until then")
        status = 130
    finally:
        disk = file_system(bench.folder)
        bench.close()
    bench.notes += [f"failed: {failure}" for failure in bench.failures]
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    points = [point for point in bench.results.points if point.samples]
    run = report.Run(this_machine(disk), command, date, time.monotonic() - began, bench.notes, points)
    return run, status or int(bool(bench.failures))


def _write(arguments: argparse.Namespace, run: report.Run) -> None:
    if arguments.json is not None:
        arguments.json.write_bytes(report.to_json(run))
    drawn = pictures.of(run.points) if arguments.pictures is not None or arguments.markdown is not None else {}
    folder: Path | None = arguments.pictures
    if arguments.markdown is not None and folder is None:
        folder = arguments.markdown.parent / "pictures"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, svg in drawn.items():
            (folder / f"{name}.svg").write_text(svg)
    if arguments.markdown is not None and folder is not None:
        _write_markdown(arguments.markdown, run, pictures.shown(drawn, folder, beside=arguments.markdown))


def _write_markdown(path: Path, run: report.Run, shown: str) -> None:
    """Into the markers of a document that has them; else a document of its own."""
    found = {**report.sections(run), "pictures": shown}
    text = path.read_text() if path.exists() else ""
    if report.BEGIN.format("table") in text:
        for name, section in found.items():
            text = report.put_between(text, name, section)
    else:
        text = "\n".join(found.values())
    path.write_text(text)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of at least 1")
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="everything, in about an hour")
    parser.add_argument("--only", type=_names, default=[], metavar="PART,…", help="some of the work (--list)")
    parser.add_argument("--list", action="store_true", help="what work there is")
    parser.add_argument("--peers", type=_peers, default=list(PEERS), metavar="PEER,…", help="etcd,redis; none: alone")
    parser.add_argument("--clients", type=_numbers, default=[1, 16, 64, 256], metavar="N,…", help="levels of ADDs")
    parser.add_argument("--seconds", type=_at_least_one, help="of each run (2; full: 4)")
    parser.add_argument("--rounds", type=_at_least_one, help="of each race (3; full: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every round")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables, between the markers of a document")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="SVGs (default: pictures/ beside the document)")
    parser.add_argument(
        "--from",
        dest="sources",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing: JSON of runs put together",
    )
    parser.add_argument("--beside", type=Path, metavar="FILE", help="JSON of an earlier run to compare with")
    parser.add_argument("--judge", action="store_true", help="end with 1 if a goal that was measured is missed")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in {part.name for part in PARTS}]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)} (--list)")
    return names


def _peers(text: str) -> list[str]:
    names = [name for name in text.split(",") if name and name != "none"]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(unknown)} (there are {', '.join(PEERS)})")
    return names


def _numbers(text: str) -> list[int]:
    numbers = [int(word) for word in text.split(",")]
    if any(number < 1 for number in numbers):
        raise argparse.ArgumentTypeError("a number of clients is at least 1")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
