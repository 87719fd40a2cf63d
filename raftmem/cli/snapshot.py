"""`raftmem snapshot`: the snapshots of one replica, over REST or in its folder."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from raftmem.api.responses import memory_views
from raftmem.api.routes import snapshots
from raftmem.cli.exits import CommandFailed
from raftmem.cli.folder import snapshots_of
from raftmem.cli.options import DataOption
from raftmem.cli.output import JsonFlag, console, print_json, print_table, printable
from raftmem.cli.remote import DEFAULT_URL, Answer, Remote, UrlOption
from raftmem.cli.rows import items
from raftmem.cli.verbs import Row, Write, writes
from raftmem.storage.snapshots.contract import SnapshotMeta

snapshot = typer.Typer(name="snapshot", help="List, check and take snapshots of one replica.", no_args_is_help=True)
_COLUMNS = ("index", "term", "time", "bytes", "digest", "checksum")


@snapshot.command("list")
def list_snapshots(
    data: Annotated[Path | None, typer.Option("--data", help="Read this folder instead of asking --url.")] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """List snapshots, newest first. A folder can be read while its replica runs."""
    if data is None:
        found = items(Remote(url).read("GET", "/v1/admin/snapshots", params={}).body.get("snapshots"))
    else:
        found = [_row(meta) for meta in snapshots_of(data).all()]
    if as_json:
        print_json({"snapshots": found})
    else:
        print_table(_COLUMNS, [[row.get(column) for column in _COLUMNS] for row in found])


@snapshot.command()
def verify(data: DataOption, as_json: JsonFlag = False) -> None:
    """Check every snapshot of a folder: length, checksum, digest, last entry. Exits with 1 if one is damaged."""
    store = snapshots_of(data)
    results: list[Row] = [{"name": damage.name, "index": None, "problem": damage.what} for damage in store.damaged]
    results += [{"name": meta.name, "index": meta.index, "problem": store.verify(meta)} for meta in store.all()]
    broken = [result for result in results if result["problem"] is not None]
    if as_json:
        print_json({"sound": not broken, "snapshots": results})
    else:
        for result in results:
            console().print(printable(f"{result['name']}: {result['problem'] or 'sound'}"), markup=False)
    if broken:
        raise CommandFailed(f"{data}: {len(broken)} of {len(results)} snapshots are damaged; delete their files")
    if not results and not as_json:
        console().print(printable(f"{data}: holds no snapshot"), markup=False)


@writes(snapshot, guarded=False, keyed=False)
def take(call: Write) -> None:
    """Take a snapshot on the replica at --url, while writes go on."""
    call.show(call.ask("POST", "/v1/admin/snapshot"), _show_taken)


def _show_taken(answer: Answer) -> None:
    taken = answer.body.get("snapshot")
    if isinstance(taken, dict):
        line = f"snapshot at index {taken.get('index')}: {taken.get('bytes')} bytes, digest {taken.get('digest')}"
        console().print(printable(line), markup=False)


def _row(meta: SnapshotMeta) -> Row:
    return msgspec.json.decode(memory_views.encode(snapshots.shown(meta)), type=Row)
