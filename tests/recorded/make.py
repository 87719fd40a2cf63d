"""How the recorded logs of format version 1 were made; every time, salt and id in them is fixed.

It never writes over a recorded log: what is recorded stays for ever, and a new format records a new one beside it.
"""

import struct
from pathlib import Path
from typing import Final

import msgspec
from coordination_log import coordination
from recorder import BOB, SECOND, SYSTEM, Recorder, add, change, json, members, merge
from replay_digest import FOLDER, digests, entries, frame, replayed

from raftmem.limits import IDEMPOTENCY_KEEP_US_MAX, JSON_INTEGER_MAX
from raftmem.model.commands import Add, Content, Decision, Delete, Expire, Fields, Guard, Noop, Provenance, Put, Update
from raftmem.storage.log.contract import LogEntry


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
        value=json({"é": [1, 1.0, 1e21, 0.1, 5e-324, -0.0], "z": {"a": None, "A": True}, "n": JSON_INTEGER_MAX}),
        metadata=json({"env": "prod", "n": 1.5}),
        embedding=struct.pack("<3f", 0.8, 0.6, 0.0),
    )
    r.run((Add("whole", whole, "noop", True), content), key="add-1", read_index=2)
    r.run((Add("twin", Fields(app_id="shop", user_id="ü"), "noop"), msgspec.structs.replace(content, metadata=None)))
    r.run((Add("whole", Fields()), Content(text="other")), guards=(Guard(memory="whole", version=9),))
    r.run((Add("value", Fields()), Content(value=json({"n": 1, "l": [1, True, "a"], "o": {"x": 1.5}}))))
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
    r.run(change("value", merge("value.n", "inc", 41), merge("value.new.deep", "inc", -1)))
    r.run(change("value", merge("value.o.x", "max", 2), merge("value.o.y", "min", 0.25), merge("value.n", "min", 7)))
    r.run(change("value", merge("value.l", "append", {"é": []}), merge("tags", "append", "späť")))
    r.run(change("value", merge("value.l", "union", [1.0, False, {"é": []}, 2, 2]), merge("tags", "union", ["b"])))
    r.run(change("value", merge("value.l", "remove", [1, "a", "zz"]), merge("tags", "remove", ["b", "c"])))
    r.run(change("value", merge("value.é.ö", "set", [1e300, 1e16, 123456789012.5, '\u0000"\\\n\u007f'])))
    r.run(change("value", merge("value.n", "inc", 1), merge("value.l", "inc", 1)))
    r.run(change("value", merge("value.n", "set", JSON_INTEGER_MAX), merge("value.n", "inc", 1)))
    r.run(change("value", merge("value" + ".a" * 64, "set", 1)))
    r.run(change("value", merge("tags", "set", [str(n) for n in range(65)])))
    r.run(change("value", merge("text", "set", 1)))
    r.run(change("value", merge("value", "set", None)))


def _batches(r: Recorder) -> None:
    r.run(add("b1"), change("value", merge("value.n", "inc", 1)), (Delete("b1"), None), add("b1", "again"))
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


def memories() -> list[LogEntry]:
    r = Recorder()
    for part in (members, _adds, _updates, _merges, _batches, _keys_and_decisions, _ends):
        part(r)
    return r.log


LOGS: Final = {"v1": memories, "v1-coordination": coordination}


def main(folder: Path) -> None:
    for name, made in LOGS.items():
        log, digest = folder / f"{name}.log", folder / f"{name}.digest"
        if log.exists() or digest.exists():
            print(f"{log} is recorded: it stays as it is")
            continue
        log.write_bytes(b"".join(map(frame, made())))
        digest.write_text(digests(replayed(entries(log))))


if __name__ == "__main__":
    main(FOLDER)
