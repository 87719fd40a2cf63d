"""The recorded log of coordination: locks, tasks, gates, transactions, and the guards on them."""

from recorder import BOB, SECOND, SYSTEM, Recorder, Step, add, change, json, members, merge

from raftmem.limits import TASK_KEEP_US, TASK_TELL_MAX
from raftmem.model.commands import (
    Backoff,
    Content,
    Delete,
    Fields,
    GateApprove,
    GateConsume,
    GatePut,
    GateRevoke,
    Guard,
    LockAcquire,
    LockExpire,
    LockForceRelease,
    LockLeave,
    LockRelease,
    LockRenew,
    Operation,
    OwnerRelease,
    Pin,
    TaskAdd,
    TaskCancel,
    TaskClaim,
    TaskComplete,
    TaskExpire,
    TaskFail,
    TaskHeartbeat,
    TaskRelease,
    TaskRetry,
    Txn,
    Update,
)
from raftmem.storage.log.contract import LogEntry


def bare(*operations: Operation) -> tuple[Step, ...]:
    return tuple((operation, None) for operation in operations)


def said(operation: Operation, payload: object) -> Step:
    return operation, Content(payload=json(payload))


def txn(then: tuple[Step, ...], otherwise: tuple[Step, ...] = ()) -> tuple[Step, ...]:
    return ((Txn(len(then)), None), *then, *otherwise)


def _locks(r: Recorder) -> None:
    name = "deploy/é"
    r.run(said(LockAcquire(name, "a#1", 10_000), {"why": "é", "n": 1.0}), key="lock")  # 3
    r.run(*bare(LockAcquire(name, "b#1", 10_000)), actor=BOB)
    r.run(*bare(LockAcquire(name, "b#1", 10_000, 2)))
    r.run(said(LockAcquire(name, "b#1", 10_000, 1, 60_000), {"w": True}), actor=BOB)
    r.run(*bare(LockAcquire(name, "c#1", 200, 1, 60_000)))
    r.run(*bare(LockAcquire(name, "d#1", 100, 1, 5)))
    r.run(*bare(LockAcquire(name, "b#1", 20_000, 1, 65_000)))
    r.run(
        *bare(LockRenew(name, "a#1", 3), LockRenew(name, "a#1", 4), LockRenew(name, "x", 3, 500, BOB, "r")),
        atomic=False,
    )
    r.run(said(LockAcquire(name, "a#1", 5_000), {}))
    r.run(
        *bare(LockAcquire(name, "e", 99), LockAcquire(name, "e", 100, 0), LockAcquire(name, "e", 100, 1, -1)),
        atomic=False,
    )
    r.run((LockAcquire(name, "e", 100), Content(payload=b"[]")))
    r.run(add("fenced"), guards=(Guard(lock=name, token=3), Guard(lock=name, token=3, owner="a#1")))
    r.run(
        add("late"),
        guards=(Guard(lock=name, token=4), Guard(lock=name, token=3, owner="b#1"), Guard(lock="free", token=1)),
    )
    r.wait(SECOND)
    r.run(*bare(LockLeave(name, "c#1", 7), LockLeave(name, "c#1", 7)), atomic=False)
    r.run(*bare(LockAcquire(name, "c#1", 200, 1, 60_000)))
    r.run(*bare(LockRelease(name, "a#1", 4)))
    r.run(*bare(LockRelease(name, "a#1", 3)), guards=(Guard(lock=name, token=3),))  # 19: b#1
    r.run(*bare(LockLeave(name, "b#1", 9)))
    r.run(*bare(LockLeave(name, "b#1", 6, gone=True)))
    r.run(*bare(LockLeave(name, "b#1", 9, gone=True)))  # 22: c#1
    r.run(*bare(LockExpire(name, "c#1", 22, 0, 2)), actor=SYSTEM)
    r.wait(SECOND)
    r.run(*bare(LockExpire(name, "c#1", 22, 1, 2), LockExpire(name, "c#1", 22, 0, 1)), atomic=False, actor=SYSTEM)
    r.run(*bare(LockExpire(name, "c#1", 22, 0, 2)), actor=SYSTEM)
    r.run(*bare(LockForceRelease(name)))
    r.run(*bare(LockAcquire("own", "a", 1000), LockRelease("own", "a", 27)))
    r.run(*bare(*(LockAcquire("pool", f"p{n}", 1000, 2, n and 10) for n in range(4))))
    r.run(add("s"), guards=(Guard(lock="pool", token=28, owner="p1"), Guard(lock="pool", token=28)))
    r.wait(SECOND)
    r.run(*bare(LockExpire("pool", "p2", None, 0, 2)), actor=SYSTEM)
    r.run(*bare(LockForceRelease("pool"), LockAcquire("pool", "p9", 1000)), atomic=False)
    r.run(
        *bare(LockAcquire(name, "p9", 1000), LockAcquire("other", "p9", 1000), LockAcquire("other", "q", 500, 1, 900))
    )
    r.run(*bare(LockAcquire(name, "q", 500, 1, 900), OwnerRelease("p9")), atomic=False)
    r.run(*bare(OwnerRelease("p9")))


def _tasks(r: Recorder) -> None:
    quick = Backoff(100, 1500, 250)
    base = len(r.log)  # claims are named by their index
    r.run(said(TaskAdd("build", "ci", 5, 0, 3, quick, (), "é", True), {"pr": 812, "ü": [1.5]}), key="task")
    r.run(*bare(TaskAdd("twin", "ci", unique_key="é"), TaskAdd("test", "ci", depends_on=("build", "lint"))))
    r.run(*bare(TaskAdd("build", "ci")))
    r.run(
        *bare(
            TaskAdd("lint", "ci", -5, 500, backoff=quick, max_attempts=2), TaskAdd("ship", "cd", depends_on=("test",))
        )
    )
    r.run(*bare(TaskAdd("x", "ci", depends_on=("y",)), TaskAdd("y", "ci", depends_on=("z",))))
    r.run(*bare(TaskAdd("z", "ci", depends_on=("x",))))
    r.run(*bare(TaskAdd("bad", "ci", max_attempts=0)))
    r.run((TaskAdd("broken", "ci"), Content(payload=b"{")))
    r.run(*bare(TaskClaim(("cd", "ci", "cd"), "w#1", 1000, 5)))
    first = base + 9
    r.run(*bare(TaskClaim(("ci",), "w#2", 1000)))
    r.run(
        *bare(TaskHeartbeat("build", first), TaskHeartbeat("build", 1, 200, BOB, "r"), TaskHeartbeat("no", 1)),
        atomic=False,
    )
    r.run(said(TaskFail("build", first, True), "nø"))
    r.run(*bare(TaskExpire("build", first, 0, 2), TaskExpire("build", base + 12, 0, 2)), atomic=False, actor=SYSTEM)
    r.wait(SECOND)
    r.run(*bare(TaskExpire("build", base + 12, 0, 2), TaskExpire("lint", base + 4, 0, 2)), actor=SYSTEM)
    r.run(*bare(TaskClaim(("ci",), "w#1", 100)))
    r.wait(SECOND)
    r.run(*bare(TaskExpire("build", base + 15, 0, 2)), actor=SYSTEM)
    r.run(*bare(TaskClaim(("ci",), "w#1", 100)))
    r.run(*bare(TaskRelease("build", base + 17)))
    r.run(*bare(TaskClaim(("ci",), "w#3", 60_000, 2)))
    last = base + 19
    r.run(said(TaskComplete("build", last - 2), 1))
    r.run(said(TaskComplete("build", last), {"ok": True, "é": 1e300}), guards=(Guard(lock="none", token=1),))
    r.run(said(TaskComplete("build", last), {"ok": True, "é": 1e300}))
    r.run(*bare(TaskCancel("lint"), TaskCancel("lint"), TaskCancel("build"), TaskCancel("no")), atomic=False)
    r.run(*bare(TaskRetry("lint")))
    r.run(said(TaskFail("lint", last, False), {"msg": "no"}))
    r.run(
        *bare(TaskRetry("ship"), TaskRetry("lint"), TaskRetry("test"), TaskRetry("ship"), TaskRetry("build")),
        atomic=False,
    )
    r.run(*bare(TaskCancel("y")))
    r.run(*bare(TaskClaim(("ci",), "gone", 60_000, 9)))
    r.run(*bare(OwnerRelease("gone")))
    r.run(*bare(*(TaskAdd(f"d{n:03}", "many", depends_on=("hub",)) for n in range(TASK_TELL_MAX + 3))))
    r.run(*bare(TaskAdd("hub", "many", max_attempts=1)))
    r.run(*bare(TaskClaim(("many",), "w", 60_000)))
    r.run(*bare(TaskFail("hub", base + 32, True)))
    r.run(*bare(TaskExpire("hub", base + 33, 0, 2)), actor=SYSTEM)
    r.run(*bare(TaskAdd("after", "many", depends_on=("hub",))))
    r.wait(TASK_KEEP_US)
    r.run(*bare(TaskExpire("hub", base + 34, 0, 2), TaskExpire("build", base + 22, 0, 2)), atomic=False, actor=SYSTEM)


def _gates(r: Recorder) -> None:
    pins = (Pin("fenced", 1), Pin("suite", 2))
    r.run(*bare(GatePut("go/é", 2, ("alice", "user/bob é"), pins)), key="gate")
    r.run(*bare(GatePut("go/é", 2, ("user/bob é", "alice"), tuple(reversed(pins)))))
    r.run(*bare(GatePut("go/é", 65), GatePut("go/é", 1, (), (Pin("a", 0),)), GateConsume("never")), atomic=False)
    r.run(said(GateApprove("go/é"), {"text": "é"}))
    r.run(*bare(GateApprove("go/é")))
    r.run(*bare(GateApprove("go/é")), actor=SYSTEM)
    r.run(*bare(GateApprove("go/é"), GateConsume("go/é")), atomic=False, actor=BOB)
    r.run(add("suite"), change("suite", merge("value", "set", 1)))
    r.run(
        add("n"),
        guards=(Guard(gate="go/é", open=True), Guard(gate="never", open=False), Guard(gate="go/é", open=False)),
    )
    r.run(*bare(GateRevoke("go/é"), GateRevoke("go/é")))
    r.run(*bare(GateApprove("go/é")))
    r.run((Update("suite", Fields()), Content(text="changed")))
    r.run(*bare(GatePut("go/é", 0, (), (Pin("suite", 3),))))
    r.run((Delete("suite"), None), (GateConsume("go/é"), None))
    r.run((GateConsume("go/é"), None), (Delete("suite"), None))
    r.run(*bare(GateApprove("go/é"), GateRevoke("go/é"), GateConsume("go/é")), atomic=False)
    r.run(*bare(GatePut("go/é", 0)))


def _transactions(r: Recorder) -> None:
    r.leader()
    is_open = Guard(gate="go/é", open=True)
    take = bare(LockAcquire("a", "me", 1000), LockAcquire("b", "me", 1000))
    r.run(*bare(LockAcquire("b", "you", 1000)))
    held = len(r.log)
    r.run(*txn((add("not"), *take)))
    r.run(
        *txn((add("not"), *take), bare(LockRelease("b", "you", held))),
        guards=(is_open, Guard(lock="b", token=1)),
        key="t",
    )
    r.run(*txn((said(LockAcquire("c", "me", 1000), {"k": 1}), *take), (add("not"),)), guards=(is_open,), key="t2")
    r.run(*txn((said(LockAcquire("c", "me", 1000), {"k": 1}), *take), (add("not"),)), guards=(is_open,), key="t2")
    r.run(*txn((add("not"),)), key="t2", fingerprint=bytes(32))
    r.run(*bare(TaskAdd("deploy", "cd"), TaskClaim(("cd",), "w", 1000)))
    claimed = len(r.log)
    done = said(TaskComplete("deploy", claimed), {"at": "é"})
    r.run(*txn((*bare(GateConsume("go/é")), done, add("deployed"))), guards=(Guard(lock="c", token=held + 3),))
    r.run(*txn((*bare(GateConsume("go/é")), add("twice"))))
    r.run(*txn((), ()))
    r.run(*bare(Txn(-1)))
    r.run(*bare(Txn(3), Txn(0)))
    r.run(add("in"), *txn((add("out"),)), atomic=False)


def coordination() -> list[LogEntry]:
    r = Recorder()
    for part in (members, _locks, _tasks, _gates, _transactions):
        part(r)
    return r.log
