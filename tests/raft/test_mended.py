"""Defects that were mended are found again when they are put back."""

import pytest

from jepsen_like.simulator.__main__ import main
from jepsen_like.simulator.mended import MENDED


@pytest.mark.parametrize("name", MENDED)
def test_a_mended_defect_that_is_put_back_is_found_again(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mended", name]) == 1, capsys.readouterr().out


def test_the_command_line_refuses_a_defect_that_never_was() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--mended", "no-such-thing"])
    assert refused.value.code == 2
