"""`raftmem replay`: rebuild the state from the log alone, in a scratch folder, and compare the digests.

The replica's folder is only read. What the log says is the truth: a difference means that its state is not. Entries
that the log was compacted of are taken from the event table, which keeps their bytes.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from raftmem.cli.exits import CommandFailed
from raftmem.cli.folder import DataFolder, open_to_read
from raftmem.cli.options import DataOption, LiveOption
from raftmem.cli.output import JsonFlag, console, print_json
from raftmem.errors import BadRequest
from raftmem.replica import replay as machine
from raftmem.storage.state.store import LmdbStateStore


def replay(
    data: DataOption,
    until: Annotated[int | None, typer.Option("--until", min=1, help="Stop after this index.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare with the digests in the folder.")] = False,
    live: LiveOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Rebuild the state from the log alone and print its digest. Exit code 1 if --verify finds a difference.

    Without --until it goes up to what the folder has applied. The scratch state needs about as much room in
    TMPDIR as the folder's own.
    """
    with open_to_read(data, live=live) as folder, tempfile.TemporaryDirectory(prefix="raftmem-replay-") as scratch:
        last = _last(folder, until)
        store = LmdbStateStore(_made(Path(scratch) / "state"))
        try:
            verified = _run(folder, store, last, verify=verify)
        finally:
            store.close(clean=False)
    head, difference = verified
    report: dict[str, object] = {
        "index": head.index,
        "term": head.term,
        "digest": head.digest.hex(),
        "memories": head.memories,
    }
    if verify:
        report["verified"] = difference is None
        report["first_difference"] = None if difference is None else difference.index
    if as_json:
        print_json(report)
    elif difference is None:
        says = ", every stored digest agrees" if verify else ""
        console().print(f"{head.index} {head.digest.hex()} ({head.memories} active memories{says})", markup=False)
    if difference is not None:
        raise CommandFailed(
            f"the first digest that differs is at index {difference.index}: the folder holds "
            f"{difference.stored.hex()}, the log comes to {difference.computed.hex()}; replace this replica's state"
        )


def _last(folder: DataFolder, until: int | None) -> int:
    end = folder.log.last_index()
    if until is None:
        return min(end, folder.applied_index) if folder.reader is not None else end
    if until > end:
        raise BadRequest(f"--until {until} is above the end of the log at {end}", parameter="--until")
    return until


def _run(folder: DataFolder, store: LmdbStateStore, last: int, *, verify: bool) -> machine.Verified:
    with _bar() as bar:
        task = bar.add_task("replay", total=last)

        def advance(index: int) -> None:
            bar.update(task, completed=index)

        entries = folder.history(last)
        if not verify:
            return machine.Verified(machine.replay(entries, store, until=last, progress=advance), None)
        reader = folder.state()
        if last > reader.head.index:
            raise BadRequest(f"digests are stored up to index {reader.head.index}; --until {last} is above that")

        def stored(index: int) -> bytes | None:
            row = reader.event(index)
            return None if row is None else row.digest

        return machine.verify(entries, stored, store, until=last, progress=advance)


def _bar() -> Progress:
    """On stderr, and only on a terminal."""
    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
