"""What every state store promises of coordination rows: one suite for the store on disk and its twin in memory."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from storage_world import ACTOR, World, end_row, noop, put_row, say, store

from raftmem.errors import Corrupt, Stop
from raftmem.limits import NAME_BYTES_MAX
from raftmem.model.commands import Backoff, Pin
from raftmem.model.coordination_rows import (
    DUE,
    GATES,
    LOCKS,
    CoordinationRow,
    Gate,
    Hold,
    Lock,
    Task,
    TaskState,
    Waiter,
    due_until,
    gate_key,
    hold_key,
    holders,
    index_keys,
    key_of,
    lock_key,
    owned_by,
    pinned_by,
    queue_of,
    ready_in,
    task_key,
    unique_in,
)
from raftmem.model.records import SEQ_LAST, Position, View
from raftmem.storage.state.contract import StateStore
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

ZERO = Position(1, 0)


def lock(name: str, created: Position = ZERO) -> Lock:
    return Lock(name, 1, 1, 0, created)


def hold(owner: str, expires: int, *, name: str = "l", token: int = 1) -> Hold:
    return Hold(name, owner, token, ZERO, 1000, expires)


def waiter(owner: str, since: Position) -> Waiter:
    return Waiter("l", owner, since, since, 1000, 99)


def task(name: str, state: TaskState = "available", *, priority: int = 0, place: int = 0) -> Task:
    created = Position(1, place)
    return Task(name, "q", state, priority, 0, 3, Backoff(), (), 0, "unique", ACTOR, created, created)


def gate(required: int, *pins: str) -> Gate:
    return Gate("g", required, (), tuple(Pin(pin, 1) for pin in pins), (), False, ZERO, ZERO)


@pytest.fixture(params=["memory", "lmdb"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    made: StateStore = InMemoryStateStore() if request.param == "memory" else LmdbStateStore(tmp_path / "state")
    yield made
    made.close(clean=False)


def found(reader: View, prefix: bytes, *, limit: int = 99, start: bytes = b"", stop: bytes | None = None) -> list[str]:
    """The owners, ids or names of what a scan finds."""
    names = []
    for index_key, coordination_row in reader.scan(prefix, limit=limit, start=start, stop=stop):
        assert index_key in index_keys(coordination_row)
        match coordination_row:
            case Hold() | Waiter():
                names.append(coordination_row.owner)
            case Task():
                names.append(coordination_row.id)
            case Lock() | Gate():
                names.append(coordination_row.name)
    return names


class TestThingContract:
    def test_a_new_state_has_none(self, state: StateStore) -> None:
        reader = state.read()
        assert reader.coordination_row(lock_key("l")) is reader.coordination_row(task_key("t"), Position(9, 9)) is None
        assert reader.scan(b"", limit=9) == []
        assert reader.content(ZERO) is None

    def test_a_row_is_put_replaced_and_removed_with_its_index_keys(self, state: StateStore) -> None:
        world, key = World(), hold_key("l", "a")
        for expires in (50, 70):
            store(state, world.entry(put_row(hold("a", expires))))
            assert state.read().coordination_row(key) == hold("a", expires)
            assert found(state.read(), holders("l")) == found(state.read(), owned_by("a")) == ["a"]
            due = [found(state.read(), DUE, stop=due_until(time)) for time in (expires - 1, expires, 99)]
            assert due == [[], ["a"], ["a"]]
        store(state, world.entry(end_row(key)))
        assert state.read().coordination_row(key) is None
        assert state.read().scan(b"", limit=99) == []
        store(state, world.entry(put_row(hold("a", 60))))
        assert found(state.read(), DUE) == ["a"]

    def test_a_scan_is_ordered_and_keeps_to_its_bounds(self, state: StateStore) -> None:
        world = World()
        places = {"c": Position(3, 1), "a": Position(3, 2), "d": Position(2**40, 0), "b": Position(3, 300)}
        store(state, world.entry(*(put_row(waiter(owner, since)) for owner, since in places.items())))
        store(state, world.entry(put_row(lock("l")), put_row(hold("z", 5)), put_row(lock("m", Position(2, 0)))))
        reader, queue = state.read(), queue_of("l")
        assert found(reader, queue) == ["c", "a", "b", "d"]
        assert [found(reader, queue, limit=limit) for limit in (0, 1, 3)] == [[], ["c"], ["c", "a", "b"]]
        every = [index_key for index_key, _ in reader.scan(queue, limit=99)]
        assert every == sorted(every)
        assert found(reader, queue, start=every[1]) == ["a", "b", "d"]
        assert found(reader, queue, start=every[1] + b"\0") == ["b", "d"]
        assert found(reader, queue, start=every[1], stop=every[3]) == ["a", "b"]
        assert found(reader, queue, start=b"\0") == found(reader, queue, stop=b"\xff") == ["c", "a", "b", "d"]
        assert found(reader, queue, start=b"\xff") == found(reader, queue, stop=b"\0") == []
        assert found(reader, LOCKS) == ["l", "m"]
        assert found(reader, queue_of("m")) == []
        assert len(reader.scan(b"", limit=99)) == 4 * 3 + 3 + 2

    def test_one_key_may_change_twice_in_an_entry(self, state: StateStore) -> None:
        world = World()
        store(
            state,
            world.entry(
                put_row(hold("a", 50)),
                put_row(hold("a", 60)),
                put_row(hold("b", 40)),
                end_row(hold_key("l", "b")),
                put_row(gate(1, "m")),
                end_row(gate_key("g")),
                put_row(gate(2, "m")),
            ),
        )
        reader = state.read()
        assert reader.coordination_row(hold_key("l", "a")) == hold("a", 60)
        assert reader.coordination_row(hold_key("l", "b")) is None
        assert found(reader, DUE) == ["a"]
        assert found(reader, DUE, stop=due_until(59)) == []
        assert found(reader, pinned_by("m")) == found(reader, GATES) == ["g"]
        seen = [reader.coordination_row(gate_key("g"), Position(1, seq)) for seq in range(3, 8)]
        assert seen == [None, gate(1, "m"), None, gate(2, "m"), gate(2, "m")]

    def test_only_tasks_and_gates_are_read_at_older_positions(self, state: StateStore) -> None:
        world = World()
        one, two, three = (task("t", state) for state in ("available", "claimed", "completed"))
        store(state, world.entry(noop(), put_row(one), put_row(two), put_row(lock("l"))))
        store(state, world.entry(put_row(three), put_row(task("u", "dead"))))
        store(state, world.entry(end_row(task_key("t"))))
        reader = state.read()
        moments = [(0, SEQ_LAST), (1, 0), (1, 1), (1, 2), (1, SEQ_LAST), (2, 0), (2, SEQ_LAST), (3, 0), (9, 0)]
        seen = [reader.coordination_row(task_key("t"), Position(*moment)) for moment in moments]
        assert seen == [None, None, one, two, two, three, three, None, None]
        assert (
            reader.coordination_row(task_key("u"), Position(9, 0))
            == reader.coordination_row(task_key("u"))
            == task("u", "dead")
        )
        assert reader.coordination_row(lock_key("l"), Position(9, 0)) is None, "locks have no past"
        assert reader.coordination_row(lock_key("l")) == lock("l")

    def test_what_users_said_stands_under_its_position(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(say(b'{"a":1}'), noop(), say(b"")), world.entry(say(b"null")))
        places = [Position(1, 0), Position(1, 1), Position(1, 2), Position(2, 0), Position(3, 0)]
        assert [state.read().content(place) for place in places] == [b'{"a":1}', None, b"", b"null", None]

    def test_a_writer_sees_what_it_put(self, state: StateStore) -> None:
        world = World()
        with state.write() as writer:
            writer.put(*world.entry(put_row(hold("a", 50)), say(b"1")))
            assert writer.coordination_row(hold_key("l", "a")) == hold("a", 50)
            assert writer.content(Position(1, 1)) == b"1"
            writer.put(*world.entry(put_row(hold("a", 60)), put_row(hold("b", 40))))
            assert found(writer, DUE) == ["b", "a"]
            writer.put(*world.entry(end_row(hold_key("l", "b"))))
            assert found(writer, DUE) == ["a"]
            assert found(state.read(), DUE) == [], "the shared reader moves on when the block ends"
        assert found(state.read(), DUE) == ["a"]

    def test_a_block_that_raises_leaves_nothing(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put_row(hold("a", 50)), put_row(gate(1, "m"))))
        aside = World()
        aside.index, aside.rows = 1, dict(world.rows)
        lost = aside.entry(put_row(hold("a", 60)), end_row(gate_key("g")), put_row(lock("n")), say(b"1"))
        with pytest.raises(Stop):
            store(state, lost, lost)
        reader = state.read()
        assert [reader.coordination_row(hold_key("l", "a")), reader.coordination_row(gate_key("g"))] == [
            hold("a", 50),
            gate(1, "m"),
        ]
        assert reader.coordination_row(gate_key("g"), Position(2, 9)) == gate(1, "m")
        assert found(reader, DUE, stop=due_until(50)) == ["a"]
        assert found(reader, LOCKS) == []
        assert reader.content(Position(2, 3)) is None
        store(state, world.entry(put_row(hold("a", 70))))
        assert found(state.read(), DUE) == ["a"]

    def test_a_private_reader_stays_as_it_was(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put_row(hold("a", 50)), put_row(hold("b", 60)), put_row(gate(1)), say(b"1")))
        private = state.read_private()
        store(state, world.entry(put_row(hold("a", 70)), end_row(hold_key("l", "b")), put_row(gate(2)), say(b"2")))
        later = state.read_private()
        store(state, world.entry(put_row(hold("c", 10)), put_row(hold("b", 60)), end_row(gate_key("g"))))
        store(state, world.entry(end_row(hold_key("l", "b"))))
        assert found(private, DUE) == ["a", "b"]
        assert found(private, DUE, stop=due_until(50)) == ["a"]
        assert private.coordination_row(hold_key("l", "a")) == hold("a", 50)
        assert private.coordination_row(hold_key("l", "c")) is None
        assert (
            private.coordination_row(gate_key("g"))
            == private.coordination_row(gate_key("g"), Position(9, 0))
            == gate(1)
        )
        assert [private.content(Position(index, 3)) for index in (1, 2)] == [b"1", None]
        assert found(later, DUE) == ["a"], "of the entry that ended the other"
        assert found(later, DUE, stop=due_until(69)) == []
        later.release()
        private.release()
        assert found(state.read(), DUE) == ["c", "a"]
        assert [state.read().coordination_row(gate_key("g"), Position(index, 9)) for index in (1, 2, 3)] == [
            gate(1),
            gate(2),
            None,
        ]

    @pytest.mark.parametrize("stands", [None, hold("a", 50)])
    @pytest.mark.parametrize("old", [None, hold("a", 50), hold("a", 51)])
    def test_a_change_of_another_row_than_stands_there_is_a_stop(
        self, state: StateStore, stands: CoordinationRow | None, old: CoordinationRow | None
    ) -> None:
        world = World()
        store(state, world.entry(noop() if stands is None else put_row(stands)))
        world.rows = {} if old is None else {key_of(old): old}
        entry = world.entry(put_row(hold("a", 90)))
        if old == stands:
            store(state, entry)
        else:
            with pytest.raises(Corrupt, match="follows another") as stopped:
                store(state, entry)
            assert stopped.value.index == 2
            assert state.read().coordination_row(hold_key("l", "a")) == stands
        assert state.head().index == (2 if old == stands else 1)

    def test_a_mark_of_another_row_is_a_stop_until_that_is_gone(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put_row(task("t"))))
        with pytest.raises(Corrupt, match="leads to another coordination row"):
            store(state, world.entry(put_row(task("u"))))
        again = World()
        again.index, again.rows[task_key("t")] = 1, task("t")
        store(state, again.entry(put_row(task("t", "completed")), put_row(task("u"))))
        assert found(state.read(), unique_in("q", "unique")) == ["u"]

    def test_one_entry_may_hold_every_bound_at_once(self, state: StateStore) -> None:
        world, long = World(), "é" * (NAME_BYTES_MAX // 2) + "x"
        owners = [f"{number:04}" + long[4:] for number in range(1000)]
        row = msgspec.structs.replace(
            task(long, priority=2**31 - 1, place=SEQ_LAST - 1),
            queue=long,
            worker=long,
            due=2**63 - 1,
            unique_key=long,
            created=Position(2**63, SEQ_LAST - 1),
        )
        low = msgspec.structs.replace(row, id=long[1:], priority=-(2**31) + 1, unique_key=None, due=-(2**63))
        far = [hold(owner, 2**63 - 2, name=long, token=2**63) for owner in owners]
        store(state, world.entry(put_row(row), put_row(low), *map(put_row, far)))
        reader = state.read()
        assert reader.coordination_row(task_key(long)) == row
        assert found(reader, ready_in(long)) == [long, long[1:]]
        assert sorted(found(reader, holders(long), limit=9999)) == owners
        assert len(found(reader, DUE, limit=9999, stop=due_until(2**63 - 2))) == 1001
