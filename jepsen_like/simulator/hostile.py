"""Hostile schedules drawn from a seed: crashes, partitions, broken connections, pauses, slow and hanging disks, drift.

`run(seed)` raises Violation when something that must hold did not; otherwise it returns what happened, counted.
"""

from collections import Counter

from jepsen_like.simulator.group import Group, Replica, Violation
from raftmem.raft.consensus import Timing

FAULTS = ("crash", "crash_all", "isolate", "block", "cut", "pause", "hang", "slow")


def run(seed: int, *, seconds: float = 30.0, names: tuple[str, ...] = ("n1", "n2", "n3")) -> Counter[str]:
    """One schedule: faults for two thirds of the time, then a calm in which all replicas must agree again."""
    group = Group(seed, names=names, timing=Timing(0.5, 0.05, 0.01))
    choose = group.world.random
    group.append_bytes_max = choose.choice([40, 400, 1 << 20])
    group.sync_seconds = choose.choice([0.0001, 0.002, 0.02])
    group.network.delay = choose.choice([0.0005, 0.005, 0.03])
    group.network.jitter = group.network.delay
    pace = choose.choice([0.3, 1.0, 2.5])
    for replica in group.replicas.values():
        replica.rate = 1.0 + choose.uniform(-0.01, 0.01)
    group.start()
    counts: Counter[str] = Counter()
    calm = group.world.now + seconds * 2 / 3
    number = 0
    next_fault = group.world.now + 1.0
    reads: list[tuple[int, int]] = []
    while group.world.now < calm:
        group.world.run(choose.expovariate(60.0))
        number += 1
        counts["proposed"] += group.propose(number)
        _lease_read(group, choose.choice(list(group.replicas.values())), counts)
        if group.world.now >= next_fault:
            fault = choose.choice(FAULTS)
            counts[fault] += 1
            _inflict(group, fault)
            next_fault = group.world.now + choose.expovariate(1 / pace)
    _calm(group)
    group.wait_leader()
    group.propose(number + 1)
    group.wait_equal()
    for acked, index in group.acked.items():
        if group.truth[index] != (group.proposed[acked][1], group.truth[index][1]):
            raise Violation(f"seed {seed}: command {acked} was acknowledged at {index} and is not there")
    counts["acked"] = len(group.acked)
    counts["terms"] = len(group.leaders)
    counts["reads"] += len(reads)
    return counts


def _lease_read(group: Group, replica: Replica, counts: Counter[str]) -> None:
    """A lease read must see every command that anyone applied before it."""
    if replica.consensus is None or replica.machine.paused_until > group.world.now:
        return
    index = replica.consensus.lease_index()
    if index is None:
        return
    counts["lease_reads"] += 1
    newest = max(group.truth, default=1)
    if index < newest:
        raise Violation(f"seed {group.seed}: {replica.name} reads at {index} under its lease, {newest} was applied")


def _inflict(group: Group, fault: str) -> None:
    choose = group.world.random
    world, network = group.world, group.network
    victim = choose.choice(list(group.replicas.values()))
    other = choose.choice([name for name in group.names if name != victim.name])
    length = choose.choice([0.05, 0.4, 1.0, 3.0])
    if fault in ("crash", "crash_all"):
        for replica in group.replicas.values() if fault == "crash_all" else [victim]:
            if replica.up:
                replica.crash()
                world.at(world.now + length * choose.random(), lambda again=replica: _restart(again))
    elif fault == "isolate":
        network.isolate(victim.name)
        world.at(world.now + length, network.heal)
    elif fault == "block":
        network.block(victim.name, other)
        world.at(world.now + length, network.heal)
    elif fault == "cut":
        network.cut(victim.name, other)
        world.at(world.now + length / 4, lambda: network.connect(victim.name, other))
    elif fault == "pause":
        victim.machine.paused_until = world.now + length
    elif fault == "hang":
        machine = victim.machine
        machine.hold_syncs = True
        world.at(world.now + length, machine.release_syncs)
    else:
        victim.machine.sync_seconds = choose.choice([0.0001, 0.05, 0.3])


def _restart(replica: Replica) -> None:
    if not replica.up:
        replica.start()


def _calm(group: Group) -> None:
    group.network.heal()
    for replica in group.replicas.values():
        replica.machine.paused_until = 0.0
        replica.machine.release_syncs()
        replica.machine.sync_seconds = group.sync_seconds
        _restart(replica)
