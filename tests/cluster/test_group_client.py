"""The client library against a real group: every shape that it decodes, and what it does when replicas die."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jepsen_like.cluster.client import together
from jepsen_like.cluster.group import LoopbackGroup
from raftmem.client import (
    AsyncRaftmemClient,
    BlockingFlag,
    DependencyCycle,
    Entry,
    Forbidden,
    Job,
    LeaseLost,
    LockHeld,
    NotFound,
    PermitsMismatch,
    PreconditionFailed,
    RaftmemClient,
    StaleToken,
    WrongState,
)


def client_of(group: LoopbackGroup, name: str, *, first: int = 0) -> RaftmemClient:
    """It begins with the replica at this place."""
    return RaftmemClient([*group.urls[first:], *group.urls[:first]], actor=f"agent/{name}")


def test_memories_are_read_as_they_were_written_through_any_replica(shared_group: LoopbackGroup) -> None:
    with client_of(shared_group, "a") as one, client_of(shared_group, "b", first=1) as other:
        added = one.memories.add(id="cl-1", text="frozen", value={"n": 1}, app_id="client", embedding=[1.0, 0.0])
        assert added.memory is not None
        assert (added.event.op, added.event.actor.id, added.memory.version) == ("ADD", "a", 1)
        assert one.index == added.event.index
        patched = other.memories.patch("cl-1", merge={"value.n": {"op": "inc", "by": 1}}, guards=[added.memory.guard])
        assert patched.memory is not None
        assert patched.memory.value == {"n": 2}
        assert one.memories.get("cl-1").version == 2
        assert one.memories.get("cl-1", at=added.event.index).value == {"n": 1}
        with pytest.raises(PreconditionFailed) as caught:
            one.memories.patch("cl-1", text="x", guards=[added.memory.guard])
        assert caught.value.failed[0]["guard"] == added.memory.guard
        one.batch([{"op": "ADD", "id": f"cl-{n}", "text": "t", "app_id": "client"} for n in range(2, 9)])
        assert [m.id for m in other.memories.list(app_id="client", page_size=3)] == [f"cl-{n}" for n in range(1, 9)]
        assert one.memories.search([1.0, 0.1], app_id="client", top_k=1)[0].memory.id == "cl-1"
        history = one.memories.history("cl-1").all()
        assert [(e.op, e.applied) for e in history] == [("ADD", True), ("UPDATE", True), ("UPDATE", False)]
        assert history[1].before == added.memory
        assert one.memories.delete("cl-1", if_version=2).event.op == "DELETE"
        with pytest.raises(NotFound):
            one.memories.get("cl-1")
        assert one.cluster().leader in ("n1", "n2", "n3")


def test_locks_answer_as_the_client_expects(shared_group: LoopbackGroup) -> None:
    with client_of(shared_group, "a") as one:
        grant = one.locks.acquire("cl/lock", owner="o1", ttl=20, metadata={"host": "h"})
        with pytest.raises(LockHeld) as held:
            one.locks.acquire("cl/lock", owner="o2", ttl=20)
        assert [(h.owner, h.token, h.metadata) for h in held.value.holders] == [("o1", grant.token, {"host": "h"})]
        with pytest.raises(PermitsMismatch):
            one.locks.acquire("cl/lock", owner="o2", ttl=20, permits=2)
        renewed = one.locks.renew_many([("cl/lock", grant.token), ("cl/none", 3)], owner="o1", ttl=30)
        assert [(r.token, r.error is None) for r in renewed] == [(grant.token, True), (3, False)]
        assert one.locks.renew("cl/lock", owner="o1", token=grant.token).token == grant.token
        assert [lock.name for lock in one.locks.list(prefix="cl/")] == ["cl/lock"]
        assert one.locks.get("cl/none").holders == []
        assert one.locks.release("cl/lock", owner="o1", token=grant.token).lock.holders == []
        with pytest.raises(StaleToken) as stale:
            one.locks.release("cl/lock", owner="o1", token=grant.token)
        assert stale.value.current_token is None
        one.locks.acquire("cl/lock", owner="o3", ttl=20)
        assert one.locks.force_release("cl/lock").event.op == "LOCK_FORCE_RELEASE"
        one.locks.acquire("cl/lock", owner="o4", ttl=20)
        assert [t.name for t in one.owners.release("o4").released.locks] == ["cl/lock"]
        assert one.events(op="LOCK_FORCE_RELEASE", lock="cl/lock").all()[0].owner == "o3"


def test_critical_sections_of_threads_do_not_overlap_and_each_write_carries_its_token(
    shared_group: LoopbackGroup,
) -> None:
    counter = {"n": 0}
    with client_of(shared_group, "a") as one:
        one.memories.put("cl-counter", value={"n": 0}, app_id="client-holds")

        def section(_k: int) -> int:
            with one.locks.hold("cl/counter", ttl=5) as lock:
                seen = counter["n"]
                one.memories.patch(
                    "cl-counter", merge={"value.n": {"op": "inc", "by": 1}}, guards=[lock.guard], read_index=one.index
                )
                counter["n"] = seen + 1
                return lock.token

        tokens = together(12, section)
        assert counter["n"] == 12
        assert len(set(tokens)) == 12
        assert one.memories.get("cl-counter").value == {"n": 12}


def test_holder_whose_lock_is_forced_open_hears_of_it_and_its_writes_are_refused(shared_group: LoopbackGroup) -> None:
    def hold_and_write(one: RaftmemClient) -> None:
        with one.locks.hold("cl/forced", ttl=1.0, wait=0) as lock:
            one.locks.force_release("cl/forced")
            with pytest.raises(PreconditionFailed):
                one.memories.add(text="t", app_id="client-forced", guards=[lock.guard])
            assert lock.lost.wait(20)
            lock.check()

    with client_of(shared_group, "a") as one, pytest.raises(LeaseLost):
        hold_and_write(one)


def test_tasks_go_through_a_worker(shared_group: LoopbackGroup) -> None:
    with client_of(shared_group, "a") as one:
        first = one.tasks.add("cl-queue", {"n": 1}, unique_key="k").task
        again = one.tasks.add("cl-queue", {"n": 2}, unique_key="k")
        assert (again.task.id, again.event.op) == (first.id, "NOOP")
        second = one.tasks.add("cl-queue", {"n": 2}, depends_on=[first.id], max_attempts=2).task
        assert second.state == "blocked"
        one.tasks.add("cl-circle", id="cl-a", depends_on=["cl-b"])
        with pytest.raises(DependencyCycle) as circle:
            one.tasks.add("cl-circle", id="cl-b", depends_on=["cl-a"])
        assert circle.value.path == "cl-b -> cl-a -> cl-b"
        ended = threading.Event()

        def handler(job: Job[BlockingFlag]) -> object:
            if job.payload == {"n": 2}:
                if job.attempt == 1:
                    raise ValueError("not yet")
                ended.set()
            return {"attempt": job.attempt}

        retried = one.tasks.worker(["cl-queue"], handler, concurrency=2, ttl=10, poll=0.5)
        with retried:
            assert one.tasks.get(first.id).queue == "cl-queue"
            assert ended.wait(30)
        done = one.tasks.get(second.id)
        assert (done.state, done.result, done.attempt) == ("completed", {"attempt": 2}, 2)
        assert [error.error for error in done.errors] == [{"type": "ValueError", "message": "not yet"}]
        assert [task.id for task in one.tasks.list(queue="cl-queue", state="completed")] == [first.id, second.id]
        with pytest.raises(WrongState):
            one.tasks.retry(second.id)


def test_gate_opens_by_approvals_and_a_transaction_goes_through_it_once(shared_group: LoopbackGroup) -> None:
    with client_of(shared_group, "mia") as mia, client_of(shared_group, "tom") as tom:
        result = mia.memories.add(id="cl-result", value={"passed": True}, app_id="client-gate").memory
        assert result is not None
        put = mia.gates.put("cl/gate", required=2, approvers=["mia", "agent/tom"], pins=[result])
        assert (put.event.op, put.gate.open) == ("GATE_PUT", False)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(tom.gates.wait_open, "cl/gate", 30)
            mia.gates.approve("cl/gate", comment="looks right")
            assert tom.gates.approve("cl/gate").gate.open
            gate = waiting.result(30)
        assert [a.comment for a in gate.approvals] == ["looks right", None]
        with client_of(shared_group, "eve") as eve, pytest.raises(Forbidden):
            eve.gates.approve("cl/gate")
        grant = mia.locks.acquire("cl/gate-lock", owner="mia", ttl=20)
        then = [
            {"op": "GATE_CONSUME", "name": "cl/gate"},
            {"op": "LOCK_RELEASE", "name": "cl/gate-lock", "owner": "mia", "token": grant.token},
            {"op": "TASK_ADD", "queue": "cl-deploy", "payload": {"go": True}},
            {"op": "ADD", "text": "deployed", "app_id": "client-gate"},
        ]
        guards = [gate.guard, {"lock": "cl/gate-lock", "token": grant.token}]
        done = mia.txn(guards=guards, then=then, else_=[{"op": "NOOP", "decision": {"by": "gate"}}])
        assert done.succeeded
        assert [item.event.op for item in done.results] == ["GATE_CONSUME", "LOCK_RELEASE", "TASK_ADD", "ADD"]
        consumed, released, task, memory = done.results
        assert released.lock is not None
        assert (released.lock.holders, released.event.token) == ([], grant.token)
        assert consumed.gate is not None
        assert consumed.gate.consumed_index == done.index
        assert task.task is not None
        assert task.task.payload == {"go": True}
        assert memory.memory is not None
        assert memory.memory.text == "deployed"
        again = mia.txn(guards=guards, then=then, else_=[{"op": "NOOP", "decision": {"by": "gate"}}])
        assert (again.succeeded, len(again.failed)) == (False, 2)


def test_watch_and_holds_outlive_the_replica_that_serves_them(group: LoopbackGroup) -> None:
    async def play() -> None:
        served = group[group.leader().id]
        order = [served.url, *(one.url for one in group.others(served))]
        async with AsyncRaftmemClient(order, actor="agent/a") as one, one.watch(app_id="w", stall=10) as watch:
            got: list[Entry] = []

            async def read() -> None:
                async for entry in watch:
                    got.append(entry)
                    if len(got) == 40:
                        return

            reading = asyncio.ensure_future(read())
            while watch.index is None:  # the first bookmark says where it begins
                await asyncio.sleep(0.01)
            async with one.locks.hold("l", ttl=8) as lock:
                written = [(await one.memories.add(text=f"{n}", app_id="w")).event.index for n in range(20)]
                await asyncio.to_thread(served.kill)
                for n in range(20, 40):
                    added = await one.memories.add(text=f"{n}", app_id="w", guards=[lock.guard])
                    written.append(added.event.index)
                lock.check()
            await asyncio.wait_for(reading, 60)
            assert [entry.index for entry in got] == written

    asyncio.run(play())
