"""Histories over many keys, as Jepsen's independent tests write them: `:f :read, :value [key nil]`.

They are recognized by a call that asks nothing but a key, or by a cas of `[key [old new]]`. The rule: then every
operation names its key; else nothing is changed. Refused: some with a key and some without, and an answer about
another key.
"""

from collections.abc import Sequence
from dataclasses import replace

from jepsen_like.history.calls import Entry

_ASK_NOTHING = ("read", "acquire", "release", "delete")


def apart(entries: Sequence[Entry]) -> list[Entry]:
    """With the key as `key`, and the rest as `value`. Raises: ValueError naming the line."""
    if not any(_names_a_key(entry) for entry in entries):
        return list(entries)
    keys: dict[int, object] = {}
    found: list[Entry] = []
    for entry in entries:
        if entry.type == "invoke":
            if not isinstance(entry.value, list) or len(entry.value) != 2:
                raise ValueError(f"line {entry.line}: {entry.f} of {entry.value!r} names no key, and others do")
            keys[entry.process] = entry.value[0]
        found.append(replace(entry, key=str(keys.get(entry.process, "")), value=_rest(entry, keys)))
    return found


def _names_a_key(entry: Entry) -> bool:
    value = entry.value
    if entry.type != "invoke" or not isinstance(value, list) or len(value) != 2 or isinstance(value[0], list | None):
        return False
    if entry.f == "cas":
        return isinstance(value[1], list) and len(value[1]) == 2
    return entry.f in _ASK_NOTHING and value[1] is None


def _rest(entry: Entry, keys: dict[int, object]) -> object:
    value = entry.value
    if isinstance(value, list) and len(value) == 2 and value[0] == keys.get(entry.process):
        return value[1]
    if entry.type == "ok" and value is not None:
        raise ValueError(f"line {entry.line}: {value!r} is no answer about {keys.get(entry.process)!r}")
    return None
