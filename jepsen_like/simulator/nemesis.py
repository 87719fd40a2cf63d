"""The faults of a schedule: how each strikes a group, and how it ends.

It never takes more than the promises allow: folders are wiped, and members leave, only while a majority of every
membership that any log holds keeps its own folder.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import assert_never

from jepsen_like.simulator.group import Group
from jepsen_like.simulator.options import Options
from jepsen_like.simulator.replicas import Replica
from jepsen_like.simulator.schedule import Fault
from jepsen_like.simulator.world import VirtualExecutor
from raftmem.model.commands import Members

NEWCOMERS_MAX = 4  # over a whole schedule
TORN = {
    "torn": "crash between commit and answer",
    "torn_chore": "crash during a snapshot",
    "torn_install": "crash in an install",
}


class Nemesis:
    """Lengths go by the election timeout."""

    def __init__(self, group: Group, options: Options, trace: Callable[[str], None]) -> None:
        self._group = group
        self._timeout = options.election_timeout
        self._spread = options.drift * options.rate_spread
        self._same_folder_id = options.same_folder_id
        self._trace = trace
        self._newcomers: list[Replica] = []

    def inflict(self, fault: Fault) -> None:
        members = self._members()
        if not members:
            return
        leader = self._group.leader()
        victim = leader if fault.victim is None and leader is not None else members[(fault.victim or 0) % len(members)]
        others = [replica for replica in members if replica is not victim]
        other = others[fault.other % len(others)] if others else victim
        self._trace(f"fault {fault} hits {victim.name} {other.name}")
        self._hit(fault, victim, other)

    def _members(self) -> list[Replica]:
        """Of the newest membership that was committed, and who waits to be one."""
        replicas = self._group.replicas
        named = self._newest()
        present = [replicas[one.id] for one in (*named.voters, *named.learners)]
        waiting = [one for one in self._newcomers if one not in present]
        return [replica for replica in (*present, *waiting) if not replica.gone]

    def _newest(self) -> Members:
        return self._group.settled_memberships()[-1]

    def _hit(self, fault: Fault, victim: Replica, other: Replica) -> None:  # one line a kind
        group, network, length = self._group, self._group.network, fault.length
        match fault.kind:
            case "crash" | "power":
                self._down([victim], length, power=fault.kind == "power")
            case "crash_all" | "power_all":
                self._down(self._members(), length, power=fault.kind == "power_all", share=fault.share)
            case "torn" | "torn_chore":
                self._tear(victim, fault)
            case "torn_install":
                for replica in self._members():
                    self._tear(replica, fault)
            case "pause":
                victim.machine.paused_until = max(victim.machine.paused_until, group.world.now + length)
            case "hang":
                self._hang(victim.machine if fault.share < 0.7 else victim.machine.chores, length)
            case "slow":
                seconds = self._timeout * fault.share**3
                victim.machine.sync_seconds = victim.machine.chores.sync_seconds = seconds
            case "full":
                self._fill(victim, length)
            case "fsync_error":
                if victim.up:
                    victim.disk.log.sync_fails = fault.share < 0.5
                    self._later(length, lambda: self._restart(victim, power=True))
            case "wipe":
                self._wipe(victim, fault)
            case "isolate":
                network.isolate(victim.name)
                self._later(length, lambda: network.rejoin(victim.name))
            case "block":
                network.block(victim.name, other.name)
                self._later(length, lambda: network.unblock(victim.name, other.name))
            case "cut":
                network.cut(victim.name, other.name)
                self._later(length, lambda: network.connect(victim.name, other.name))
            case "partition":
                for replica in self._members():
                    network.isolate(replica.name)
                self._later(length, network.heal)
            case "jump":
                victim.machine.wall_offset_ms += int((fault.share - 0.5) * 10**10)
            case "drift":
                victim.rate = 1.0 + self._spread * (2.0 * fault.share - 1.0)
                victim.machine.set_rate(victim.rate)
            case "add":
                self._add(None)
            case "remove":
                self._remove(victim)
            case "replace":
                self._replace(victim)
            case "transfer":
                self._transfer(None if fault.share < 0.3 else other.name)
            case "snapshot":
                victim.take_snapshot()
            case _:
                assert_never(fault.kind)

    # --- machines ----------------------------------------------------------------------------------
    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        self._group.world.at(self._group.world.now + seconds, event)

    def _down(self, victims: Iterable[Replica], length: float, *, power: bool, share: float = 1.0) -> None:
        """Kill them now, start them again later, each at its own time."""
        for number, victim in enumerate(victims):
            if victim.up:
                victim.crash()
                again = length * share ** (number + 1)
                self._later(again, partial(self._restart, victim, power=power))

    def _restart(self, replica: Replica, *, power: bool = False) -> None:
        if not replica.up and not replica.gone and not replica.condemned:
            replica.start(power_lost=power)

    def _tear(self, victim: Replica, fault: Fault) -> None:
        """Ends its life around the next piece of work of one of its threads, before, in the middle or after; or when
        the log begins at a snapshot and the state does not hold it yet."""
        if not victim.up:
            return
        machine, sometimes = victim.machine, self._group.sometimes

        def crash() -> None:
            self._down([victim], fault.length, power=fault.share * 7 % 1 < 0.3)

        if fault.kind == "torn" and fault.share < 0.5:
            victim.disk.log.tear_share = fault.share * 2
            victim.disk.log.tears = crash
            return
        executor: VirtualExecutor = machine.chores if fault.kind == "torn_chore" else machine
        after = fault.kind != "torn_chore" or fault.share < 0.6

        def boundary(done: bool) -> bool:
            awaited = fault.kind == "torn_install" and not victim.disk.log.began_anew
            if done != after or awaited or not machine.alive:
                return False
            crash()
            sometimes.saw(TORN[fault.kind])
            return True

        executor.at_commit = boundary

    def _hang(self, executor: VirtualExecutor, length: float) -> None:
        executor.hold_syncs = True
        self._later(length, executor.release_syncs)

    def _fill(self, victim: Replica, length: float) -> None:
        log = victim.disk.log
        log.full = True

        def room() -> None:
            log.full = False

        self._later(length, room)

    def _wipe(self, victim: Replica, fault: Fault) -> None:
        """One at a time: with more of them, what was acknowledged may be gone for good."""
        voters = {one.id for one in self._newest().voters}
        if victim.name not in voters or any(self._group.replicas[name].wiped for name in voters):
            return
        if not self._leaves_majority(victim.name):
            return
        folder_id = victim.disk.folder.folder_id if self._same_folder_id else f"another-{victim.name}"
        victim.wipe(self._group.new_folder(victim.name, folder_id))
        self._later(fault.length, lambda: self._restart(victim))

    def _leaves_majority(self, name: str) -> bool:
        """Of every membership that may be in force now or soon."""
        lost = {name} | {one.name for one in self._group.replicas.values() if one.wiped or one.gone}
        referee = self._group.referee
        settled = referee.membership_index(referee.newest)
        written = [members for (index, _), members in referee.memberships.items() if index >= settled]
        leader = self._group.leader()
        begun = [leader.members] if leader is not None and leader.members is not None else []  # on no disk yet
        for members in (*written, *begun):
            kept = [one for one in members.voters if one.id not in lost]
            if len(kept) <= len(members.voters) // 2:
                return False
        return True

    # --- members -----------------------------------------------------------------------------------
    def _newcomer(self) -> Replica | None:
        """The newcomer that waits already, or a new one."""
        members = self._newest()
        for replica in self._newcomers:
            if members.member(replica.name) is None and not replica.gone:
                return replica
        if len(self._newcomers) >= NEWCOMERS_MAX or len(members.voters) + len(members.learners) >= 7:
            return None
        replica = self._group.newcomer()
        self._newcomers.append(replica)
        return replica

    def _add(self, replaces: str | None) -> None:
        newcomer = self._newcomer()
        if newcomer is not None:
            self._asked("add", newcomer.name, self._group.add(newcomer, replaces=replaces))

    def _replace(self, victim: Replica) -> None:
        """A wiped one first: it has no other way back."""
        voters = [self._group.replicas[one.id] for one in self._newest().voters]
        wiped = [replica for replica in voters if replica.wiped]
        if wiped or victim in voters:
            self._add((wiped or [victim])[0].name)

    def _remove(self, victim: Replica) -> None:
        if self._leaves_majority(victim.name) and not any(one.wiped for one in self._members() if one is not victim):
            self._asked("remove", victim.name, self._group.remove(victim.name))

    def _transfer(self, heir: str | None) -> None:
        self._asked("transfer to", heir or "anybody", self._group.transfer(heir))

    def _asked(self, what: str, whom: str, refused: str | None) -> None:
        self._group.sometimes.saw(f"asked: {what.split()[0]}{' (refused)' if refused else ''}")
        self._trace(f"operator {what} {whom}: {refused or 'done'}")
