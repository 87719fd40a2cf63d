"""`raftmem gate` and `raftmem txn` against a scripted group: what is asked, what is said, which exit code."""

import io
import json
import sys
from pathlib import Path

import pytest
from cli_world import Cli
from scripted_group import ScriptedGroup, event, problem

from raftmem.cli.exits import Exit

MIA = {"type": "user", "id": "mia", "role": None}
GATE: dict[str, object] = {
    **{"name": "ship/1.4", "required": 2, "approvers": ["mia", "user/bo"]},
    "approvals": [{"actor": MIA, "index": 11, "comment": "read it"}],
    **{"pins": [{"memory": "tests", "version": 3}], "open": False, "consumed_index": None},
}
PATH = "/v1/gates/ship%2F1.4"


def test_gate_is_put_with_its_approvers_and_pins(scripted: ScriptedGroup, cli: Cli) -> None:
    put = event("GATE_PUT", gate="ship/1.4", open=False)
    scripted.replies[f"PUT {PATH}"] = (201, {"gate": GATE, "event": put})
    approvers = ("--approver", "mia", "--approver", "user/bo")
    ended = cli("gate", "put", "ship/1.4", "--required", "2", *approvers, "--pin", "tests=3")
    assert (ended.code, ended.out) == (0, "GATE_PUT ship/1.4 closed at index 12\n")
    pins = [{"memory": "tests", "version": 3}]
    assert scripted.body() == {"required": 2, "approvers": ["mia", "user/bo"], "pins": pins}


@pytest.mark.parametrize(
    ("verb", "options", "body"),
    [("approve", ("--comment", "ok"), {"comment": "ok"}), ("revoke", (), {}), ("consume", (), {})],
)
def test_gate_is_changed_as_the_actor(
    scripted: ScriptedGroup, cli: Cli, verb: str, options: tuple[str, ...], body: dict[str, object]
) -> None:
    changed = event(f"GATE_{verb.upper()}", gate="ship/1.4", open=True)
    scripted.replies[f"POST {PATH}/{verb}"] = (200, {"gate": GATE, "event": changed})
    ended = cli("gate", verb, "ship/1.4", *options, "--actor", "user/mia")
    assert (ended.code, ended.out) == (0, f"GATE_{verb.upper()} ship/1.4 open at index 12\n")
    assert (scripted.body(), scripted.asked[0].headers["Raftmem-Actor"]) == (body, "user/mia")


def test_consume_of_a_closed_gate_is_code_4_and_a_stranger_code_1(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies[f"POST {PATH}/consume"] = problem(409, "wrong-state", "1 of 2 approvals")
    assert cli("gate", "consume", "ship/1.4").code == Exit.PRECONDITION
    scripted.replies[f"POST {PATH}/approve"] = problem(403, "forbidden", "not an approver")
    assert cli("gate", "approve", "ship/1.4").code == Exit.FAILED


def test_gate_is_shown_with_who_approved_it(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies[f"GET {PATH}"] = (200, GATE)
    lines = [line.split() for line in cli("gate", "show", "ship/1.4").out.splitlines()]
    assert lines[1] == ["ship/1.4", "closed", "1", "of", "2", "mia", "user/bo", "tests=3"]
    assert lines[-1] == ["user/mia", "11", "read", "it"]
    consumed = {**GATE, "consumed_index": 20, "approvers": []}
    scripted.replies["GET /v1/gates?prefix=ship&limit=100"] = (200, {"gates": [consumed], "next_cursor": None})
    listed = cli("gate", "list", "--prefix", "ship").out.splitlines()[1].split()
    assert listed == ["ship/1.4", "consumed", "at", "index", "20", "1", "of", "2", "anybody", "tests=3"]


def test_wait_asks_again_until_it_is_open(scripted: ScriptedGroup, cli: Cli) -> None:
    first, opened = f"GET {PATH}?wait_ms=60000", {**GATE, "open": True}
    scripted.replies[first] = [(200, GATE), (200, opened)]
    assert cli("gate", "wait", "ship/1.4", "--wait", "1000", "--json").json() == opened
    assert scripted.routes() == [first, first]


def test_wait_that_is_over_or_in_vain_is_code_4(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies[f"GET {PATH}?wait_ms=0"] = (200, GATE)
    ended = cli("gate", "wait", "ship/1.4", "--wait", "0")
    assert (ended.code, "ship/1.4 is closed after 0 s" in ended.err) == (Exit.PRECONDITION, True)
    scripted.replies[f"GET {PATH}?wait_ms=60000"] = (200, {**GATE, "consumed_index": 20})
    assert cli("gate", "wait", "ship/1.4", "--wait", "600").err == "raftmem: ship/1.4 is consumed at index 20\n"


def test_gate_with_its_approvals_says_that_a_pin_keeps_it_closed(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies[f"GET {PATH}"] = (200, {**GATE, "required": 1})
    assert "closed by a pin  1 of 1" in cli("gate", "show", "ship/1.4").out
    scripted.replies[f"GET {PATH}?wait_ms=0"] = (200, {**GATE, "required": 1})
    assert "is closed by a pin after 0 s" in cli("gate", "wait", "ship/1.4", "--wait", "0").err


def test_usage_error_is_code_2_and_asks_nobody(scripted: ScriptedGroup, cli: Cli, tmp_path: Path) -> None:
    assert cli("gate", "put", "g").code == Exit.USAGE
    assert cli("gate", "put", "g", "--required", "1", "--pin", "tests").code == Exit.USAGE
    assert cli("txn", str(tmp_path / "none")).code == Exit.USAGE
    (tmp_path / "list").write_text("[]")
    assert cli("txn", str(tmp_path / "list")).code == Exit.USAGE
    assert scripted.asked == []


# --- transactions -----------------------------------------------------------------------------------
LOCKED = event("LOCK_ACQUIRE", seq=1, lock="a", token=12)
TXN = {
    "guards": [{"gate": "g", "open": True}],
    "then": [{"op": "LOCK_ACQUIRE", "name": "a", "owner": "me", "ttl_ms": 100}],
}


def test_transaction_of_a_file_is_sent_whole_and_its_events_shown(
    scripted: ScriptedGroup, cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "txn.json"
    file.write_text(json.dumps(TXN))
    scripted.replies["POST /v1/txn"] = (200, {"succeeded": True, "index": 12, "results": [{"event": LOCKED}]})
    ended = cli("txn", str(file))
    assert (ended.code, scripted.body()) == (0, TXN)
    assert ended.out.splitlines()[1].split()[-5:] == ["LOCK_ACQUIRE", "a", "token", "12", "applied"]


def test_transaction_whose_guard_was_false_is_code_4(
    scripted: ScriptedGroup, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(TXN).encode())))
    failed = [{"guard": {"gate": "g", "open": True}, "current": {"name": "g", "open": False}}]
    answer = {"succeeded": False, "index": 12, "results": [], "failed": failed}
    scripted.replies["POST /v1/txn"] = (200, answer)
    ended = cli("txn", "-")
    assert (ended.code, scripted.body()) == (Exit.PRECONDITION, TXN)
    assert ended.err.splitlines() == [
        'false: {"gate":"g","open":true}; it is {"name":"g","open":false}',
        "raftmem: 1 guards were false: the `else` arm ran, at index 12",
    ]


def test_refused_transaction_says_which_operation(scripted: ScriptedGroup, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(json.dumps(TXN))
    scripted.replies["POST /v1/txn"] = problem(409, "lock-held", "operation 0: a is held by you#2", failed_seq=0)
    ended = cli("txn", str(tmp_path / "t"), "--json")
    assert (ended.code, ended.part("failed_seq")) == (Exit.PRECONDITION, 0)
