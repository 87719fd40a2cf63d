"""`python -m jepsen_like.simulator --seeds 0-1999`: hostile schedules, one a seed, on the production code.

Exit codes: 0 everything held, 1 something did not (with the command that repeats each failing seed), 2 usage, 3 a
campaign of many seeds never met something that it must (`sometimes.py`). With --without or --mended, 1 is wanted.
"""

import argparse
import gc
import logging
import secrets
import sys
from collections.abc import Sequence

import msgspec

from jepsen_like.simulator import campaign, hostile, recorded, schedule, shrink
from jepsen_like.simulator.options import Options, draw, overridden, spelled_out
from jepsen_like.simulator.oracles import Stuck, Violation
from jepsen_like.simulator.sometimes import CAMPAIGN_SEEDS, missed, table

NOT_FLAGS = ("seed", "level")
KNOB = "knob "
FRESH_BELOW = 10**9


def _seeds(text: str) -> range:
    """`7` or `0-199`, inclusive."""
    first, _, last = text.partition("-")
    if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a seed (7) nor first-last (0-199)")
    return range(int(first), int(last or first) + 1)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _numbers(text: str) -> frozenset[int]:
    """`3,7,9`, or nothing."""
    numbers = [number for number in text.split(",") if number]
    if not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of fault numbers (3,7,9)")
    return frozenset(map(int, numbers))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jepsen_like.simulator", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=_seeds, help="one seed, or first-last inclusive (default 0-199)")
    parser.add_argument(
        "--fresh", type=_count, metavar="COUNT", help="so many seeds that nobody chose; the first is printed"
    )
    parser.add_argument("--level", choices=("tcp", "async"), default="tcp", help="what the network may do")
    parser.add_argument("--workers", type=_count, default=1, help="processes")
    parser.add_argument("--faults", type=_numbers, help="of one seed: only the faults with these numbers, as 3,7,9")
    parser.add_argument("--shrink", action="store_true", help="of one seed that fails: the fewest faults that still do")
    parser.add_argument("--trace", action="store_true", help="of one seed: what happened, in Raft's words")
    parser.add_argument("--record", metavar="WHY", help="of one seed: keep its schedule with what it showed")
    parser.add_argument("--recorded", action="store_true", help="the schedules that are kept, instead of seeds")
    parser.add_argument("--without", metavar="NAME", help="with that obligation switched off")
    parser.add_argument("--mended", metavar="NAME", help="with a mended defect put back, on its schedule")
    parser.add_argument("--list-obligations", action="store_true", help="those that can be, and what each is")
    knobs = parser.add_argument_group("drawn from the seed unless given")
    for field in msgspec.structs.fields(Options):
        if field.name not in NOT_FLAGS:
            knobs.add_argument(
                f"--{field.name.replace('_', '-')}", metavar=str(field.default), dest=f"knob {field.name}"
            )
    return parser


def _schedules(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[Options]:
    given = {
        name[5:]: value for name, value in vars(arguments).items() if name.startswith("knob ") and value is not None
    }
    try:
        return [overridden(draw(seed, level=arguments.level), given) for seed in _chosen_seeds(arguments)]
    except ValueError as error:
        parser.error(str(error))


def _chosen_seeds(arguments: argparse.Namespace) -> range:
    if arguments.fresh is not None:
        base = secrets.randbelow(FRESH_BELOW)
        return range(base, base + arguments.fresh)
    return range(CAMPAIGN_SEEDS) if arguments.seeds is None else arguments.seeds


def main(words: Sequence[str] | None = None) -> int:
    parser = _parser()
    arguments = parser.parse_args(words)
    logged, thresholds = logging.root.manager.disable, gc.get_threshold()
    logging.disable(logging.CRITICAL)  # a schedule is all warnings; the seed repeats them
    gc.set_threshold(100_000, 20, 20)  # schedules make garbage by the million, few cycles
    try:
        if arguments.list_obligations or arguments.without is not None:
            return _without(parser, arguments)
        if arguments.mended is not None:
            return _mended(parser, arguments.mended)
        return _recorded() if arguments.recorded else _run(parser, arguments)
    finally:
        logging.disable(logged)
        gc.set_threshold(*thresholds)


def _recorded() -> int:
    failed = 0
    for number, kept in enumerate(recorded.load(), start=1):
        result = campaign.one(kept.options, kept.faults)
        if isinstance(result, campaign.Failed):
            failed += 1
            print(f"{result.kind} {result.what}\n  {kept.why} (line {number} of {recorded.FILE.name})", flush=True)
    print(f"{len(recorded.load())} recorded schedules, {failed} failed")
    return 1 if failed else 0


def _without(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """With an obligation switched off: as its row of the table shows it, or on the seeds that were given."""
    from jepsen_like.simulator import without  # for this only

    if arguments.list_obligations:
        print(without.listed())
        return 0
    try:
        if arguments.seeds is None and arguments.fresh is None:
            return without.show(arguments.without)
        with without.switched_off(arguments.without):
            ended = _run(parser, arguments)
        if ended == 1:
            return ended
        print("these seeds do not show it; what does:")
        return without.show(arguments.without)
    except ValueError as error:
        parser.error(str(error))


def _mended(parser: argparse.ArgumentParser, name: str) -> int:
    from jepsen_like.simulator import mended  # for this only

    try:
        return mended.show(name)
    except ValueError as error:
        parser.error(str(error))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    schedules = _schedules(parser, arguments)
    if arguments.faults is not None or arguments.shrink or arguments.trace or arguments.record is not None:
        if len(schedules) != 1:
            parser.error("--faults, --shrink, --trace and --record are of one seed")
        return _single(schedules[0], arguments)
    return _campaign(schedules, arguments)


def _single(options: Options, arguments: argparse.Namespace) -> int:
    """One schedule, looked at closely."""
    faults = schedule.draw(options)
    if arguments.faults is not None:
        if not arguments.faults <= {fault.number for fault in faults}:
            print(f"this schedule has the faults 0 to {len(faults) - 1}", file=sys.stderr)
            return 2
        faults = shrink.chosen(options, arguments.faults)
    if arguments.record is not None:
        recorded.record(arguments.record, options, faults)
    if not arguments.trace:
        print(spelled_out(options))
    try:
        seen = hostile.run(options, faults, print if arguments.trace else None)
    except (Violation, Stuck) as error:
        print(f"{type(error).__name__.upper()} {error}")
    else:
        print(f"everything held; met: {', '.join(sorted(seen))}")
        return 0
    if arguments.shrink:
        faults = shrink.shrink(options, faults, print)
        print("\n".join(map(str, faults)))
    numbers = ",".join(str(fault.number) for fault in faults)
    print(f"  repeat: {campaign.repeats(options)} --faults {numbers}{_switched_off(arguments)}")
    return 1


def _switched_off(arguments: argparse.Namespace) -> str:
    return "" if arguments.without is None else f" --without {arguments.without}"


def _campaign(schedules: Sequence[Options], arguments: argparse.Namespace) -> int:
    first, last = schedules[0].seed, schedules[-1].seed
    print(f"seeds {first}-{last}, level {arguments.level}{_switched_off(arguments)}", flush=True)
    result = campaign.run(schedules, workers=arguments.workers, tell=lambda line: print(line, flush=True))
    if result.failed:
        worst = result.failed[0]
        print(f"first failure: {worst.what}\n  options: {spelled_out(worst.options)}")
        print(f"  repeat: {campaign.repeats(worst.options)}{_switched_off(arguments)}")
    print(table(result.seen))
    print(result.summary())
    if result.failed:
        return 1
    never = missed(result.seen, level=arguments.level) if len(schedules) >= CAMPAIGN_SEEDS else []
    for what in never:
        print(f"never seen: {what}")
    return 3 if never else 0


if __name__ == "__main__":
    sys.exit(main())
