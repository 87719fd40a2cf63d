"""The checker as a run uses it: keys apart, levels, findings with numbers and pictures; and the pictures themselves."""

from xml.etree import ElementTree

from histories_made import op
from msgspec.structs import replace

from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.linearizability import checker
from jepsen_like.history.record import History, Operation

SVG = "{http://www.w3.org/2000/svg}"


def found(*operations: Operation, model: str = "register", seconds: float = 60) -> Finding:
    evidence = Evidence(history=History(None, operations), log=None)
    return checker(model, seconds=seconds)(evidence)


def test_each_key_is_judged_apart_and_the_bad_one_is_named() -> None:
    finding = found(
        op("write", 1, at=(0, 1), key="a"),
        op("read", None, None, at=(2, 3), key="b", level="lease"),
        op("read", None, None, at=(4, 5), key="a", level="lease", process=7),
    )
    assert (finding.verdict, finding.summary) == ("bad", "not linearizable as register: 1 of 3 operations on 2 keys")
    assert finding.counts["keys"] == 2
    assert finding.details[0].startswith("key 'a': process 7, read → null: what it was told had been written over")
    assert finding.details[1:] == (
        "process      from        to  what",
        "      0  0.000 ms  1.000 ms  write 1",
        "      7  4.000 ms  5.000 ms  read → null",
    )


def test_reads_that_promise_less_and_operations_of_other_models_are_left_alone() -> None:
    stale = op("read", None, None, at=(4, 5), level="eventual")
    assert found(op("write", 1, at=(0, 1)), stale, op("use", 1, at=(0, 1))).verdict == "good"
    assert found(op("write", 1, at=(0, 1)), replace(stale, level="linearizable")).verdict == "bad"


def test_history_with_nothing_to_judge_is_unknown() -> None:
    assert found(op("use", 1, at=(0, 1))).verdict == "unknown"


def test_key_that_was_not_decided_in_time_makes_the_whole_unknown_and_says_so() -> None:
    many = [op("put", {"value": place}, at=(place, 500), key="long") for place in range(300)]
    read = op("read", None, {"version": 5, "value": -1}, at=(400, 501), key="long", level="lease")
    finding = found(*many, read, model="memory", seconds=0)
    assert (finding.verdict, finding.pictures) == ("unknown", ())
    assert "key 'long': not decided, stopped by time" in finding.details[0]


def pictured(count: int = 3) -> tuple[Finding, ElementTree.Element]:
    writes = [op("write", value, at=(2 * value, 2 * value + 1), process=value % 9) for value in range(count)]
    long = op("write", "</text><script>&", at=(0, 0), type_="unknown", process=20)
    missed = op("write", 1000, at=(2 * count, 2 * count + 1), process=21)
    stale = op("read", None, count - 1, at=(2 * count + 2, 2 * count + 3), process=22, level="lease")
    finding = found(long, *writes, missed, stale)
    assert finding.verdict == "bad"
    return finding, ElementTree.fromstring(finding.pictures[0].svg)


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_picture_has_a_row_for_each_process_and_the_stuck_operation_in_red() -> None:
    _, root = pictured()
    assert {"process 21", "process 22"} <= set(texts(root))
    red = [group for group in root.iter(f"{SVG}g") if any(part.get("fill") == "#e05252" for part in group)]
    assert ["".join(title.itertext()) for group in red for title in group.iter(f"{SVG}title")] == [
        "process 22: read → 2, 8.000 ms to 9.000 ms"
    ]


def test_picture_numbers_the_order_that_was_found() -> None:
    _, root = pictured()
    numbered = [text for text in texts(root) if text[:1].isdecimal() and not text.endswith("ms")]
    assert [text for text in numbered if "write 1000" in text] == [f"{len(numbered)} write 1000"]


def test_picture_of_a_long_history_shows_a_window_and_stays_small() -> None:
    finding, root = pictured(count=2_000)
    assert 2 <= len(list(root.iter(f"{SVG}g"))) <= 200
    assert len(finding.pictures[0].svg) < 100_000


def test_words_of_a_history_cannot_break_out_of_the_picture() -> None:
    lost = op("write", "</text><script>&", at=(0, 0), type_="unknown", process=20)
    seen = op("read", None, "</text><script>&", at=(1, 2), level="lease")
    gone = op("read", None, None, at=(3, 4), level="lease")
    finding = found(lost, seen, gone)
    assert "<script>" not in finding.pictures[0].svg
    assert any("</text><script>&" in text for text in texts(ElementTree.fromstring(finding.pictures[0].svg)))


def test_times_are_milliseconds_and_places_stay_places() -> None:
    foreign = [replace(op("write", 1, at=(0, 1)), call=0, return_=1), replace(op("read", at=(0, 1)), call=2, return_=3)]
    assert found(*foreign).details[-2:] == ("      0    #0  #1  write 1", "      0    #2  #3  read → null")
