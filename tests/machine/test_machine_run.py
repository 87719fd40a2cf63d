"""`step_entry`: order, digest byte by byte, purity, and no dependence on the process it runs in."""

import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from machine_world import (
    World,
    acquire,
    add,
    add_task,
    approve,
    claim,
    command,
    complete,
    delete,
    expire,
    gate_put,
    noop,
    release,
    txn,
    update,
)

from raftmem.errors import Corrupt
from raftmem.machine import apply
from raftmem.machine.run import step_entry
from raftmem.model import codec
from raftmem.model.commands import Guard, Members
from raftmem.model.digest import GENESIS
from raftmem.model.records import PutContent, PutRecord, PutRow
from raftmem.storage.state.in_memory import InMemoryStateStore


@pytest.mark.parametrize("index", [0, 1, 3])
def test_an_entry_that_is_not_the_next_stops(index: int) -> None:
    world = World()
    world.one(noop())
    with world.store.write() as writer, pytest.raises(Corrupt, match="stands at index 1"):
        step_entry(writer, index, 1, world.log[0])
    assert world.store.head().index == 1


def test_an_entry_of_an_older_term_stops() -> None:
    world = World()
    world.feed(codec.no_op(time=1, wall_ms=1), term=3)
    with pytest.raises(Corrupt, match="term 2 after an entry of term 3"):
        world.feed(codec.no_op(time=1, wall_ms=1), term=2)


@pytest.mark.parametrize("data", [b"", b"\x00" * 18, b"\x07\x01" + b"\0" * 16, b"\x00\x02" + b"\0" * 16])
def test_bytes_that_are_no_entry_stop_with_the_index(data: bytes) -> None:
    with pytest.raises(Corrupt) as stopped:
        World().feed(data)
    assert stopped.value.index == 1


def test_the_head_counts_memories_and_keys() -> None:
    world = World()
    world.run(add("a", text="t", ttl_ms=0), add("b", text="t"), key="k")
    world.one(update("a", text="u"))
    world.run(delete("b"), add("b", text="v"))
    assert (world.store.head().memories, world.store.head().keys) == (2, 1)
    world.run(delete("b"), expire("a", 2))
    assert world.store.head().memories == 0


def test_the_digest_is_as_documented() -> None:
    """`docs/format.md`, Digest, again with nothing but a hash and msgpack; content only by its hashes."""
    world = World()
    world.feed(codec.membership(Members("c", 1, (), 1000, 200), time=1, wall_ms=1))
    world.run(add("a", text="t", value={"n": 1}, embedding=[1.0, 2.0]), noop(), add("b", text="t"), key="k")
    world.run(update("a", merge={"value.n": ("inc", 1)}), delete("b"))
    world.run(acquire("l", "o", metadata={"m": 1}), gate_put("g", pins={"a": 2}), add_task("t", payload=1))
    world.run(release("l", "o", 4), update("a", text="u"), claim(), approve("g", "c"))
    world.run(*txn([delete("never")], [complete("t", 5, {"r": 1})]), key="l", guards=(Guard(lock="l", token=4),))
    previous = GENESIS
    replayed = World()
    for index, data in enumerate(world.log, start=1):
        step = replayed.feed(data).step
        entry = codec.decode(data)
        changes: list[object] = []
        for change in step.changes:
            if isinstance(change, PutRecord):
                fields = list(msgspec.structs.astuple(change.record))
                for name, bare in {"text": None, "value": None, "metadata": b"", "sha256": b""}.items():
                    fields[change.record.__struct_fields__.index(name)] = bare
                changes.append(["record", fields, change.content_hash])
            elif isinstance(change, PutRow):
                changes.append(["thing", change.key, change.new])
            elif isinstance(change, PutContent):
                changes.append(["content", [change.at.index, change.at.seq]])
            else:
                changes.append(change)
        outcomes = [
            list(msgspec.structs.astuple(outcome))[: 10 if outcome.about is None else 11]
            for outcome in step.result.outcomes
        ]
        slots = [
            b"\0" * 32 if slot is None else hashlib.blake2b(slot, digest_size=32, person=b"raftmem.slot").digest()
            for slot in entry.slots
        ]
        text = b"".join(
            [
                previous,
                struct.pack(">QQI", index, 1, len(entry.header_bytes)),
                data[:18],
                entry.header_bytes,
                struct.pack(">I", len(slots)),
                *slots,
                msgspec.msgpack.encode([[outcomes, step.result.replay_of], changes]),
            ]
        )
        previous = hashlib.blake2b(text, digest_size=32, person=b"raftmem.digest").digest()
        row = world.store.read().event(index)
        assert row is not None
        assert row.digest == previous
        assert all(outcome.applied for outcome in row.result.outcomes)


def test_the_hash_of_content_is_as_documented() -> None:
    world = World()
    world.run(add("a", text="t", value=[1], metadata={"m": 1}, embedding=[1.0]), update("a", confidence=0.5))
    assert world.last is not None
    first, second = (change for change in world.last.step.changes if isinstance(change, PutRecord))
    sha256 = hashlib.sha256(b'{"text":"t","value":[1]}').digest()
    for change, seq, vector in ((first, 0, b"\0\0\x80\x3f"), (second, 1, None)):
        fields = [struct.pack(">QQ", 1, seq), "t", b"[1]", b'{"m":1}', sha256, vector]
        assert (
            change.content_hash
            == hashlib.blake2b(msgspec.msgpack.encode(fields), digest_size=32, person=b"raftmem.content").digest()
        )


def test_the_same_entry_on_equal_states_gives_equal_steps() -> None:
    one, other = World(), World(InMemoryStateStore())
    for world in (one, other):
        world.run(add("a", text="t", value={"n": 1, "l": [1]}), add("b", text="t", tags=("x",)))
    data = command(
        [
            update("a", merge={"value.l": ("union", [2, 1.0]), "tags": ("append", "z")}),
            add("c", text="t", on_duplicate="noop"),
            delete("b"),
        ],
        time=one.time + 5,
        key="k",
    )
    entry = codec.decode(data)
    steps = [apply(world.store.read(), 2, 1, entry) for world in (one, other, one)]
    assert steps[0] == steps[1] == steps[2]
    assert one.store.head() == other.store.head()


SCRIPT = Path(__file__).parents[1] / "recorded" / "replay_digest.py"


def test_the_digest_does_not_depend_on_the_hash_seed() -> None:
    def digest(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return run.stdout

    assert digest("1") == digest("4242") != ""
