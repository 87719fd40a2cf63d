"""The output of the command line: JSON for programs, tables for people, and progress on stderr.

Everything that came from outside is printed as text, never as markup or control codes: an agent's memory must
not be able to repaint an operator's terminal. A character that the output cannot show becomes a replacement. A reader
of stdout that leaves ends the command (BrokenPipeError); one of stderr only silences it.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from itertools import islice
from typing import Annotated, Final, TextIO

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raftmem.runtime.log_lines import escaped

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CELL_CHARACTERS_MAX: Final = 200  # a cell of a table shows this much of a long text
PART_ROWS: Final = 500  # of a table, laid out together
PLAIN_WIDTH: Final = 4096

_encoder = msgspec.json.Encoder(enc_hook=str)


def prepare_streams() -> None:
    """Make stdin, stdout and stderr usable as they are: closed ones are nowhere, and none refuses a character.

    A closed one must be taken: else the next file that is opened gets its number, and all that is printed with it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for the whole process
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def silence(stream: TextIO) -> None:
    """Let all that is printed there go nowhere from now on."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def complain(line: str) -> None:
    """A line on stderr, if anybody reads it."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def print_json(value: object) -> None:
    """One line of JSON on stdout, in UTF-8."""
    sys.stdout.flush()
    sys.stdout.buffer.write(_encoder.encode(value) + b"\n")
    sys.stdout.flush()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        if not self.stderr:
            raise BrokenPipeError
        silence(sys.stderr)


def console(*, stderr: bool = False, file: TextIO | None = None) -> Console:
    """Width and colours of the terminal; plain and wide when it is none."""
    return _Console(stderr=stderr, file=file, highlight=False, soft_wrap=True, emoji=False)


def cell(value: object, *, characters_max: int = CELL_CHARACTERS_MAX) -> Text:
    """One cell: null as a dash, structures as JSON, control characters made visible."""
    if value is None or value == "":
        return Text("-", style="dim")
    text = value if isinstance(value, str) else _encoder.encode(value).decode()
    if len(text) > characters_max:
        text = text[: characters_max - 1] + "…"
    return Text(printable(text))


def printable(text: str) -> str:
    """The text with every control character spelled out, so that it stays on its line."""
    return escaped(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout, printed in parts so that a long one neither waits nor fills the memory."""
    out = console()
    if not out.is_terminal:
        out.width = PLAIN_WIDTH  # never cut for a file or a pipe
    remaining, is_first = iter(rows), True
    while (part := list(islice(remaining, PART_ROWS))) or is_first:
        out.print(_table(columns, part, has_header=is_first), end="")
        is_first = False


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, has_header: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=has_header)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print one row: a name and its whole value a line."""
    out = console()
    pairs = list(fields)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        shown = cell(value, characters_max=sys.maxsize)
        out.print(Text.assemble((f"{name:<{width}}  ", "bold"), shown), soft_wrap=True)
