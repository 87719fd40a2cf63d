"""How the recorded log of format version 1 was made; every time, salt and id in it is fixed.

It never writes over a recorded log: what is recorded stays for ever, and a new format records a new one beside it.
"""

import struct
from pathlib import Path
from typing import Final

import msgspec
from replay_digest import FOLDER, digests, entries, frame, replayed

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
    Member,
    Members,
    Merge,
    Noop,
    Operation,
    Provenance,
    Put,
    Update,
)
from raftmem.limits import IDEMPOTENCY_KEEP_US_MAX, JSON_INTEGER_MAX
from raftmem.storage.contracts import LogEntry

ALICE: Final = Actor("agent", "alice")
BOB: Final = Actor("user", "bob é", "reviewer")
SYSTEM: Final = Actor("system", "raftmem")
WALL_MS: Final = 1_795_165_200_000
SECOND: Final = 1_000_000
Step = tuple[Operation, Content | None]


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _merge(path: str, op: str, by: object) -> Merge:
    return msgspec.convert([path, op, _json(by)], Merge)


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


def _members(r: Recorder) -> None:
    voters = tuple(Member(f"n{n}", f"tcp://127.0.0.1:910{n}", f"http://127.0.0.1:810{n}") for n in (1, 2, 3))
    r.raw(codec.membership(Members("5f2a9c01", 1, voters, 1000, 200), time=0, wall_ms=WALL_MS))
    r.leader()


def _adds(r: Recorder) -> None:
    whole = Fields(
        app_id="shop",
        user_id="ü",
        agent_id=None,
        tags=("deploy", "é\n"),
        memory_type="fact",
        claim_type="verified",
        confidence=0.9,
        importance=0.1,
        visibility="private",
        provenance=Provenance("https://example.org", ("x", "y"), ("r",), "because"),
        valid_at=0,
        invalid_at=JSON_INTEGER_MAX,
        ttl_ms=5000,
        pinned=True,
        embedding_model="toy-3",
    )
    content = Content(
        text="Prod \u2028 \U0001f512 \u0007 frozen",
        value=_json({"é": [1, 1.0, 1e21, 0.1, 5e-324, -0.0], "z": {"a": None, "A": True}, "n": JSON_INTEGER_MAX}),
        metadata=_json({"env": "prod", "n": 1.5}),
        embedding=struct.pack("<3f", 0.8, 0.6, 0.0),
    )
    r.run((Add("whole", whole, "noop", True), content), key="add-1", read_index=2)
    r.run((Add("twin", Fields(app_id="shop", user_id="ü"), "noop"), msgspec.structs.replace(content, metadata=None)))
    r.run((Add("whole", Fields()), Content(text="other")), guards=(Guard(memory="whole", version=9),))
    r.run((Add("value", Fields()), Content(value=_json({"n": 1, "l": [1, True, "a"], "o": {"x": 1.5}}))))
    r.run((Add("nothing", Fields()), Content()))
    r.run((Add("broken", Fields()), Content(value=b"{")))
    r.run((Add("deep", Fields()), Content(value=b"[" * 64 + b"]" * 64)))
    r.run((Add("deeper", Fields()), Content(value=b"[" * 65 + b"]" * 65)))
    r.run((Put("put", Fields(agent_id="planner", run_id="r1")), Content(text="first", metadata=b'{"a":1}')), actor=BOB)
    r.run((Put("put", Fields(tags=("x",))), Content(value=b"[1]")), guards=(Guard(memory="put", version=1),))
    r.run((Put("put", Fields(run_id="r2")), Content(text="moved")))
    r.run((Put("put", Fields()), Content(text="t")), guards=(Guard(memory="put", exists=False),))


def _updates(r: Recorder) -> None:
    r.run((Update("whole", Fields(confidence=0.95, ttl_ms=None, tags=None, pinned=None, visibility=None)), Content()))
    r.run((Update("whole", Fields()), Content(text="Prod is open")), key="upd", actor=BOB)
    vector = Content(embedding=struct.pack("<2f", -1.5, 3e-9))
    r.run((Update("whole", Fields(embedding_model="toy-2")), vector))
    r.run((Update("whole", Fields(provenance=None, claim_type=None)), Content(embedding=None, metadata=None)))
    r.run((Update("put", Fields()), Content(value=None)))
    r.run((Update("never", Fields()), Content(text="t")))
    r.run(
        (Update("whole", Fields()), Content(text="t")),
        guards=(Guard(memory="whole", version=5), Guard(memory="never", exists=True), Guard(memory="put", sha256="00")),
    )


def _merges(r: Recorder) -> None:
    r.run(change("value", _merge("value.n", "inc", 41), _merge("value.new.deep", "inc", -1)))
    r.run(change("value", _merge("value.o.x", "max", 2), _merge("value.o.y", "min", 0.25), _merge("value.n", "min", 7)))
    r.run(change("value", _merge("value.l", "append", {"é": []}), _merge("tags", "append", "späť")))
    r.run(change("value", _merge("value.l", "union", [1.0, False, {"é": []}, 2, 2]), _merge("tags", "union", ["b"])))
    r.run(change("value", _merge("value.l", "remove", [1, "a", "zz"]), _merge("tags", "remove", ["b", "c"])))
    r.run(change("value", _merge("value.é.ö", "set", [1e300, 1e16, 123456789012.5, '\u0000"\\\n\u007f'])))
    r.run(change("value", _merge("value.n", "inc", 1), _merge("value.l", "inc", 1)))
    r.run(change("value", _merge("value.n", "set", JSON_INTEGER_MAX), _merge("value.n", "inc", 1)))
    r.run(change("value", _merge("value" + ".a" * 64, "set", 1)))
    r.run(change("value", _merge("tags", "set", [str(n) for n in range(65)])))
    r.run(change("value", _merge("text", "set", 1)))
    r.run(change("value", _merge("value", "set", None)))


def _batches(r: Recorder) -> None:
    r.run(add("b1"), change("value", _merge("value.n", "inc", 1)), (Delete("b1"), None), add("b1", "again"))
    r.run(add("b2"), (Update("never", Fields()), Content(text="t")), (Delete("b1"), None))
    r.run(add("b3", "same"), add("b4", "same", "noop"), add("b3"), (Delete("never"), None), atomic=False, key="batch")
    r.run(add("b5"), (Delete("b1"), None), guards=(Guard(memory="b1", version=1),))
    r.run(add("b5"), add("b1"), guards=(Guard(memory="b1", version=1),), atomic=False)
    r.run(add("c1", "twice"), add("c2", "twice"))
    r.run((Delete("c1"), None), add("c3", "twice", "noop"))
    r.run()


def _keys_and_decisions(r: Recorder) -> None:
    r.run((Add("whole", Fields()), Content(text="t")), key="add-1")
    r.run(add("k1"), key="add-1", fingerprint=bytes(32))
    r.run(add("k2"), key="add-1", actor=BOB)
    r.run((Noop(Decision("llm", "whole", 0.97, "same fact"), "whole"), None), key="noop")
    r.run((Noop(Decision("person")), None))
    r.run((Noop(Decision("llm"), "never"), None))


def _ends(r: Recorder) -> None:
    r.leader()
    r.run((Delete("whole"), None), guards=(Guard(memory="whole", version=5),))
    r.run((Delete("whole"), None))
    r.run((Delete("never"), None))
    r.run((Add("whole", Fields(run_id="new")), Content(text="back")))
    r.run(
        (Put("lives", Fields(ttl_ms=1000)), Content(text="short")), (Add("ttl", Fields(ttl_ms=500)), Content(text="t"))
    )
    r.run((Expire("lives", 1), None), actor=SYSTEM)
    r.wait(2 * SECOND)
    r.run(*[(Expire(name, 1), None) for name in ("lives", "ttl", "value", "never")], atomic=False, actor=SYSTEM)
    r.run((Delete("ttl"), None), (Put("lives", Fields()), Content(text="second life")))
    r.wait(IDEMPOTENCY_KEEP_US_MAX)
    r.run(add("late"), key="late")
    r.run((Add("whole", Fields()), Content(text="t")), key="add-1")


def build() -> list[LogEntry]:
    r = Recorder()
    for part in (_members, _adds, _updates, _merges, _batches, _keys_and_decisions, _ends):
        part(r)
    return r.log


def main(folder: Path) -> None:
    log, digest = folder / "v1.log", folder / "v1.digest"
    if log.exists() or digest.exists():
        raise SystemExit(f"{log} is recorded: it stays as it is")
    log.write_bytes(b"".join(map(frame, build())))
    digest.write_text(digests(replayed(entries(log))))


if __name__ == "__main__":
    main(FOLDER)
