"""What the command line prints: JSON for programs, tables for people, and progress on stderr.

Everything that came from outside is printed as text, never as markup or control codes: an agent's memory must
not be able to repaint an operator's terminal.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CELL_CHARACTERS_MAX: Final = 200  # a cell of a table shows this much of a long text

_encoder = msgspec.json.Encoder(enc_hook=str)


def print_json(value: object) -> None:
    """One line of JSON on stdout."""
    sys.stdout.buffer.write(_encoder.encode(value) + b"\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> Console:
    """Width and colours of the terminal; plain and wide when it is none."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)


def cell(value: object) -> Text:
    """One cell: null as a dash, structures as JSON, control characters made visible."""
    if value is None or value == "":
        return Text("-", style="dim")
    text = value if isinstance(value, str) else _encoder.encode(value).decode()
    if len(text) > CELL_CHARACTERS_MAX:
        text = text[: CELL_CHARACTERS_MAX - 1] + "…"
    return Text(printable(text))


def printable(text: str) -> str:
    """The text with every control character spelled out, so that it stays on its line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table on stdout; without a terminal, aligned plain columns that are never cut."""
    out = console()
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold" if out.is_terminal else "ignore", no_wrap=not out.is_terminal)
    for row in rows:
        table.add_row(*map(cell, row))
    if not out.is_terminal:
        out.width = max(out.width, 4096)
    out.print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """One thing: a name and a value a line."""
    out = console()
    grid = Table.grid(padding=(0, 2))
    for name, value in fields:
        grid.add_row(Text(name, style="bold"), cell(value))
    out.print(grid)
