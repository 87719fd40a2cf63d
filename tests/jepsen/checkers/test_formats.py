"""Files of others: what each line means, and what is said of a line that means nothing."""

import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from jepsen_like.history.edn import Keyword, Map, read_forms
from jepsen_like.history.formats import load
from jepsen_like.history.record import Operation

INVOKE, OK = "{:process 0, :type :invoke, :f :read, :value nil}", "{:process 0, :type :ok, :f :read, :value 3}"
LOG = "INFO  jepsen.util - "


def loaded(tmp_path: Path, name: str, text: str) -> tuple[Operation, ...]:
    (tmp_path / name).write_text(text)
    return load(tmp_path / name).history.operations


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("1 -2 +3 7N 1.5 -2e3 1.5M 2/4", [1, -2, 3, 7, 1.5, -2000.0, Decimal("1.5"), Fraction(1, 2)]),
        (r'nil true false :a/b sym "a\n\"\u0041" \a \newline \u0042', None),
        ("[1, (2 3) #{4}] ; no more\n{:a {:b [5]}}", [[1, [2, 3], frozenset({4})], Map({"a": Map({"b": [5]})})]),
        ('#knossos.op.Op{:f :read} #inst "2020" #_ ignored #_#_ 1 2 3', [Map({"f": "read"}), "2020", 3]),
        ("{[1 2] 3 #{1} {4 5}}", [Map({(1, 2): 3, frozenset({1}): Map({4: 5})})]),
        ("##Inf", [float("inf")]),
    ],
)
def test_edn_is_read_as_what_it_stands_for(text: str, forms: list[object] | None) -> None:
    named = [None, True, False, Keyword("a/b"), "sym", 'a\n"A', "a", "\n", "B"]
    assert read_forms(text) == (named if forms is None else forms)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1\n[2", "line 2: [ is not closed"),
        ("[1\n)", "line 2: ) closes nothing that is open"),
        ("\n{:a}", "line 2: a map with a key that has no value"),
        ('"a\n', "line 1: '\"a\\n' is no EDN"),
        ("1\n2x", "line 2: '2x' is no number"),
        ("1/0", "line 1: '1/0' is no number"),
        ("[#_]", "line 1: nothing stands behind a tag"),
        (r'"\q"', r"line 1: \q is no escape"),
    ],
)
def test_what_is_no_edn_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
        read_forms(text)


def test_edn_deep_beyond_any_recursion_is_read() -> None:
    assert len(read_forms("[" * 50_000 + "]" * 50_000)) == 1


def test_operations_of_jepsen_are_paired_and_keep_what_is_known(tmp_path: Path) -> None:
    text = f"""; a comment
    [{{:process :nemesis, :type :info, :f :start}}
     {INVOKE} {{:process 1 :type :invoke :f :cas :value [1 2]}} {OK}
     {{:process 1 :type :info :f :cas :value [1 2] :error :timeout}}
     {{:process 1 :type :invoke :f :write :value 5}} {{:process 1 :type :fail :f :write :value 5 :error :refused}}
     {{:process 0 :type :invoke :f :read}} {{:process 0 :type :ok :f :read :value nil}}
     {{:process 0 :type :invoke :f :write :value 6}}]"""
    assert loaded(tmp_path, "history.edn", text) == (
        Operation(process=0, f="read", type="ok", result=3, call=0, return_=2),
        Operation(process=1, f="cas", value=[1, 2], type="unknown", call=1),
        Operation(process=1, f="write", value=5, type="fail", call=4, return_=5, error="edn:refused"),
        Operation(process=0, f="read", type="unknown", call=6),
        Operation(process=0, f="write", value=6, type="unknown", call=8),
    )


def test_lines_of_a_jepsen_log_mean_absent_by_nil_and_a_mismatch_by_a_failed_cas(tmp_path: Path) -> None:
    lines = [
        "0 \t:invoke :read \tnil \t:hint 0",
        "1\t:invoke\t:cas\t[1 2]",
        "0\t:ok\t:read\tnil",
        "1\t:fail\t:cas\t[1 2]",
        ":nemesis\t:info\t:start\tnil",
        "2\t:invoke\t:write\t4",
        "2\t:info\t:write\t:timed-out",
        "3\t:invoke\t:read\tnil",
        "3\t:fail\t:read\t:timed-out",
    ]
    text = "\n".join(["INFO  jepsen.core - Worker 0 starting", *(LOG + line for line in lines), ""])
    assert loaded(tmp_path, "etcd.log", text) == (
        Operation(process=0, f="read", type="ok", result=None, call=0, return_=2),
        Operation(process=1, f="cas", value=[1, 2], type="fail", call=1, return_=3, error="precondition-failed"),
        Operation(process=2, f="write", value=4, type="unknown", call=4),
        Operation(process=3, f="read", type="fail", call=6, return_=7),
    )


def test_maps_with_a_key_are_a_string_map(tmp_path: Path) -> None:
    text = """{:process 0, :type :invoke, :f :append, :key "7", :value "x"}
{:process 1, :type :invoke, :f :get, :key "7", :value nil}
{:process 0, :type :ok, :f :append, :key "7", :value "x"}
{:process 1, :type :ok, :f :get, :key "7", :value ""}
"""
    assert loaded(tmp_path, "c02.txt", text) == (
        Operation(process=0, f="append", key="7", value="x", type="ok", call=0, return_=2),
        Operation(process=1, f="get", key="7", type="ok", result="", call=1, return_=3),
    )


@pytest.mark.parametrize(
    ("operations", "model"),
    [
        ("", "cas-register"),
        (INVOKE + OK, "cas-register"),
        ("{:process 0 :type :invoke :f :acquire}", "mutex"),
        ("{:process 0 :type :invoke :f :txn :value [[:write :x 1]]}", "multi-register"),
        ("{:process 0 :type :invoke :f :txn :value [[:append :x 1]]}", "list-append"),
        ("{:process 0 :type :invoke :f :enqueue :value 1}", None),
    ],
)
def test_model_of_edn_is_told_by_its_operations(operations: str, model: str | None, tmp_path: Path) -> None:
    (tmp_path / "history.edn").write_text(f"[{operations}]")
    assert load(tmp_path / "history.edn").model == model


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.edn", f"{INVOKE}\n{INVOKE}", "line 2: process 0 asks again, its call of line 1 is unanswered"),
        ("a.edn", f"\n{OK}", "line 2: process 0 is answered, but had not asked"),
        ("a.edn", f"{INVOKE}\n{OK.replace(':read', ':write')}", "line 2: process 0 asked for read and is told write"),
        ("a.edn", INVOKE.replace(":invoke", ":began"), "line 1: the type :began is none of invoke, ok, fail, info"),
        ("a.edn", "{:type :invoke, :f :read}", "line 1: an operation without a :process"),
        ("a.edn", "{:process 0, :type :invoke}", "line 1: an operation without a :f"),
        ("a.edn", "[1]", "form 1: '1' is not an operation"),
        ("a.log", f"{LOG}0\t:invoke\t:read\tnil\nnonsense", "line 2: not of a Jepsen log: 'nonsense'"),
        ("a.log", f"{LOG}0\t:invoke\t:cas\t3", "line 1: cas of 3"),
        ("a.log", f"{LOG}0\t:invoke\t:drop\t3", "line 1: not an operation of a register: '0\\t:invoke\\t:drop\\t3'"),
        ("a.log", f"{LOG}0\t:invoke\t:write\t[3", "line 1: [ is not closed"),
        ("a.txt", '{:process 0, :type :invoke, :f :read, :key "1"}', "line 1: not a get, put or append of a key"),
        ("a.jsonl", '{"kind": "op"}', "line 1: Object missing required field `process`"),
    ],
)
def test_line_that_means_nothing_is_named(name: str, text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path / name}, {complaint}')}$"):
        loaded(tmp_path, name, text)


def test_file_of_no_known_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary")
    with pytest.raises(ValueError, match="of no format that is known here"):
        load(tmp_path / "notes.txt")
    (tmp_path / "notes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not text in UTF-8, at byte 0"):
        load(tmp_path / "notes.txt")
