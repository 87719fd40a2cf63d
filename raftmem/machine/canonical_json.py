"""The RFC 8785 (JCS) bytes of a JSON value, and the content hash over them.

The fast path serves values without floats and with ASCII keys: their compact JSON with sorted keys is already
canonical. The `rfc8785` package does the rest.
"""

import hashlib

import msgspec
import rfc8785

_sorted = msgspec.json.Encoder(order="sorted")
_string = msgspec.json.Encoder()


def jcs(value: object) -> bytes:
    """The RFC 8785 form of a decoded JSON value.

    Raises: rfc8785.CanonicalizationError for numbers that JSON readers disagree on.
    """
    if _is_plain(value):
        return _sorted.encode(value)
    return rfc8785.dumps(value)  # type: ignore[arg-type]  # checked by rfc8785 itself


def _is_plain(value: object) -> bool:
    if value is None or isinstance(value, str | bool | int):
        return True
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(str.isascii, value)) and all(map(_is_plain, value.values()))
    return False


def content_sha256(text: str | None, value: bytes | None) -> bytes:
    """SHA-256 over the RFC 8785 form of `{"text":…,"value":…}`; `value` is JSON text."""
    tail = b"null" if value is None else jcs(msgspec.json.decode(value))
    return hashlib.sha256(b'{"text":' + _string.encode(text) + b',"value":' + tail + b"}").digest()
