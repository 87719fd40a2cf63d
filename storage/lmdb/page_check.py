"""The pages of an LMDB file as they stand on disk: whether all that are in use lie within the file.

The library maps the file, and a page beyond its end is a signal that kills the process. The length alone says too
little: pages that were taken and given back within one transaction are never written, and at the end of the file they
are simply absent. So the trees of one transaction are walked here, by reads, before the library touches them.

It knows what it must of the format (data version 1, 64 bit, little-endian) and judges no content. The rule that must
hold: `page_beyond` is None only if the library can reach no page that the file does not hold.
"""

import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

META_BYTES_MIN: Final = 2 * 4096  # no database is shorter: two pages, of the smallest size that a machine has
_NONE: Final = (1 << 64) - 1  # the root of an empty tree
_BRANCH: Final = 1
_LEAF: Final = 2
_IN_OVERFLOW: Final = 1  # the value stands in pages of its own
_TREE: Final = 2  # the value is a named table

_header = struct.Struct("<QHHHH")  # page number, pad, flags, lower, upper
_meta = struct.Struct("<16x 24x 48s 48s QQ")  # header, magic to map size, free pages, tables, last page, transaction
_tree = struct.Struct("<4xHHQQQQQ")  # pad, flags, depth, branch pages, leaf pages, overflow pages, entries, root
_node = struct.Struct("<HHHH")  # low and high half of the value's size or the child's number, flags, size of the key
_page_number = struct.Struct("<Q")


class Replaced(Exception):
    """A writer beside has overwritten the meta page of that transaction: look at a newer one."""


class _Broken(Exception):
    """A page that is in use is none: the number is what matters, like that of one beyond the end."""

    def __init__(self, page: int) -> None:
        super().__init__(page)
        self.page = page


class _Tree(NamedTuple):
    depth: int
    overflow_pages: int
    root: int


def page_beyond(file: int, *, page_bytes: int, transaction: int) -> int | None:
    """A page that `transaction` uses and that the file does not hold whole; None when there is none.

    `file`: a descriptor. A writer beside may go on only if it keeps the pages of `transaction` for a reader.
    Raises: Replaced.
    """
    raw = os.pread(file, _meta.size, transaction % 2 * page_bytes)
    if len(raw) < _meta.size:
        return transaction % 2
    free, tables, last, number = _meta.unpack(raw)
    if number != transaction:
        raise Replaced
    walk = _Walk(file, page_bytes, last)
    try:
        walk.tree(_tree_of(free), has_tables=False)
        walk.tree(_tree_of(tables), has_tables=True)
    except _Broken as broken:
        return broken.page
    return None


def _tree_of(raw: bytes) -> _Tree:
    _, depth, _, _, overflow_pages, _, root = _tree.unpack(raw)
    return _Tree(depth, overflow_pages, root)


class _Walk:
    """Every page is looked at once at most; more than there are would be a circle in a damaged file."""

    def __init__(self, file: int, page_bytes: int, last: int) -> None:
        self._file = file
        self._page_bytes = page_bytes
        self._last = last
        self._whole = min(os.fstat(file).st_size // page_bytes, last + 1)  # pages that the file holds
        self._seen = 0

    def tree(self, tree: _Tree, *, has_tables: bool) -> None:
        """Leaves are only read where something else is named in them."""
        if tree.root == _NONE:
            return
        level, is_read = [tree.root], has_tables or tree.overflow_pages > 0
        for _ in range(tree.depth - 1):
            level = [child for page in level for child in self._children(page)]
        for leaf in level:
            self._check(leaf)
            if is_read:
                self._values(leaf, has_tables=has_tables)

    def _check(self, page: int, count: int = 1) -> None:
        self._seen += 1
        if page + count > self._whole or page < 2 or self._seen > self._last:
            raise _Broken(page)

    def _children(self, page: int) -> Iterator[int]:
        self._check(page)
        raw = self._read(page, _BRANCH)
        for at in _nodes(page, raw):
            low, high, top, _ = _node.unpack_from(raw, at)
            yield low | high << 16 | top << 32

    def _values(self, page: int, *, has_tables: bool) -> None:
        raw = self._read(page, _LEAF)
        for at in _nodes(page, raw):
            low, high, flags, key_bytes = _node.unpack_from(raw, at)
            size, start = low | high << 16, at + _node.size + key_bytes
            is_table = has_tables and flags & _TREE
            if not is_table and not flags & _IN_OVERFLOW:
                continue
            if start + (_tree.size if is_table else _page_number.size) > len(raw):
                raise _Broken(page)
            if is_table:
                self.tree(_tree_of(raw[start : start + _tree.size]), has_tables=False)
            else:
                first: int = _page_number.unpack_from(raw, start)[0]
                self._check(first, -(-(_header.size + size) // self._page_bytes))

    def _read(self, page: int, kind: int) -> bytes:
        raw = os.pread(self._file, self._page_bytes, page * self._page_bytes)
        if len(raw) < self._page_bytes:
            raise _Broken(page)
        number, _, flags, _, _ = _header.unpack_from(raw)
        if number != page or not flags & kind:
            raise _Broken(page)
        return raw


def _nodes(page: int, raw: bytes) -> tuple[int, ...]:
    """Where in the page its nodes begin."""
    lower = _header.unpack_from(raw)[3]
    if not _header.size <= lower <= len(raw):
        raise _Broken(page)
    places = struct.unpack_from(f"<{(lower - _header.size) // 2}H", raw, _header.size)
    if places and max(places) + _node.size > len(raw):
        raise _Broken(page)
    return places
