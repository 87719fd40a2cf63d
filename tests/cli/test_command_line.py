"""What every command keeps to: exit codes, one-line errors, help, `config show`, offline refusals."""

from pathlib import Path

import pytest
from cli_world import Cli

from raftmem import __version__
from raftmem.cli.exits import Exit, guarded
from raftmem.settings import FIELDS, flag_of

NODE = ("--node-id", "n1", "--data", "d", "--cluster-id", "5f2a9c01")


def test_version_is_printed(cli: Cli) -> None:
    assert cli("--version") == (0, f"raftmem {__version__}\n", "")


def test_help_names_the_exit_codes(cli: Cli) -> None:
    ended = cli("--help")
    assert ended.code == 0
    assert "3 outcome unknown" in " ".join(ended.out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("memory", "add"),
        ("memory", "update", "x"),
        ("memory", "add", "x", "--value", "{"),
        ("memory", "update", "x", "--merge", "value"),
        ("memory", "list", "--limit", "0"),
        ("memory", "get", "x", "--url", "ftp://x"),
        ("serve",),
        ("serve", *NODE, "--heartbeat-ms", "x"),
        ("log", "list", "--data", "none"),
        ("up", "--replicas", "0"),
        ("up", "--port", "65000", "--replicas", "3"),
    ],
)
def test_usage_error_is_code_2_and_one_line(
    arguments: tuple[str, ...], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = cli(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (Exit.USAGE, "", 1), ended.err
    assert ended.err.startswith("raftmem: ")


def test_no_arguments_show_the_help(cli: Cli) -> None:
    ended = cli()
    assert ended.code == Exit.USAGE
    assert ended.err.startswith("Usage: raftmem")


def test_bug_is_one_line_and_a_traceback_only_with_debug(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise ZeroDivisionError("on purpose")

    assert guarded(broken) == Exit.FAILED
    assert capsys.readouterr().err == (
        "raftmem: a bug: ZeroDivisionError: on purpose (run with --debug for the traceback)\n"
    )
    assert guarded(broken, debug=True) == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_group_that_is_not_there_is_told_with_every_address(cli: Cli) -> None:
    ended = cli("status", "--url", "http://127.0.0.1:1,http://127.0.0.1:2")
    assert ended.code == Exit.FAILED
    assert "http://127.0.0.1:1, http://127.0.0.1:2" in ended.err


def test_serve_has_a_flag_for_every_setting(cli: Cli) -> None:
    text = cli("serve", "--help").out
    assert [name for name in FIELDS if flag_of(name) not in text] == []


def test_config_show_tells_value_and_source(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "n1.toml"
    file.write_text('node_id = "n1"\ndata = "n1"\ncluster_id = "5f2a9c01"\n')
    monkeypatch.setenv("RAFTMEM_HEARTBEAT_MS", "50")
    shown = cli("config", "show", "--config", str(file), "--search-threads", "4", "--json").json()
    assert set(FIELDS) <= set(shown)
    assert shown["data"] == {"value": str(tmp_path / "n1"), "source": f"file {file}"}
    assert shown["heartbeat_ms"] == {"value": 50, "source": "environment RAFTMEM_HEARTBEAT_MS"}
    assert shown["search_threads"] == {"value": 4, "source": "flag --search-threads"}
    assert shown["rest"] == {"value": "127.0.0.1:8101", "source": "default"}


def test_config_show_masks_secrets(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFTMEM_TOKEN", "hush")
    monkeypatch.setenv("RAFTMEM_URL", "http://me:hush@h:1")
    for form in ((), ("--json",)):
        ended = cli("config", "show", *NODE, "--rest-url", "http://u:hush@h:1", *form)
        assert ended.code == 0
        assert "***" in ended.out
        assert "hush" not in ended.out


def test_unknown_variable_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFTMEM_DATE", "d")
    ended = cli("config", "show", *NODE)
    assert ended.code == Exit.USAGE
    assert "did you mean RAFTMEM_DATA?" in ended.err


@pytest.mark.parametrize("command", [("log", "list"), ("log", "verify"), ("state", "digest"), ("replay",)])
def test_folder_of_no_replica_is_refused(command: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    ended = cli(*command, "--data", str(tmp_path))
    assert ended.code == Exit.USAGE
    assert "not a replica's data folder" in ended.err
    assert list(tmp_path.iterdir()) == []  # looked at, not touched
