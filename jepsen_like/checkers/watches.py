"""Watches: each stream showed the log under its filters: in order, without a gap or a repeat, entries whole.

The expected items are worked out from the final log (`showing.py`). `prev_index` names the item before. A bookmark
never stands for an item that was not delivered. A stream that resumes begins where the last one of its process ended.
Filters that cannot be worked out are not judged, and the finding says so.
"""

from itertools import pairwise

import msgspec
from msgspec import Struct, convert

from jepsen_like.checkers.complaints import Complaints, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.showing import Past, Showing
from jepsen_like.history.record import Operation


class _Asked(Struct, frozen=True, rename={"first": "from"}):
    first: int | None = None
    filters: dict[str, object] = {}


class _Item(Struct, frozen=True):
    index: int
    prev_index: int | None = None
    seqs: tuple[int, ...] = ()


class _Stream(Struct, frozen=True):
    items: tuple[_Item, ...] = ()
    bookmarks: tuple[int, ...] = ()
    ended: str | None = None


def check(evidence: Evidence) -> Finding:
    complaints = Complaints("watches")
    streams = [one for one in evidence.history.operations if one.f == "watch" and one.type == "ok"]
    if not streams:
        complaints.doubt("nobody watched")
    if evidence.log is None:
        complaints.doubt("nobody could be asked for the log")
        return complaints.finding("")
    past = Past(evidence.log)
    shows: dict[bytes, Showing | str] = {}
    places: dict[tuple[int, str, bytes], tuple[int, int]] = {}
    items = resumed = 0
    for one in streams:
        asked, stream = convert(one.value, _Asked), convert(one.result, _Stream)
        named = msgspec.json.encode(asked.filters, order="deterministic")
        if named not in shows:
            shows[named] = past.showing(asked.filters)
        wanted = shows[named]
        if isinstance(wanted, str):
            complaints.doubt(f"{wanted}: {tell(one)}")
            continue
        session = one.process, one.key, named
        if asked.first is not None and session in places:
            resumed += 1
            _resumes(one, asked.first, places[session], complaints)
        first = asked.first if asked.first is not None else (one.index or 0) + 1
        places[session] = _Judge(one, first, stream, wanted, complaints).judge(asked.first is not None)
        items += len(stream.items)
    return complaints.finding(
        f"{len(streams)} streams, {resumed} of them resumed, showed {items} entries without a gap or a repeat",
        {"streams": len(streams), "resumed": resumed, "items": items},
    )


def _resumes(one: Operation, first: int, place: tuple[int, int], complaints: Complaints) -> None:
    """`place`: the last item, and up to where everything was delivered, of the stream before."""
    if first > place[1] + 1:
        complaints.add("resumed-too-late", f"{tell(one)}: the stream before had delivered up to {place[1]}")
    elif first <= place[0]:
        complaints.add("resumed-too-early", f"{tell(one)}: the stream before had shown {place[0]}")


# --- one stream -------------------------------------------------------------------------------------
class _Judge:
    def __init__(self, one: Operation, first: int, stream: _Stream, shows: Showing, complaints: Complaints) -> None:
        self._one = one
        self._first = first
        self._stream = stream
        self._shows = shows
        self._complaints = complaints

    def judge(self, resumes: bool) -> tuple[int, int]:
        """The last item, and up to where everything was delivered."""
        items, bookmarks = self._stream.items, self._stream.bookmarks
        last = items[-1].index if items else self._first - 1
        covered = max([last, *bookmarks])
        self._order(resumes)
        self._gaps(last)
        for bookmark in bookmarks:
            ahead = [index for index in self._shows.between(last + 1, bookmark) if index >= self._first]
            if ahead:
                self._wrong("bookmark-ahead", f"bookmark {bookmark}, and index {ahead[0]} was not delivered")
        if any(after < before for before, after in pairwise(bookmarks)):
            self._wrong("bookmark-falls", f"bookmarks {list(bookmarks)[:20]}")
        return last, covered

    def _order(self, resumes: bool) -> None:
        before: _Item | None = None
        for item in self._stream.items:
            if before is not None and item.index <= before.index:
                kind = "repeat" if item.index == before.index else "disorder"
                self._wrong(kind, f"index {item.index} came after {before.index}")
            if before is not None:
                right = item.prev_index == before.index
            else:  # the one before may be too far back to be told
                right = item.prev_index is None or (resumes and item.prev_index == self._shows.before(self._first))
            if not right:
                came = "nothing" if before is None else before.index
                self._wrong("wrong-prev-index", f"index {item.index} says {item.prev_index}; before it came {came}")
            before = item

    def _gaps(self, last: int) -> None:
        shown = {item.index: item.seqs for item in self._stream.items}
        wanted = self._shows.between(self._first, last)
        for index in wanted:
            if index not in shown:
                self._wrong("gap", f"index {index} was not shown")
            elif shown[index] != self._shows.seqs[index]:
                self._wrong("split", f"of index {index} seqs {shown[index]} and not {self._shows.seqs[index]}")
        for index in sorted(shown.keys() - set(wanted)):
            self._wrong("not-wanted", f"index {index} is not in the log under these filters from {self._first} on")

    def _wrong(self, kind: str, text: str) -> None:
        shown = f"process {self._one.process}, stream of {self._one.node} from {self._first}, {self._one.value}"
        self._complaints.add(kind, f"{text} ({shown})")
