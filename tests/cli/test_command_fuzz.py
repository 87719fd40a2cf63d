"""Whatever a command is given, it ends with a stated exit code and a line that is not "a bug".

RAFTMEM_FUZZ_EXAMPLES: how many calls are tried (150 if not set; `make fuzz` tries more).
"""

import io
import os
import sys
from collections.abc import Iterator
from typing import Final

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_group import ScriptedGroup, scripted_group

from raftmem.cli import app, main
from raftmem.cli.exits import Exit

EXAMPLES: Final = int(os.environ.get("RAFTMEM_FUZZ_EXAMPLES", "150"))
LEFT_OUT: Final = frozenset({"up", "serve", "certs", "watch", "run", "recover"})  # they wait, write or start something
PARTS: Final = (
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "@",
    "=",
    "/",
    ".",
    "-",
    "1e999",
    "9" * 400,
    "NaN",
    "null",
    "\\u0000",
)
TEXTS: Final = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Ll"]), max_size=8),  # bytes that are no UTF-8 come as surrogates
    st.lists(st.sampled_from(PARTS), max_size=12).map("".join),
    st.integers().map(str),
    st.sampled_from(["", ".", "..", "-", "--", "--json", "--debug", "--help", "@", "@/", "@/dev/null", "inf", "nan"]),
)


def commands(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """(path, its options) of every command that only asks or looks."""
    for name, command in getattr(group, "commands", {}).items():
        if name in LEFT_OUT:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), [option for one in command.params for option in one.opts if option.startswith("--")]


COMMANDS: Final = dict(commands(typer.main.get_command(app)))


@st.composite
def calls(draw: st.DrawFn) -> list[str]:
    path = draw(st.sampled_from(sorted(COMMANDS)))
    arguments = [*path]
    for _ in range(draw(st.integers(0, 5))):
        options = [option for option in COMMANDS[path] if option not in ("--url", "--timeout-ms", "--wait", "--wait-s")]
        if options and draw(st.booleans()):
            arguments.append(draw(st.sampled_from(options)))
        arguments.append(draw(TEXTS))
    return arguments


@pytest.fixture(scope="module")
def group() -> Iterator[ScriptedGroup]:
    with scripted_group() as group:
        yield group


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arguments=calls())
def test_call_ends_with_a_stated_code_and_never_as_a_bug(arguments: list[str], group: ScriptedGroup) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAFTMEM_URL", group.url)
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace") for _ in range(2))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        for stream in (out, err):
            stream.flush()
    assert ended.value.code in set(Exit)
    said = err.buffer.getvalue().decode()  # type: ignore[attr-defined]  # it is a BytesIO
    assert "a bug" not in said, said
    assert "Traceback" not in said or "--debug" in arguments
