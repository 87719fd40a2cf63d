"""Without each obligation the simulator finds what it should: the table of `without.py`, row by row."""

import re
from pathlib import Path

import pytest

from jepsen_like.simulator import without
from jepsen_like.simulator.__main__ import main
from jepsen_like.simulator.off import SWITCHES
from jepsen_like.simulator.without import TABLE, Script, Seeds

DOCUMENT = Path(__file__).parents[2] / "docs" / "consensus.md"
PROOFS = [(name, proof) for name, row in TABLE.items() for proof in row.proofs]


def spelled(value: object) -> str:
    match value:
        case Script():
            return value.name
        case Seeds():
            return f"{value.level}-{value.seeds.start}-{value.seeds.stop - 1}"
        case _:
            return str(value)


@pytest.mark.parametrize(("name", "proof"), PROOFS, ids=spelled)
def test_an_obligation_that_is_switched_off_is_missed(name: str, proof: Seeds | Script) -> None:
    shown = without.prove(name, proof)
    assert without.is_as_expected(shown), shown.what


def test_every_switch_has_a_row_and_what_is_switched_off_comes_back() -> None:
    assert SWITCHES.keys() == TABLE.keys()
    for name, swaps in SWITCHES.items():
        before = [vars(owner).get(attribute) for owner, attribute, _ in swaps]
        with without.switched_off(name):
            assert [vars(owner)[attribute] for owner, attribute, _ in swaps] == [other for _, _, other in swaps]
        assert [vars(owner).get(attribute) for owner, attribute, _ in swaps] == before


def test_the_command_line_lists_shows_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-obligations"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(TABLE)
    assert main(["--without", "durable-commit"]) == 1
    assert "its disk ends at" in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused:
        main(["--without", "no-such-thing"])
    assert refused.value.code == 2


def test_seeds_that_do_not_show_it_are_followed_by_what_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--without", "pre-vote", "--seeds", "3", "--seconds", "1", "--replicas", "1"]) == 1
    assert "these seeds do not show it" in capsys.readouterr().out


def test_the_document_names_every_obligation_and_says_which_can_be_shown() -> None:
    named = dict(re.findall(r"^\| (\d+) \| `([a-z-]+)` \|", DOCUMENT.read_text(), flags=re.MULTILINE))
    assert sorted(map(int, named)) == list(range(1, 29))
    assert {str(row.number): name for name, row in TABLE.items()}.items() <= named.items()
