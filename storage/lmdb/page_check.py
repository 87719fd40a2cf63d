"""A check that an LMDB file holds every page that one transaction uses.

LMDB maps the file into memory. A page beyond the end of the file raises a signal that kills the process. The length of
the file alone cannot tell: pages that one transaction took and gave back are never written, and such pages may be
absent at the end of a sound file. So this module walks the trees of the transaction with plain reads, before LMDB
touches them.

It knows one layout (magic 0xBEEFC0DE, data version 1, 64 bit, little-endian) and refuses every other. It does not judge
keys or values. The rule that must hold: `page_beyond` returns None only if LMDB cannot reach a page that the file does
not hold.
"""

import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

META_BYTES_MIN: Final = 2 * 4096  # no database is shorter: two pages, of the smallest size that a machine has
MAGIC: Final = 0xBEEFC0DE  # `MDB_MAGIC` of mdb.c
DATA_VERSION: Final = 1  # `MDB_DATA_VERSION` of mdb.c
_META: Final = 8  # the page is a meta page
_NONE: Final = (1 << 64) - 1  # the root of an empty tree
_BRANCH: Final = 1
_LEAF: Final = 2
_IN_OVERFLOW: Final = 1  # the value stands in pages of its own
_TREE: Final = 2  # the value is a named table

_header = struct.Struct("<QHHHH")  # page number, pad, flags, lower, upper
_meta = struct.Struct("<10xH4x II16x 48s 48s QQ")  # flags, magic, version, free pages, tables, last page, transaction
_tree = struct.Struct("<4xHHQQQQQ")  # pad, flags, depth, branch pages, leaf pages, overflow pages, entries, root
_node = struct.Struct("<HHHH")  # low and high half of the value's size or the child's number, flags, size of the key
_page_number = struct.Struct("<Q")


class Replaced(Exception):
    """Another process has overwritten the meta page of that transaction; try again with a newer one."""


class UnknownLayout(Exception):
    """The file is not an LMDB database of the one version that this module knows; the text says what it is."""


class _Broken(Exception):
    """A page that is in use is damaged. Its number is reported, like that of a page beyond the end."""

    def __init__(self, page: int) -> None:
        super().__init__(page)
        self.page = page


class _Tree(NamedTuple):
    depth: int
    overflow_pages: int
    root: int


def page_beyond(file: int, *, page_bytes: int, transaction: int) -> int | None:
    """The number of a page that `transaction` uses and the file does not hold whole; None if there is none.

    `file`: a descriptor. Another process may write meanwhile, if a reader keeps the pages of `transaction`.
    Raises: Replaced, UnknownLayout.
    """
    raw = os.pread(file, _meta.size, transaction % 2 * page_bytes)
    if len(raw) < _meta.size:
        return transaction % 2
    flags, magic, version, free, tables, last, number = _meta.unpack(raw)
    if not flags & _META or magic != MAGIC:
        raise UnknownLayout(f"its meta page begins with magic {magic:#010x}, LMDB's is {MAGIC:#010x}")
    if version != DATA_VERSION:
        raise UnknownLayout(f"it has LMDB data version {version}, this program knows {DATA_VERSION}")
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
    """A walk that visits each page at most once: more visits than pages mean a circle in a damaged file."""

    def __init__(self, file: int, page_bytes: int, last: int) -> None:
        self._file = file
        self._page_bytes = page_bytes
        self._last = last
        self._whole = min(os.fstat(file).st_size // page_bytes, last + 1)  # pages that the file holds
        self._seen = 0

    def tree(self, tree: _Tree, *, has_tables: bool) -> None:
        """Check every page of one tree. Leaves are read only if they can name other pages."""
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
    """The offsets of the nodes in the page."""
    lower = _header.unpack_from(raw)[3]
    if not _header.size <= lower <= len(raw):
        raise _Broken(page)
    places = struct.unpack_from(f"<{(lower - _header.size) // 2}H", raw, _header.size)
    if places and max(places) + _node.size > len(raw):
        raise _Broken(page)
    return places
