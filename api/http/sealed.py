"""Sealed texts: what a replica hands out and takes back, unread and unchanged, on any replica of the group.

The construction is SIV (RFC 5297) with keyed BLAKE2b (RFC 7693) in the place of AES: the tag is a MAC of the context
and the text, and the key stream is made from the tag. It needs no nonce, so replicas share nothing but the key; equal
texts look equal, and nothing else shows. `cryptography` stays with the certificates, below which the API has no
business.
"""

import hmac
from hashlib import blake2b
from typing import Final

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
_BLOCK: Final = 32  # lengths are rounded up to it, so that a text does not show how long it is
_LENGTH_BYTES: Final = 2


def key_from(secret: bytes, purpose: bytes) -> bytes:
    """The key for one purpose (at most 16 bytes) from a secret of the group."""
    return blake2b(secret, digest_size=KEY_BYTES, person=purpose).digest()


class Sealer:
    def __init__(self, key: bytes) -> None:
        """`key`: `KEY_BYTES` long."""
        self._mac = blake2b(b"mac", key=key, digest_size=KEY_BYTES).digest()
        self._stream = blake2b(b"stream", key=key, digest_size=KEY_BYTES).digest()

    def seal(self, text: bytes, context: bytes) -> bytes:
        """`text`: at most 65,535 bytes. `context`: not part of the result; it must be the same at `open`."""
        padded = len(text).to_bytes(_LENGTH_BYTES, "big") + text
        padded += bytes(-len(padded) % _BLOCK)
        tag = self._tag(padded, context)
        return tag + self._crypt(padded, tag)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Raises: ValueError for what was not sealed with this key and context."""
        tag, body = sealed[:TAG_BYTES], sealed[TAG_BYTES:]
        padded = self._crypt(body, tag)
        if len(tag) < TAG_BYTES or not hmac.compare_digest(tag, self._tag(padded, context)):
            raise ValueError("it was not sealed here, or for something else")
        length = int.from_bytes(padded[:_LENGTH_BYTES], "big")
        return padded[_LENGTH_BYTES : _LENGTH_BYTES + length]

    def _tag(self, padded: bytes, context: bytes) -> bytes:
        mac = blake2b(len(context).to_bytes(8, "big"), key=self._mac, digest_size=TAG_BYTES)
        mac.update(context)
        mac.update(padded)
        return mac.digest()

    def _crypt(self, text: bytes, tag: bytes) -> bytes:
        stream = b"".join(
            blake2b(tag + block.to_bytes(8, "big"), key=self._stream).digest() for block in range(len(text) // 64 + 1)
        )
        return bytes(one ^ other for one, other in zip(text, stream, strict=False))
