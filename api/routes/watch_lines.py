"""The items of a watch on the wire: server-sent events, or lines of JSON. Both carry the same objects.

An entry is `{"type": "entry", "index", "prev_index", "events"}`. The others are `{"type", "index"}`: what stands up to
`index` was delivered before; `compacted` also says which is the oldest index that is kept.
"""

import re
from collections.abc import Callable
from typing import Final, Literal

EVENT_STREAM: Final = b"text/event-stream"
NDJSON: Final = b"application/x-ndjson"
_QUALITY: Final = re.compile(r"q=([01](?:\.[0-9]{0,3})?)", re.IGNORECASE)

Word = Literal["bookmark", "compacted", "lagged", "goodbye"]
Line = Callable[[int, str | None, bytes], bytes]  # index, word (None: an entry), JSON text


def media_type_of(accept: str | None) -> bytes:
    """Lines of JSON for who prefers them by name, else server-sent events."""
    wanted = {EVENT_STREAM: 0.0, NDJSON: 0.0}
    for part in (accept or "").lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        quality = next((float(found[1]) for one in parameters if (found := _QUALITY.fullmatch(one))), 1.0)
        if name.encode() in wanted:
            wanted[name.encode()] = quality
    return NDJSON if wanted[NDJSON] > wanted[EVENT_STREAM] else EVENT_STREAM


def line_of(media_type: bytes) -> Line:
    return _json_line if media_type == NDJSON else _server_sent


def _json_line(index: int, word: str | None, text: bytes) -> bytes:  # noqa: ARG001  # the text says both
    return text + b"\n"


def _server_sent(index: int, word: str | None, text: bytes) -> bytes:
    named = b"" if word is None else b"event: %b\n" % word.encode()
    return b"id: %d\n%bdata: %b\n\n" % (index, named, text)


def entry(line: Line, index: int, previous: int | None, events: bytes) -> bytes:
    """`events`: a JSON array."""
    before = b"null" if previous is None else b"%d" % previous
    return line(index, None, b'{"type":"entry","index":%d,"prev_index":%b,"events":%b}' % (index, before, events))


def word(line: Line, name: Word, index: int, *, oldest_index: int | None = None) -> bytes:
    oldest = b"" if oldest_index is None else b',"oldest_index":%d' % oldest_index
    return line(index, name, b'{"type":"%b","index":%d%b}' % (name.encode(), index, oldest))
