"""`docs/settings.md` names every setting, with its default."""

import re
from pathlib import Path

import msgspec
import pytest

from raftmem.settings import FIELDS, Settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE, re.MULTILINE))
DEFAULTS = {
    field.name: field.default
    for field in msgspec.structs.fields(Settings)
    if isinstance(field.default, bool | int) or (isinstance(field.default, str) and field.default)
}


def test_settings_page_names_each_setting_once_and_no_other() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == sorted(FIELDS)


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_settings_page_gives_the_default(name: str) -> None:
    value = DEFAULTS[name]
    assert ROWS[name] == f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_settings_page_says_which_are_required() -> None:
    assert sorted(name for name, default in ROWS.items() if default == "required") == sorted(
        name for name, field in FIELDS.items() if field.required
    )
