"""JSON text inside apply: parse it or refuse it, but never raise.

Requests are checked before they are proposed, so a refusal here means that a proposer did not check. Such an entry must
not stop every replica for ever. Nesting is counted before parsing, because the parser's own depth limit depends on the
stack of the moment. Two JSON values are equal when their RFC 8785 bytes are: 1 equals 1.0, true does not equal 1, and
the order of keys does not matter.
"""

import re
from typing import NamedTuple

import msgspec

from raftmem import limits
from raftmem.machine import canonical_json

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
encode = msgspec.json.Encoder().encode


class Parsed(NamedTuple):
    """A decoded JSON value."""

    value: object


def parse(text: bytes) -> Parsed | None:
    """Parse; None if it is not JSON, nested too deep, or has a number that RFC 8785 cannot write."""
    if too_deep(text):
        return None
    try:
        value = msgspec.json.decode(text)
        canonical_json.jcs(value)
    except (msgspec.DecodeError, ValueError):
        return None
    return Parsed(value)


def content_sha256(text: str | None, value: bytes | None) -> bytes | None:
    """`canonical.content_sha256`, or None when `value` is not usable JSON."""
    if value is not None and too_deep(value):
        return None
    try:
        return canonical_json.content_sha256(text, value)
    except (msgspec.DecodeError, ValueError):
        return None


def is_object(text: bytes) -> bool:
    if text == b"{}":
        return True
    if too_deep(text):
        return False
    try:
        _object.decode(text)
    except (msgspec.DecodeError, ValueError):
        return False
    return True


def too_deep(text: bytes) -> bool:
    """More than `JSON_DEPTH_MAX` arrays and objects inside each other."""
    if text.count(b"[") + text.count(b"{") <= limits.JSON_DEPTH_MAX:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", text)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limits.JSON_DEPTH_MAX:
            return True
    return False
