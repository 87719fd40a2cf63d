"""The saved vector index: one file of rows a dimension, and a manifest. A start need not normalise the vectors again.

The files are only a cache of the state. If anything is not exactly as written (missing, short, another checksum, newer
than the state, or of another history), `load` returns no rows and the reason; it never repairs. One rename replaces the
manifest after its files are on disk, so a kill at any instant leaves the old set or the new one.

File: created (u64 x n), vector_at (u64 x n), rows (float32 x n x dimension, L2-normalised); little-endian.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from raftmem.model.records import Head
from raftmem.storage.atomic_file import write_atomic
from raftmem.storage.state.contract import StateReader
from raftmem.storage.vectors.cosine import BLOCK_ROWS, FLOAT_BYTES
from raftmem.storage.vectors.faiss_index import FlatIndex
from raftmem.storage.vectors.rows import Frozen

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_SUFFIX: Final = ".rows"

Packed = NDArray[np.uint64]


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    dimension: int
    rows: int
    name: str
    checksum: str  # BLAKE2b-256, hex


class _Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """`digest`: of the state at `index`, hex; pins the history that the rows belong to."""

    format: int
    index: int
    digest: str
    files: tuple[_File, ...]


class Saved(NamedTuple):
    """The rows of one dimension as they were saved; position i is (created[i], vector_at[i])."""

    flat: FlatIndex
    created: Packed
    vector_at: Packed


class Loaded(NamedTuple):
    """`doubt`: why nothing was loaded, in words; None when all was."""

    saved_at: int
    dimensions: dict[int, Saved]
    doubt: str | None


# --- save -----------------------------------------------------------------------------------------
def save(folder: Path, head: Head, dimensions: Iterable[Frozen]) -> None:
    """On disk (fsync) when this returns. Any thread, one at a time.

    Raises: OSError, StorageFailed (of a sync); what was saved before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = tuple(_save_rows(folder, head.index, frozen) for frozen in dimensions)
    manifest = _Manifest(FORMAT, head.index, head.digest.hex(), files)
    write_atomic(folder / MANIFEST, msgspec.json.encode(manifest))
    named = {file.name for file in files}
    for path in folder.glob("*" + _SUFFIX):
        if path.name not in named:
            path.unlink()


def _save_rows(folder: Path, index: int, frozen: Frozen) -> _File:
    live = frozen.live()
    dimension = frozen.capture.dimension
    name = f"{dimension}-{index}{_SUFFIX}"
    checksum = hashlib.blake2b(digest_size=32)
    with (folder / name).open("wb") as file:
        for identities in (frozen.created, frozen.vector_at):
            part = np.frombuffer(identities, dtype=np.uint64)[live].astype("<u8").tobytes()
            checksum.update(part)
            file.write(part)
        for start in range(0, len(live), BLOCK_ROWS):
            part = frozen.capture.rows(live[start : start + BLOCK_ROWS]).astype("<f4", copy=False).tobytes()
            checksum.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return _File(dimension, len(live), name, checksum.hexdigest())


# --- load -----------------------------------------------------------------------------------------
def load(folder: Path, reader: StateReader) -> Loaded:
    """Load the saved rows, if they belong to the history of this state. Never raises for the files on disk."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest)
        _check_history(manifest, reader)
        saved = {file.dimension: _load_rows(folder, file) for file in manifest.files}
    except FileNotFoundError as error:
        return Loaded(0, {}, f"{error.filename} is not there")
    except (OSError, ValueError, msgspec.DecodeError) as error:
        return Loaded(0, {}, f"{folder}: {error}")
    return Loaded(saved_at=manifest.index, dimensions=saved, doubt=None)


def _check_history(manifest: _Manifest, reader: StateReader) -> None:
    if manifest.format != FORMAT:
        raise ValueError(f"format {manifest.format}, this program knows {FORMAT}")
    head = reader.head
    if manifest.index > head.index:
        raise ValueError(f"saved at index {manifest.index}, the state is at {head.index}")
    row = head if manifest.index == head.index else reader.event(manifest.index)
    if row is None or row.digest.hex() != manifest.digest:
        raise ValueError(f"saved from another history: the digest at index {manifest.index} differs")


def _load_rows(folder: Path, file: _File) -> Saved:
    if "/" in file.name or file.dimension < 1 or file.rows < 0:
        raise ValueError(f"the manifest names {file.name!r} with {file.rows} rows of {file.dimension}")
    path = folder / file.name
    size = file.rows * (16 + FLOAT_BYTES * file.dimension)
    if path.stat().st_size != size:
        raise ValueError(f"{file.name} has {path.stat().st_size} bytes, not {size}")
    checksum = hashlib.blake2b(digest_size=32)
    flat = FlatIndex(file.dimension, room_rows=file.rows)
    with path.open("rb") as source:
        identities = source.read(16 * file.rows)
        checksum.update(identities)
        while part := source.read(BLOCK_ROWS * FLOAT_BYTES * file.dimension):
            checksum.update(part)
            flat.add(np.frombuffer(part, dtype="<f4").reshape(-1, file.dimension).astype(np.float32, copy=False))
    if checksum.hexdigest() != file.checksum:
        raise ValueError(f"{file.name} has another checksum than the manifest says")
    created, vector_at = np.frombuffer(identities, dtype="<u8").reshape(2, file.rows)
    return Saved(flat, created, vector_at)
