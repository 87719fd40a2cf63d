"""What recorded logs are written with: a log under way, and short words for operations. Nothing here is random."""

import struct
from typing import Final

import msgspec

from raftmem.model import codec
from raftmem.model.commands import (
    Actor,
    Add,
    Content,
    Draft,
    Fields,
    Guard,
    Header,
    Idempotency,
    Member,
    Members,
    Merge,
    Operation,
    Update,
)
from raftmem.storage.log.contract import LogEntry

ALICE: Final = Actor("agent", "alice")
BOB: Final = Actor("user", "bob é", "reviewer")
SYSTEM: Final = Actor("system", "raftmem")
WALL_MS: Final = 1_795_165_200_000
SECOND: Final = 1_000_000
Step = tuple[Operation, Content | None]


def json(value: object) -> bytes:
    return msgspec.json.encode(value)


def merge(path: str, op: str, by: object) -> Merge:
    return msgspec.convert([path, op, json(by)], Merge)


class Recorder:
    """The log so far. Log time starts at 0 and moves by `wait`."""

    def __init__(self) -> None:
        self.log: list[LogEntry] = []
        self.time = 0
        self.term = 1

    def wait(self, microseconds: int) -> None:
        self.time += microseconds

    def raw(self, data: bytes) -> None:
        self.log.append(LogEntry(len(self.log) + 1, self.term, data))

    def leader(self) -> None:
        self.term += 1
        self.raw(codec.no_op(time=self.time, wall_ms=WALL_MS + self.time // 1000))

    def run(
        self,
        *steps: Step,
        guards: tuple[Guard, ...] = (),
        atomic: bool = True,
        key: str | None = None,
        actor: Actor = ALICE,
        fingerprint: bytes = bytes(range(32)),
        read_index: int | None = None,
    ) -> None:
        self.wait(1000)
        index = len(self.log) + 1
        idempotency = None if key is None else Idempotency(key, fingerprint)
        operations = tuple(operation for operation, _ in steps)
        header = Header(actor, f"req-{index}", operations, guards, atomic, idempotency, read_index)
        seq = iter(range(len(steps)))
        body = codec.encode_draft(
            Draft(header, tuple(content for _, content in steps)), lambda _: struct.pack(">QQ", index, next(seq))
        )
        self.raw(codec.seal(body, time=self.time, wall_ms=WALL_MS + self.time // 1000))


def add(memory_id: str, text: str | None = "t", on_duplicate: str | None = None) -> Step:
    return msgspec.convert(["ADD", memory_id, {}, on_duplicate], Add), Content(text=text)


def change(memory_id: str, *merges: Merge) -> Step:
    return Update(memory_id, Fields()), Content(merge=merges)


def members(r: Recorder) -> None:
    voters = tuple(Member(f"n{n}", f"tcp://127.0.0.1:910{n}", f"http://127.0.0.1:810{n}") for n in (1, 2, 3))
    r.raw(codec.membership(Members("5f2a9c01", 1, voters, 1000, 200), time=0, wall_ms=WALL_MS))
    r.leader()
