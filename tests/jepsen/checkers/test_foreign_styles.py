"""Files as others write them: the verdict is right, or it is said what the line means that is not understood."""

from pathlib import Path

import pytest

from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.linearizability import examine
from jepsen_like.checkers.list_append import check as list_append
from jepsen_like.checkers.models.registry import MODELS
from jepsen_like.history.formats import load


def judged(tmp_path: Path, name: str, text: str) -> tuple[str | None, Finding]:
    (tmp_path / name).write_text(text)
    loaded = load(tmp_path / name)
    evidence = Evidence(history=loaded.history, log=None)
    if loaded.model == "list-append":
        return loaded.model, list_append(evidence)
    assert loaded.model is not None
    return loaded.model, examine(MODELS[loaded.model], evidence, seconds=5)


def maps(*operations: tuple[str, str, str, str], tag: str = "") -> str:
    """A call and its return each: f, what was asked, how it ended, what was told."""
    lines = []
    for place, (f, asked, type_, told) in enumerate(operations):
        head = f"{tag}{{:process {place}, :f :{f}, :time {place}, :index {place}, "
        lines += [f"{head}:type :invoke, :value {asked}}}", f"{head}:type :{type_}, :value {told}, :error nil}}"]
    return "\n".join(lines)


W5, W6 = ("write", "[1 5]", "ok", "[1 5]"), ("write", "[2 6]", "ok", "[2 6]")


@pytest.mark.parametrize(
    ("operations", "verdict", "keys"),
    [
        ([W5, W6, ("read", "[1 nil]", "ok", "[1 5]"), ("read", "[2 nil]", "ok", "[2 6]")], "good", 2),
        ([W5, W6, ("read", "[1 nil]", "ok", "[1 6]")], "bad", 2),
        ([W5, ("cas", "[1 [5 7]]", "ok", "[1 [5 7]]"), ("read", "[1 nil]", "ok", "[1 7]")], "good", 1),
        ([W5, ("cas", "[1 [5 7]]", "fail", ":timeout"), ("read", "[1 nil]", "ok", "[1 7]")], "bad", 1),
        ([("acquire", "[:a nil]", "ok", "[:a nil]"), ("acquire", "[:b nil]", "ok", "[:b nil]")], "good", 2),
        ([("acquire", "[:a nil]", "ok", "[:a nil]"), ("acquire", "[:a nil]", "ok", "[:a nil]")], "bad", 1),
    ],
)
@pytest.mark.parametrize("tag", ["", "#jepsen.history.Op"])
def test_independent_keys_are_judged_apart(
    operations: list[tuple[str, str, str, str]], verdict: str, keys: int, tag: str, tmp_path: Path
) -> None:
    _, finding = judged(tmp_path, "history.edn", maps(*operations, tag=tag))
    assert (finding.verdict, finding.counts["keys"]) == (verdict, keys)


@pytest.mark.parametrize(
    ("told", "verdict"), [("[1]", "good"), ("[1 2]", "bad"), ("[]", "bad"), ("nil", "bad"), ("[2]", "bad")]
)
def test_lists_of_transactions_are_read_with_what_each_step_was_told(told: str, verdict: str, tmp_path: Path) -> None:
    appended = ("txn", "[[:append :x 1] [:r :y nil]]", "ok", "[[:append :x 1] [:r :y nil]]")
    text = maps(appended, ("txn", "[[:r :x nil]]", "ok", f"[[:r :x {told}]]"))
    model, finding = judged(tmp_path, "history.edn", text)
    assert (model, finding.verdict) == ("list-append", verdict)


def test_register_that_is_set_from_nil_began_with_nil(tmp_path: Path) -> None:
    operations = [("cas", "[nil 1]", "ok", "[nil 1]"), ("read", "nil", "ok", "1")]
    model, finding = judged(tmp_path, "history.edn", maps(*operations))
    assert (model, finding.verdict) == ("register", "good")


def test_write_whose_value_only_the_answer_names_wrote_that(tmp_path: Path) -> None:
    text = maps(("write", "nil", "ok", "2"), ("read", "nil", "ok", "2"))
    assert judged(tmp_path, "history.edn", text)[1].verdict == "good"


LOG = ("0\t:invoke\t:write\t1", "0\t:ok\t:write\t1", "1\t:invoke\t:cas\t[1 3]")


@pytest.mark.parametrize("before", ["INFO  jepsen.util - ", "2014-06-01 10:00:00,123 INFO  jepsen.util - "])
@pytest.mark.parametrize(("told", "verdict"), [(":timed-out", "good"), ("[1 3]", "bad")])
def test_cas_that_failed_for_a_reason_of_its_own_was_no_mismatch(
    before: str, told: str, verdict: str, tmp_path: Path
) -> None:
    lines = [*LOG, ':nemesis\t:info\t:start\tCut off [:n1 "of', f"1\t:fail\t:cas\t{told}"]
    text = "".join(f"{before}{line}\n" for line in lines)
    assert judged(tmp_path, "etcd.log", text)[1].verdict == verdict


GET = '{:process 0, :type :%s, :f :get, :key "a", :value nil}\n'


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.edn", "; nothing", "there is nothing in it"),
        ("a.log", "INFO  jepsen.core - hello\n", "no line of it is of jepsen.util"),
        ("a.txt", GET % "invoke" + GET % "ok", "line 2: a get that tells nothing"),
        ("a.edn", maps(("read", "[1 nil]", "ok", "[1 2]"), ("write", "3", "ok", "3")), "write of 3 names no key"),
        ("a.edn", maps(("read", "[1 nil]", "ok", "[2 2]")), "line 2: .* is no answer about 1"),
        ("a.edn", maps(("txn", "[[:r :x nil]]", "ok", "[[:r :y [1]]]")), "line 2: .* is no answer to"),
    ],
)
def test_what_is_not_understood_is_refused_and_named(name: str, text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        judged(tmp_path, name, text)


def test_registers_written_as_maps_are_of_no_model_that_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.edn").write_text(maps(("write", "{:x 1}", "ok", "{:x 1}"), ("read", "nil", "ok", "{:x 1}")))
    assert load(tmp_path / "a.edn").model is None
