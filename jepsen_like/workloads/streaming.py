"""One stream of `GET /v1/watch`, read for a while: the items that were delivered whole, and how it ended.

Rule: an item that was cut in the middle was not delivered.
"""

import http.client
import json
import time
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from msgspec import Struct, field

from jepsen_like.cluster.client import Trouble

NDJSON = "application/x-ndjson"
CONNECT_S = 3.0


class Item(Struct, frozen=True):
    """One entry of the log, as far as its filter shows it."""

    index: int
    prev_index: int | None
    seqs: tuple[int, ...]


class Delivered(Struct):
    """`ended`: a word of the replica's (`compacted`, `lagged`, `goodbye`), `lost`, or `enough`: its reader left.

    `refused`: why it never began. `index`: that the reply named. `bookmarks`: as they came.
    """

    items: list[Item] = field(default_factory=list)
    bookmarks: list[int] = field(default_factory=list)
    ended: str = "lost"
    refused: str | None = None
    index: int | None = None

    @property
    def covered(self) -> int:
        """Everything up to here has come; 0: nothing is known."""
        return max((0, *(item.index for item in self.items[-1:]), *self.bookmarks[-1:]))


class Reader:
    """Of one stream. `seconds`, `items`: when it is enough, whichever comes first."""

    def __init__(self, url: str, headers: Mapping[str, str], *, seconds: float, items: int) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=CONNECT_S)
        self._headers = dict(headers)
        self._deadline = time.monotonic() + seconds
        self._items_max = items
        self._found = Delivered()

    def read(self, first: int, filters: Mapping[str, str], *, by_event: bool) -> Delivered:
        """From that index on. `by_event`: as a browser resumes, else lines of JSON."""
        query = dict(filters)
        if by_event:
            self._headers["Last-Event-ID"] = str(first - 1)
        else:
            self._headers["Accept"] = NDJSON
            query["from"] = str(first)
        try:
            self._connection.connect()
            self._connection.request("GET", f"/v1/watch?{urlencode(query)}", headers=self._headers)
            line = self._connection.sock  # the reply may take it from the connection
            reply = self._connection.getresponse()
            if reply.status != 200:
                self._found.refused = _code(reply)
                return self._found
            self._found.index = int(reply.headers["Raftmem-Index"])
            while self._found.ended == "lost":
                left = self._deadline - time.monotonic()
                line.settimeout(max(left, 0.001))
                if left <= 0 or len(self._found.items) >= self._items_max:
                    self._found.ended = "enough"
                elif not self._take(reply.readline()):
                    break
        except TimeoutError:
            self._timed_out()
        except (OSError, http.client.HTTPException) as error:
            self._broke(error)
        finally:
            self._connection.close()
        return self._found

    def _timed_out(self) -> None:
        if self._found.index is None:
            self._found.refused = "timeout"
        else:
            self._found.ended = "enough"

    def _broke(self, error: Exception) -> None:
        if self._found.index is None:
            self._found.refused = f"lost: {type(error).__name__}"

    def _take(self, line: bytes) -> bool:
        """Takes the next line; True if there may be more."""
        if not line.endswith(b"\n"):
            return False
        text = line.removeprefix(b"data: ")
        if not text.startswith(b"{"):
            return True  # the other lines of a server-sent event
        item = json.loads(text)
        match item:
            case {"type": "entry", "index": int(index), "prev_index": int() | None as before, "events": list(events)}:
                self._found.items.append(Item(index, before, tuple(event["seq"] for event in events)))
            case {"type": "bookmark", "index": int(index)}:
                self._found.bookmarks.append(index)
            case {"type": "compacted" | "lagged" | "goodbye" as word}:
                self._found.ended = word
            case _:
                raise Trouble(f"a stream says {text[:300]!r}")
        return True


def _code(reply: http.client.HTTPResponse) -> str:
    """Of the problem that was answered."""
    body = reply.read()
    found = json.loads(body) if "json" in reply.headers.get("Content-Type", "") else {}
    return str(found.get("code", reply.status))
