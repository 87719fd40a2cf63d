"""The rules of memories again, in plain dictionaries and with no code of the machine: what `apply` is held to.

A memory is a dictionary of JSON values; a deleted one keeps its place, so that versions go on counting. An entry
works on a deep copy, which replaces the state when the entry is done.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any

from raftmem.limits import (
    IDEMPOTENCY_KEEP_US_MAX,
    IDEMPOTENCY_PURGE_PER_ENTRY,
    JSON_INTEGER_MAX,
)
from raftmem.model.commands import (
    Actor,
    Add,
    Content,
    Delete,
    Expire,
    Fields,
    Guard,
    MemoryOperation,
    Noop,
    Operation,
    Put,
    Update,
)

State = dict[str, dict[str, Any]]  # JSON of any shape: this file is typed by its tests
SCOPE = ("app_id", "user_id", "agent_id", "run_id")
PLAIN = ("memory_type", "claim_type", "confidence", "importance", "provenance", "valid_at", "invalid_at")


class Refused(Exception):
    pass


def is_given(struct: object, name: str) -> bool:
    return repr(getattr(struct, name)) != "UNSET"


def same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    both_numbers = is_number(one) and is_number(other)
    return (both_numbers or type(one) is type(other)) and one == other


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class Model:
    def __init__(self) -> None:
        self.memories: State = {}
        self.keys: list[tuple[tuple[str, str], str, bytes, int, int]] = []  # actor, key, fingerprint, index, time

    def run(
        self,
        index: int,
        time: int,
        actor: Actor,
        steps: Sequence[tuple[Operation, Content | None]],
        guards: tuple[Guard, ...],
        atomic: bool,
        key: tuple[str, bytes] | None,
    ) -> list[tuple[bool, str | None, str, str | None, int | None]] | int:
        """(applied, code, op, memory id, version) of each operation; or the index that this entry repeats."""
        operations = [(op, content) for op, content in steps if isinstance(op, MemoryOperation)]
        assert len(operations) == len(steps), "this model knows memories only"
        who = (actor.type, actor.id)
        if key is not None:
            for row in self.keys:
                if row[:2] == (who, key[0]):
                    return (
                        row[3] if row[2] == key[1] else [self.no("idempotency-key-reused", op) for op, _ in operations]
                    )
        before = copy.deepcopy(self.memories)
        false = not all(map(self.holds, guards))
        told = []
        for seq, (op, content) in enumerate(operations):
            try:
                if isinstance(op, Add) and self.active(op.id):
                    raise Refused("already-exists")
                if false:
                    raise Refused("precondition-failed")
                told.append(self.do(op, content or Content(), (index, seq), time, actor))
            except Refused as refused:
                if atomic:
                    self.memories = before
                    codes = [str(refused) if at == seq else "batch-refused" for at in range(len(operations))]
                    return [self.no(code, op) for code, (op, _) in zip(codes, operations, strict=True)]
                told.append(self.no(str(refused), op))
        if key is not None and any(row[0] for row in told):
            old = [row for row in self.keys[:IDEMPOTENCY_PURGE_PER_ENTRY] if time - row[4] > IDEMPOTENCY_KEEP_US_MAX]
            self.keys = [*self.keys[len(old) :], (who, key[0], key[1], index, time)]
        return told

    def active(self, memory_id: str) -> dict[str, Any] | None:
        memory = self.memories.get(memory_id)
        return memory if memory and memory["status"] == "active" else None

    def holds(self, guard: Guard) -> bool:
        memory = self.active(str(guard.memory))
        if guard.exists is not None:
            return guard.exists == bool(memory)
        return bool(memory) and memory["version"] == guard.version

    def no(self, code: str, op: MemoryOperation) -> tuple[bool, str | None, str, str | None, int | None]:
        memory_id = op.id if isinstance(op, Add | Put) else op.memory_id
        name = type(op).__name__.upper()
        if name == "PUT":
            name = "UPDATE" if self.active(str(memory_id)) else "ADD"
        return False, code, name, memory_id, self.memories.get(str(memory_id), {}).get("version")

    def do(
        self, op: MemoryOperation, content: Content, place: tuple[int, int], time: int, actor: Actor
    ) -> tuple[bool, str | None, str, str | None, int | None]:
        name = type(op).__name__.upper()
        if isinstance(op, Noop) and op.memory_id is None:
            return True, None, "NOOP", None, None
        memory_id = str(op.id if isinstance(op, Add | Put) else op.memory_id)
        memory = self.memories.get(memory_id)
        active = self.active(memory_id)
        if isinstance(op, Add) or (isinstance(op, Put) and not active):
            fresh = self.blank(memory["version"] if memory else 0, place, actor.id)
            fresh["scope"] = [getattr(op.fields, field) if is_given(op.fields, field) else None for field in SCOPE]
            self.revise(fresh, op.fields, content, time)
            twins = [one for one in self.memories.items() if self.twin(one[1], fresh)]
            if isinstance(op, Add) and op.on_duplicate == "noop" and twins:
                oldest = min(twins, key=lambda one: one[1]["created"])
                return True, None, "NOOP", oldest[0], oldest[1]["version"]
            self.memories[memory_id] = fresh
            return True, None, "ADD", memory_id, fresh["version"]
        if isinstance(op, Put):
            assert active
            for at, field in enumerate(SCOPE):
                if is_given(op.fields, field) and getattr(op.fields, field) != active["scope"][at]:
                    raise Refused("wrong-state")
            fresh = self.blank(active["version"], place, active["actor"])
            fresh.update(scope=active["scope"], created=active["created"])
            self.revise(fresh, op.fields, content, time)
            self.memories[memory_id] = fresh
            return True, None, "UPDATE", memory_id, fresh["version"]
        if isinstance(op, Update):
            if not active:
                raise Refused("not-found")
            changed = copy.deepcopy(active)
            changed.update(version=active["version"] + 1, updated=place)
            self.revise(changed, op.fields, content, time)
            self.memories[memory_id] = changed
            return True, None, "UPDATE", memory_id, changed["version"]
        if isinstance(op, Expire):
            if not active or active["version"] != op.version or (active["expires"] or time + 1) > time:
                raise Refused("moved")
            return self.bury(memory_id, active, "expired", place, name)
        if memory is None:
            raise Refused("not-found")
        if isinstance(op, Delete) and active:
            return self.bury(memory_id, active, "deleted", place, name)
        return True, None, "NOOP", memory_id, memory["version"]

    def bury(
        self, memory_id: str, active: dict[str, Any], status: str, place: tuple[int, int], name: str
    ) -> tuple[bool, str | None, str, str | None, int | None]:
        tombstone = self.blank(active["version"], place, active["actor"])
        kept = {field: active[field] for field in ("scope", "created", "visibility")}
        self.memories[memory_id] = {**tombstone, **kept, "status": status}
        return True, None, name, memory_id, tombstone["version"]

    @staticmethod
    def blank(version: int, place: tuple[int, int], actor: str) -> dict[str, Any]:
        return {
            "version": version + 1,
            "status": "active",
            "created": place,
            "updated": place,
            "actor": actor,
            "scope": [None] * 4,
            "text": None,
            "value": None,
            "metadata": {},
            "tags": [],
            "visibility": "shared",
            "pinned": False,
            "expires": None,
            "model": None,
            "vector": None,
            **dict.fromkeys(PLAIN),
        }

    @staticmethod
    def twin(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return bool(
            one["status"] == "active"
            and one["scope"] == other["scope"]
            and one["text"] == other["text"]
            and same(one["value"], other["value"])
        )

    def revise(self, memory: dict[str, Any], fields: Fields, content: Content, time: int) -> None:
        for name in PLAIN:
            if is_given(fields, name):
                memory[name] = getattr(fields, name)
        empty = {"tags": (), "visibility": "shared", "pinned": False}
        for name, when_cleared in empty.items():
            if is_given(fields, name):
                memory[name] = getattr(fields, name) or when_cleared
        memory["tags"] = list(memory["tags"])
        if is_given(fields, "ttl_ms"):
            ttl_ms = fields.ttl_ms
            memory["expires"] = time + 1000 * ttl_ms if isinstance(ttl_ms, int) else None
        if is_given(content, "metadata"):
            memory["metadata"] = json.loads(content.metadata or b"{}")
        if is_given(content, "value"):
            memory["value"] = json.loads(content.value or b"null")
        if is_given(content, "embedding"):
            memory["vector"] = content.embedding
            given = is_given(fields, "embedding_model") and content.embedding
            memory["model"] = fields.embedding_model if given else None
        elif is_given(content, "text"):
            memory["vector"] = memory["model"] = None
        elif is_given(fields, "embedding_model") and memory["vector"]:
            memory["model"] = fields.embedding_model
        if is_given(content, "text"):
            memory["text"] = content.text
        for path, op, by in ((one.path, one.op, json.loads(one.by)) for one in content.merge or ()):
            self.merge(memory, path.split("."), op, by)
        if memory["text"] is None and memory["value"] is None:
            raise Refused("invalid-request")

    def merge(self, memory: dict[str, Any], path: list[str], op: str, by: Any) -> None:
        if memory["value"] is None:
            del memory["value"]
        node = memory
        for at, key in enumerate(path[:-1]):
            if key not in node and op == "remove" and isinstance(by, list):
                memory.setdefault("value", None)
                return
            node = node.setdefault(key, {}) if at else node.setdefault("value", {})
            if not isinstance(node, dict):
                raise Refused("merge-type")
        last = path[-1]
        there = last in node
        if op == "remove" and not there and isinstance(by, list):
            memory.setdefault("value", None)
            return
        node[last] = self.combined(op, there, node.get(last), by)
        if path == ["tags"] and not (
            isinstance(node[last], list) and all(isinstance(tag, str) and tag for tag in node[last])
        ):
            raise Refused("merge-type")
        memory.setdefault("value", None)

    @staticmethod
    def combined(op: str, there: bool, now: Any, by: Any) -> Any:
        if op == "set":
            return by
        if op == "inc":
            now = now if there else 0
            if is_integer(now) and is_integer(by) and abs(now + by) <= JSON_INTEGER_MAX:
                return now + by
        elif op in ("max", "min"):
            now = now if there else by
            if is_number(now) and is_number(by):
                return (max if op == "max" else min)(now, by)
        elif op == "append":
            now = now if there else []
            if isinstance(now, list):
                return [*now, by]
        else:
            now = now if there else []
            if isinstance(now, list) and isinstance(by, list):
                if op == "remove":
                    return [one for one in now if not any(same(one, gone) for gone in by)]
                for one in by:
                    if not any(same(one, old) for old in now):
                        now = [*now, one]
                return now
        raise Refused("merge-type")
