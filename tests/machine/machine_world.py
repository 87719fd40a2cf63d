"""What the machine tests are written in: short words for operations, and a state that runs commands on itself."""

import struct
from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from raftmem import codec
from raftmem.commands import (
    Actor,
    Add,
    Content,
    Decision,
    Delete,
    Draft,
    Expire,
    Fields,
    Guard,
    Header,
    Idempotency,
    Merge,
    Noop,
    Operation,
    Put,
    Update,
)
from raftmem.machine.run import Applied, step_entry
from raftmem.records import Outcome, Record
from raftmem.storage.contracts import StateStore
from raftmem.storage.memory_state import MemoryStateStore

ALICE = Actor("agent", "alice")
BOB = Actor("agent", "bob")
SECOND = 1_000_000  # of log time

Step = tuple[Operation, Content | None]


def json(value: object) -> bytes:
    return msgspec.json.encode(value)


def floats(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def _content(given: dict[str, object]) -> Content:
    """Take the words of `given` that are content out of it. `value`, `metadata` and merges are plain values."""
    words = {name: given.pop(name) for name in ("text", "value", "metadata", "embedding", "merge") if name in given}
    for name in ("value", "metadata"):
        if words.get(name) is not None:
            words[name] = json(words[name])
    if isinstance(words.get("embedding"), list):
        words["embedding"] = floats(*words["embedding"])  # type: ignore[misc]  # lists of floats by construction
    if isinstance(words.get("merge"), dict):
        merges = words["merge"]
        assert isinstance(merges, dict)
        words["merge"] = tuple(Merge(path, op, json(by)) for path, (op, by) in merges.items())
    return msgspec.convert(words, Content)


def add(memory_id: str, *, on_duplicate: str | None = None, **given: object) -> Step:
    content = _content(given)
    return Add(memory_id, Fields(**given), on_duplicate), content  # type: ignore[arg-type]  # words of the test


def put(memory_id: str, **given: object) -> Step:
    content = _content(given)
    return Put(memory_id, Fields(**given)), content  # type: ignore[arg-type]  # words of the test


def update(memory_id: str, **given: object) -> Step:
    content = _content(given)
    return Update(memory_id, Fields(**given)), content  # type: ignore[arg-type]  # words of the test


def delete(memory_id: str) -> Step:
    return Delete(memory_id), None


def noop(memory_id: str | None = None, by: str = "llm") -> Step:
    return Noop(Decision(by, reason="same fact"), memory_id), None


def expire(memory_id: str, version: int) -> Step:
    return Expire(memory_id, version), None


def command(
    steps: Sequence[Step],
    *,
    time: int,
    wall_ms: int = 0,
    salt: int = 0,
    guards: tuple[Guard, ...] = (),
    atomic: bool = True,
    key: str | None = None,
    fingerprint: bytes = b"f" * 32,
    actor: Actor = ALICE,
) -> bytes:
    """The bytes of an entry; every slot gets a salt of its own made from `salt`."""
    header = Header(
        actor,
        "req",
        tuple(operation for operation, _ in steps),
        guards,
        atomic,
        None if key is None else Idempotency(key, fingerprint),
    )
    count = iter(range(len(steps)))
    body = codec.encode_draft(
        Draft(header, tuple(content for _, content in steps)),
        lambda size: struct.pack(">QQ", salt, next(count))[:size],
    )
    return codec.seal(body, time=time, wall_ms=wall_ms)


class World:
    """A state and its log. Time stands still unless `later` moves it."""

    def __init__(self, store: StateStore | None = None) -> None:
        self.store: StateStore = MemoryStateStore() if store is None else store
        self.time = 1_000 * SECOND
        self.log: list[bytes] = []
        self.last: Applied | None = None

    def later(self, *, ms: int) -> None:
        self.time += ms * 1000

    @property
    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self.time // 1000

    def run(
        self,
        *steps: Step,
        guards: tuple[Guard, ...] = (),
        atomic: bool = True,
        key: str | None = None,
        fingerprint: bytes = b"f" * 32,
        actor: Actor = ALICE,
    ) -> tuple[Outcome, ...]:
        index = self.store.head().index + 1
        data = command(
            steps,
            time=self.time,
            wall_ms=self.wall_ms,
            salt=index,
            guards=guards,
            atomic=atomic,
            key=key,
            fingerprint=fingerprint,
            actor=actor,
        )
        return self.feed(data).row.result.outcomes

    def one(self, step: Step, **words: object) -> Outcome:
        """The outcome of a single operation."""
        (outcome,) = self.run(step, **words)  # type: ignore[arg-type]  # words of `run`
        return outcome

    def feed(self, data: bytes, *, term: int = 1) -> Applied:
        with self.store.write() as writer:
            self.last = step_entry(writer, writer.head.index + 1, term, data)
        self.log.append(data)
        return self.last

    def memory(self, memory_id: str) -> Record:
        record = self.store.read().memory(memory_id)
        assert record is not None, memory_id
        return record

    def value(self, memory_id: str) -> object:
        value = self.memory(memory_id).value
        return UNSET if value is None else msgspec.json.decode(value)

    @property
    def changes(self) -> int:
        """How many changes the last entry made."""
        assert self.last is not None
        return len(self.last.step.changes)
