"""The walk over the pages of an LMDB file trusts no page of an unknown layout."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from raftmem.errors import Corrupt
from raftmem.storage.lmdb.environment import Environment
from raftmem.storage.lmdb.page_check import UnknownLayout, page_beyond

PAGE_BYTES = 4096
FLAGS_AT, MAGIC_AT, VERSION_AT = 10, 16, 20  # in a meta page


@pytest.fixture
def database(tmp_path: Path) -> tuple[Path, int]:
    """The file of a sound database, and its newest transaction."""
    with lmdb.open(str(tmp_path / "db"), max_dbs=2) as env:
        table = env.open_db(b"rows")
        with env.begin(write=True) as txn:
            for number in range(200):
                txn.put(number.to_bytes(2, "big"), b"x" * 5000, db=table)
        with env.begin() as txn:
            return tmp_path / "db" / "data.mdb", txn.id()


@pytest.fixture
def file(database: tuple[Path, int]) -> Iterator[int]:
    descriptor = os.open(database[0], os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_a_sound_file_has_all_its_pages_and_a_cut_one_lacks_some(database: tuple[Path, int], file: int) -> None:
    assert page_beyond(file, page_bytes=PAGE_BYTES, transaction=database[1]) is None
    os.ftruncate(file, database[0].stat().st_size // 2)
    assert page_beyond(file, page_bytes=PAGE_BYTES, transaction=database[1]) is not None


@pytest.mark.parametrize(
    ("at", "raw", "said"),
    [
        (MAGIC_AT, struct.pack("<I", 0xBEEFC0DF), "begins with magic 0xbeefc0df, LMDB's is 0xbeefc0de"),
        (VERSION_AT, struct.pack("<I", 2), "has LMDB data version 2, this program knows 1"),
        (VERSION_AT, struct.pack("<I", 999), "has LMDB data version 999, this program knows 1"),
        (FLAGS_AT, struct.pack("<H", 2), "begins with magic"),
    ],
)
def test_a_meta_page_of_another_layout_is_refused_before_any_page_is_read(
    database: tuple[Path, int], file: int, at: int, raw: bytes, said: str
) -> None:
    os.pwrite(file, raw, database[1] % 2 * PAGE_BYTES + at)
    with pytest.raises(UnknownLayout, match=said):
        page_beyond(file, page_bytes=PAGE_BYTES, transaction=database[1])


def test_an_environment_that_lacks_pages_and_has_another_layout_is_corrupt(
    database: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library refuses other versions itself; this is the day on which a newer library takes them."""
    os.truncate(database[0], database[0].stat().st_size // 2)
    monkeypatch.setattr("raftmem.storage.lmdb.page_check.DATA_VERSION", 3)
    with pytest.raises(Corrupt, match="cannot be checked: it has LMDB data version 1, this program knows 3"):
        Environment(database[0].parent, tables_max=2, durable=False, readonly=True)
