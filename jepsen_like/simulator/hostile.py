"""Hostile schedules drawn from a seed: crashes, partitions, broken connections, pauses, bad disks, drifting clocks.

`run(seed)` raises Violation when something that must hold did not; otherwise it returns what happened, counted.
"""

from collections import Counter

from jepsen_like.simulator.group import Group, Replica
from raftmem.raft.timing import Timing

FAULTS = ("crash", "crash_all", "torn", "isolate", "block", "cut", "pause", "hang", "slow", "full")


def run(seed: int, *, seconds: float = 30.0, names: tuple[str, ...] = ("n1", "n2", "n3")) -> Counter[str]:
    """One schedule: faults for two thirds of the time, then a calm in which all replicas must agree again."""
    group = _hostile_group(seed, names)
    choose = group.world.random
    pace = choose.choice([0.3, 1.0, 3.0])
    group.start()
    counts: Counter[str] = Counter()
    calm = group.world.now + seconds * 2 / 3
    number = 0
    next_fault = group.world.now + 1.0
    quiet = False
    while group.world.now < calm:
        group.world.run(choose.expovariate(60.0))
        number += 1
        _work(group, number, counts, quiet=quiet)
        if group.world.now >= next_fault:
            fault = choose.choice(FAULTS)
            counts[fault] += 1
            quiet = choose.random() < 0.4
            if quiet:
                group.world.run(0.3)  # all have caught up
            _inflict(group, fault)
            next_fault = group.world.now + choose.expovariate(1 / pace)
    _calm(group)
    group.wait_leader()
    group.propose(number + 1)
    group.wait_equal()
    _agreed(group)
    counts.update(acked=len(group.acked), terms=len(group.referee.leaders), reads=group.reads)
    return counts


def _hostile_group(seed: int, names: tuple[str, ...]) -> Group:
    group = Group(seed, names=names)
    choose = group.world.random
    drift = choose.choice([0.01, 0.2])
    group.timing = Timing(0.5, 0.05, drift)
    group.append_bytes_max = choose.choice([40, 400, 1 << 20])
    group.sync_seconds = choose.choice([0.0001, 0.002, 0.02])
    group.network.delay = choose.choice([0.0005, 0.005, 0.03])
    group.network.jitter = group.network.delay
    group.network.disorder = choose.choice([0.0, 0.0, 0.1])
    for replica in group.replicas.values():
        replica.rate = 1.0 + choose.choice([-drift, drift, choose.uniform(-drift, drift)])
    return group


def _work(group: Group, number: int, counts: Counter[str], *, quiet: bool) -> None:
    """A command to the leader or by way of a follower, and now and then a read. Quiet: reads alone, so that a
    replica that was cut off could still win."""
    replica = group.world.random.choice(list(group.replicas.values()))
    if quiet:
        pass
    elif group.world.random.random() < 0.3:
        counts["forwarded"] += group.forward(number, replica)
    else:
        counts["proposed"] += group.propose(number)
    counts["lease_reads"] += group.lease_read(replica)
    if number % 4 == 0:
        group.read(replica, quorum=number % 8 == 0)


def _inflict(group: Group, fault: str) -> None:
    choose = group.world.random
    world, network = group.world, group.network
    leader = group.leader()
    victim = choose.choice(list(group.replicas.values())) if leader is None or choose.random() < 0.5 else leader
    other = choose.choice([name for name in group.names if name != victim.name])
    length = choose.choice([0.05, 0.4, 1.0, 3.0])
    if fault in ("crash", "crash_all"):
        for replica in group.replicas.values() if fault == "crash_all" else [victim]:
            _crash(group, replica, length * choose.random())
    elif fault == "torn":
        when_on_disk = choose.random() < 0.5
        victim.machine.at_commit = lambda on_disk: on_disk == when_on_disk and _crash(group, victim, length)
    elif fault == "isolate":
        network.isolate(victim.name)
        world.at(world.now + length, network.heal)
    elif fault == "block":
        network.block(victim.name, other)
        world.at(world.now + length, network.heal)
    elif fault == "cut":
        network.cut(victim.name, other)
        world.at(world.now + length, lambda: network.connect(victim.name, other))
    elif fault == "pause":
        victim.machine.paused_until = world.now + length
    elif fault == "hang":
        machine = victim.machine
        machine.hold_syncs = True
        world.at(world.now + length, machine.release_syncs)
    elif fault == "full":
        victim.store.bytes_max = 0
        world.at(world.now + length, lambda: _make_room(victim))
    else:
        victim.machine.sync_seconds = choose.choice([0.0001, 0.05, 0.3])


def _crash(group: Group, replica: Replica, seconds: float) -> bool:
    """Kill it now, start it again later."""
    if replica.up:
        replica.crash()
        group.world.at(group.world.now + seconds, lambda: _restart(replica))
    return True


def _restart(replica: Replica) -> None:
    if not replica.up:
        replica.start()


def _make_room(replica: Replica) -> None:
    replica.store.bytes_max = None


def _calm(group: Group) -> None:
    group.network.disorder = 0.0
    group.network.heal()
    for replica in group.replicas.values():
        replica.machine.paused_until = 0.0
        replica.machine.at_commit = None
        replica.machine.release_syncs()
        replica.machine.sync_seconds = group.sync_seconds
        _make_room(replica)
        _restart(replica)


def _agreed(group: Group) -> None:
    """Every replica applied the same, and every acknowledged command is there under its term."""
    for replica in group.replicas.values():
        group.check(replica)
        for entry in replica.applied[1:]:
            if group.referee.truth[entry.index] != entry:
                raise group.referee.fail(f"{replica.name} has another entry at {entry.index}")
    for number, index in group.acked.items():
        if group.referee.truth[index].term != group.proposed[number][1]:
            raise group.referee.fail(f"command {number} was acknowledged at {index} and is not there")
