"""The saved index: caught up from when it fits, rebuilt when anything is in doubt, never half replaced."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from vector_world import Inline, World, asking, find, floats_of, seen

from raftmem.storage.vectors.index import FaissVectorIndex


def opened(folder: Path, world: World) -> FaissVectorIndex:
    return FaissVectorIndex.open(folder, world.reader(), executor=Inline(), snapshot=world.store.read_private)


def filled() -> World:
    world = World()
    for number in range(6):
        world.add(f"m{number}", floats_of(number, 1), tags=(f"t{number % 2}",))
    world.add("other", floats_of(1, 0, 0))
    return world


def check(index: FaissVectorIndex, world: World) -> None:
    assert index.index == world.index
    assert index.audit(world.reader()) == []
    hits = seen(find(index, asking(floats_of(1, 0)), world.reader()))
    assert hits[0][0] == max(memory_id for memory_id, _ in hits)


def test_saved_index_is_opened_as_it_was(tmp_path: Path) -> None:
    world = filled()
    opened(tmp_path, world).save()
    index = opened(tmp_path, world)
    assert index.origin == "caught up from index 7 to 7"
    check(index, world)


def test_what_came_after_the_save_is_caught_up(tmp_path: Path) -> None:
    world = filled()
    opened(tmp_path, world).save()
    world.delete("m1")
    world.update("m2", floats_of(2, 2))
    world.update("m3", tags=("new",))
    world.delete("m4")
    world.add("m4", floats_of(9, 9))
    world.add("m9", floats_of(9, 1))
    world.delete("other")
    index = opened(tmp_path, world)
    assert index.origin == "caught up from index 7 to 14"
    check(index, world)
    index.save()
    check(opened(tmp_path, world), world)


def test_save_at_the_same_index_writes_nothing(tmp_path: Path) -> None:
    world = filled()
    index = opened(tmp_path, world)
    index.save()
    (tmp_path / "manifest.json").unlink()
    index.save()
    assert not (tmp_path / "manifest.json").exists()


def test_new_save_leaves_only_its_own_files(tmp_path: Path) -> None:
    world = filled()
    index = opened(tmp_path, world)
    index.save()
    world.add("m7", floats_of(7, 1))
    index.apply(world.index, world.take()[-1:])
    index.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2-8.rows", "3-8.rows", "manifest.json"]
    check(opened(tmp_path, world), world)


def test_kill_before_the_manifest_leaves_the_old_save(tmp_path: Path) -> None:
    world = filled()
    index = opened(tmp_path, world)
    index.save()
    manifest = (tmp_path / "manifest.json").read_bytes()
    world.add("m7", floats_of(7, 1))
    (tmp_path / "2-8.rows").write_bytes(b"half")
    (tmp_path / "manifest.json.new").write_bytes(manifest[:9])
    index = opened(tmp_path, world)
    assert index.origin == "caught up from index 7 to 8"
    check(index, world)


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def _rewrite(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    path.write_bytes(msgspec.json.encode(manifest | fields))


DOUBTS: dict[str, Callable[[Path], object]] = {
    "not there": lambda folder: (folder / "manifest.json").unlink(),
    "2-7.rows is not there": lambda folder: (folder / "2-7.rows").unlink(),
    "another checksum": lambda folder: _flip(folder / "2-7.rows", -1),
    "3-7.rows has another checksum": lambda folder: _flip(folder / "3-7.rows", 0),
    "bytes, not": lambda folder: (folder / "2-7.rows").write_bytes(b""),
    "malformed": lambda folder: (folder / "manifest.json").write_bytes(b"{'"),
    "format 2": lambda folder: _rewrite(folder, format=2),
    "the state is at 7": lambda folder: _rewrite(folder, index=8),
    "another history": lambda folder: _rewrite(folder, digest="00" * 32),
    "digest at index 6 differs": lambda folder: _rewrite(folder, index=6),
    "unknown field": lambda folder: _rewrite(folder, more=1),
    "the manifest names": lambda folder: _rewrite(
        folder, files=[{"dimension": 2, "rows": 1, "name": "../x", "checksum": ""}]
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_saved_index_in_doubt_is_rebuilt_from_the_state(tmp_path: Path, doubt: str) -> None:
    world = filled()
    opened(tmp_path, world).save()
    DOUBTS[doubt](tmp_path)
    index = opened(tmp_path, world)
    assert index.origin.startswith("rebuilt from the state at index 7: ")
    assert doubt in index.origin
    check(index, world)
    index.save()
    assert opened(tmp_path, world).origin == "caught up from index 7 to 7"


def test_prepared_save_is_of_its_moment(tmp_path: Path) -> None:
    world = filled()
    index = opened(tmp_path, world)
    world.take()
    run = index.prepare_save()
    world.delete("m5")
    index.apply(world.index, world.take())
    run()
    index = opened(tmp_path, world)
    assert index.origin == "caught up from index 7 to 8"
    check(index, world)


def test_save_that_fails_leaves_the_old_save(tmp_path: Path) -> None:
    world = filled()
    index = opened(tmp_path, world)
    index.save()
    world.add("m7", floats_of(7, 1))
    index.apply(world.index, world.take()[-1:])
    (tmp_path / "2-8.rows").mkdir()
    with pytest.raises(OSError, match=r"2-8\.rows"):
        index.save()
    index = opened(tmp_path, world)
    assert index.origin == "caught up from index 7 to 8"
    check(index, world)
