"""The table of used keys: replay, reuse, retention by log time, a full table."""

from collections.abc import Set as AbstractSet

from machine_world import ALICE, BOB, SECOND, World, add, command, delete, noop, update

from raftmem.limits import IDEMPOTENCY_KEEP_US_MAX, IDEMPOTENCY_KEEP_US_MIN, IDEMPOTENCY_KEYS_MAX
from raftmem.machine import apply
from raftmem.model import codec
from raftmem.model.commands import Actor, Guard, Scope
from raftmem.model.coordination_rows import CoordinationRow
from raftmem.model.records import (
    DropIdempotency,
    Head,
    IdempotencyRow,
    IndexedRow,
    Position,
    PutIdempotency,
    PutRecord,
    Record,
    Step,
)

DAY_MS = IDEMPOTENCY_KEEP_US_MAX // 1000


def test_the_same_request_again_is_a_replay() -> None:
    world = World()
    world.one(add("a", value={"n": 0}))
    world.one(update("a", merge={"value.n": ("inc", 1)}), key="k")
    assert world.run(update("a", merge={"value.n": ("inc", 1)}), key="k") == ()
    assert world.last is not None
    assert world.last.row.result.replay_of == 2
    assert (world.changes, world.value("a"), world.store.head().keys) == (0, {"n": 1}, 1)


def test_another_request_under_the_key_is_refused() -> None:
    world = World()
    world.one(add("a", text="t"), key="k")
    outcomes = world.run(add("b", text="t"), delete("a"), key="k", fingerprint=b"g" * 32)
    assert [outcome.code for outcome in outcomes] == ["idempotency-key-reused"] * 2
    assert world.changes == 0


def test_a_key_is_of_its_actor() -> None:
    world = World()
    world.one(add("a", text="t"), key="k")
    assert world.one(add("b", text="t"), key="k", actor=BOB).applied
    assert world.one(add("c", text="t"), key="k", actor=Actor("user", "alice")).applied
    assert world.run(add("d", text="t"), key="k", actor=Actor("agent", "alice", "planner")) == ()


def test_a_refused_request_leaves_its_key_unused() -> None:
    world = World()
    assert world.one(update("a", text="u"), key="k").code == "not-found"
    world.one(add("a", text="t"))
    assert world.one(update("a", text="u"), key="k").applied
    assert world.one(delete("a"), key="k2", guards=(Guard(memory="a", version=1),)).code == "precondition-failed"
    assert world.store.head().keys == 1


def test_a_noop_uses_up_its_key() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(add("b", text="t", on_duplicate="noop"), key="k")
    world.one(noop(), key="k2")
    assert world.store.head().keys == 2


def test_a_batch_of_which_something_applied_uses_up_its_key() -> None:
    world = World()
    world.run(update("x", text="t"), add("a", text="t"), atomic=False, key="k")
    world.run(update("x", text="t"), add("b", text="t"), atomic=True, key="k2")
    assert world.store.head().keys == 1
    assert world.store.read().idempotency(ALICE, "k") == IdempotencyRow(ALICE, "k", b"f" * 32, 1, world.time)


def test_a_key_past_its_time_still_replays_until_it_is_dropped() -> None:
    world = World()
    world.one(add("a", text="t"), key="k")
    world.later(ms=DAY_MS + 1)
    assert world.run(add("a", text="t"), key="k") == ()
    world.one(add("b", text="t"), key="k2")
    assert world.store.head().keys == 1
    assert world.one(add("a", text="t"), key="k").code == "already-exists"


def test_a_key_is_kept_for_a_day_while_there_is_room() -> None:
    world = World()
    world.one(add("a", text="t"), key="k")
    world.later(ms=DAY_MS)
    world.one(add("b", text="t"), key="k2")
    assert world.store.head().keys == 2


def test_an_entry_drops_a_few_old_keys_only() -> None:
    world = World()
    for n in range(6):
        world.one(noop(), key=f"k{n}")
    world.later(ms=DAY_MS + 1)
    world.one(noop(), key="new")
    assert world.last is not None
    dropped = [change.row.key for change in world.last.step.changes if isinstance(change, DropIdempotency)]
    assert dropped == ["k0", "k1", "k2", "k3"]
    assert world.store.head().keys == 3


def test_an_entry_that_uses_no_key_drops_none() -> None:
    world = World()
    world.one(noop(), key="k")
    world.later(ms=DAY_MS + 1)
    world.one(noop())
    world.one(update("x", text="t"), key="k2")
    assert world.store.head().keys == 1


class FullTable:
    """A view whose table holds as many keys as it may; the oldest ones have the ages given (microseconds)."""

    def __init__(self, *ages: int, spare: int = 0) -> None:
        self.now = 10 * IDEMPOTENCY_KEEP_US_MAX
        self.head = Head(7, 1, self.now, b"", keys=IDEMPOTENCY_KEYS_MAX - spare)
        self.rows = tuple(IdempotencyRow(ALICE, str(n), b"", n, self.now - age) for n, age in enumerate(ages))

    def memory(self, memory_id: str, at: Position | None = None) -> Record | None:  # noqa: ARG002
        return None

    def duplicate(
        self,
        sha256: bytes,  # noqa: ARG002
        scope: Scope,  # noqa: ARG002
        without: AbstractSet[str] = frozenset(),  # noqa: ARG002
    ) -> Record | None:
        return None

    def vector(self, record: Record) -> bytes | None:  # noqa: ARG002
        return None

    def idempotency(self, actor: Actor, key: str) -> IdempotencyRow | None:  # noqa: ARG002
        return None

    def oldest_keys(self, limit: int) -> tuple[IdempotencyRow, ...]:
        return self.rows[:limit]

    def coordination_row(self, key: bytes, at: Position | None = None) -> CoordinationRow | None:  # noqa: ARG002
        return None

    def scan(self, prefix: bytes, *, limit: int, start: bytes = b"", stop: bytes | None = None) -> list[IndexedRow]:  # noqa: ARG002
        return []

    def content(self, at: Position) -> bytes | None:  # noqa: ARG002
        return None

    def run(self) -> Step:
        data = command([add("a", text="t")], time=self.now, key="new")
        return apply(self, 8, 1, codec.decode(data))


def shape(step: Step) -> list[str]:
    names = {PutRecord: "record", PutIdempotency: "key", DropIdempotency: "drop"}
    return [names[type(change)] for change in step.changes]


def test_a_full_table_of_young_keys_refuses() -> None:
    step = FullTable(IDEMPOTENCY_KEEP_US_MIN, IDEMPOTENCY_KEEP_US_MIN - 1).run()
    assert [outcome.code for outcome in step.result.outcomes] == ["too-many-requests"]
    assert step.changes == ()


def test_a_full_table_forgets_one_key_past_its_least_time() -> None:
    old = IDEMPOTENCY_KEEP_US_MIN + 1
    assert shape(FullTable(old, old, old).run()) == ["record", "drop", "key"]


def test_a_table_that_is_not_full_forgets_none_of_these() -> None:
    assert shape(FullTable(IDEMPOTENCY_KEEP_US_MIN + 1, spare=1).run()) == ["record", "key"]


def test_a_full_table_forgets_all_that_are_past_their_longest_time_and_no_more() -> None:
    day = IDEMPOTENCY_KEEP_US_MAX + 1
    assert shape(FullTable(day, day, IDEMPOTENCY_KEEP_US_MAX, day).run()) == ["record", "drop", "drop", "key"]
    assert shape(FullTable(*[day] * 9).run()) == ["record", *["drop"] * 4, "key"]


def test_a_key_dropped_by_the_entry_that_puts_it_again_is_kept() -> None:
    world = World()
    world.one(noop(), key="a")
    world.time += IDEMPOTENCY_KEEP_US_MAX + SECOND
    world.one(noop(), key="b")
    world.one(noop(), key="a")
    row = world.store.read().idempotency(ALICE, "a")
    assert row is not None
    assert row.index == 3
