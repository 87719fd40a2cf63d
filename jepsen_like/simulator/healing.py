"""The end of the faults: everything comes back (safety), or a majority does and the rest never (liveness).

Safety: all members must agree again, and a voter whose folder was wiped must come back by a replacement. Liveness: new
writes must be committed and applied by the chosen majority, whatever the rest do, within a stated time, and what dead
agents have must go; else Stuck.
"""

import random
from collections.abc import Callable
from typing import Final

from jepsen_like.simulator.agents import Agents
from jepsen_like.simulator.group import Group
from jepsen_like.simulator.options import Options
from jepsen_like.simulator.oracles import Stuck
from jepsen_like.simulator.replicas import Replica
from jepsen_like.simulator.workload import Workload
from raftmem.model.commands import Members

LET_GO: Final = 30.0  # election timeouts beyond the leases of the dead, with all that it takes to have a leader
CHANGES: Final = 4  # of the leader meanwhile; more, and a replica that must come up to the others may never do so
BETWEEN_CHANGES: Final = 3.0  # election timeouts
FATES: Final = ("crash", "isolate", "pause", "flap", "crash again and again", "stay")


class Healing:
    """`begin` at the end of the faults, `finish` when the time is over."""

    def __init__(
        self,
        group: Group,
        workload: Workload,
        agents: Agents | None,
        options: Options,
        trace: Callable[[str], None],
    ) -> None:
        self._group = group
        self._workload = workload
        self._agents = agents
        self._options = options
        self._trace = trace
        self._choose = random.Random(f"healing {options.seed}")
        self._chosen: list[Replica] = []
        self._writes_from = 0

    def begin(self) -> None:
        group = self._group
        group.network.disorder = 0.0
        self._workload.quiet_until = 0.0
        self._chosen = list(group.replicas.values())
        if self._options.mode == "liveness":
            self._choose_majority()
        if self._options.level == "async":
            self._connect_anew()
        chosen = {replica.name for replica in self._chosen}
        for name in group.replicas:
            if name not in chosen:
                self._condemn(group.replicas[name])
        for replica in self._chosen:
            self._heal(replica)
        group.network.heal()
        self._writes_from = self._workload.number()
        if self._options.mode == "safety":
            self._replace_wiped()

    def finish(self) -> None:
        group, patience = self._group, self._options.wait * self._options.election_timeout
        if self._options.mode == "liveness":
            if not group.world.run(patience, self._went_on):
                raise Stuck(self._story(f"no new write is applied by {self._names()} within {patience:g} s"))
            group.sometimes.saw("progress with a majority alone")
        self._workload.stopped = True
        if self._agents is not None:
            self._agents.stopped = True
            if self._options.mode == "liveness":
                self._let_go()
        if self._options.mode == "safety":
            if not group.world.run(patience, self._none_wiped):
                raise Stuck(self._story(f"a wiped voter is not replaced within {patience:g} s"))
            group.wait_leader(patience)
            group.propose(self._workload.number())
            group.wait_equal(patience)

    def _story(self, what: str) -> str:
        states = [
            f"{replica.name}: {'up' if replica.up else 'down'}, applied {replica.index}, log ends at "
            f"{replica.store.last_index()}, term {replica.store.hard_state().term}"
            for replica in self._group.replicas.values()
        ]
        return f"seed {self._options.seed}: {what}; " + "; ".join(states)

    # --- everything comes back ---------------------------------------------------------------------
    def _heal(self, replica: Replica) -> None:
        machine = replica.machine
        machine.paused_until = 0.0
        for executor in (machine, machine.chores):
            executor.at_commit = None
            executor.sync_seconds = self._options.sync_seconds
            executor.release_syncs()
        replica.disk.log.full = False
        replica.disk.log.tears = replica.disk.log.sync_fails = None
        if not replica.up and not replica.gone:
            replica.start()

    def _connect_anew(self) -> None:
        """Break connections that lost a message: TCP does not lose one on a connection that goes on."""
        names = list(self._group.replicas)
        for a in names:
            for b in names:
                self._group.network.cut(a, b)

    def _wiped(self) -> list[Replica]:
        """Voters whose folder is not the one that the group knows."""
        newest = self._group.settled_memberships()[-1]
        return [self._group.replicas[one.id] for one in newest.voters if self._group.replicas[one.id].wiped]

    def _none_wiped(self) -> bool:
        return not self._wiped()

    def _replace_wiped(self) -> None:
        """Asked for until it is done, as an operator would."""
        group = self._group
        wiped = self._wiped()
        if not wiped:
            return
        newest = group.settled_memberships()[-1]
        if not any(learner.replaces == wiped[0].name for learner in newest.learners):
            waiting = [one for one in group.replicas.values() if newest.member(one.name) is None and one.up]
            waiting = [one for one in waiting if not one.wiped and not one.gone]
            refused = group.add(waiting[0] if waiting else group.newcomer(), replaces=wiped[0].name)
            self._trace(f"operator replace {wiped[0].name}: {refused or 'done'}")
        group.world.at(group.world.now + self._options.election_timeout, self._replace_wiped)

    # --- a majority comes back ---------------------------------------------------------------------
    def _names(self) -> str:
        return ", ".join(replica.name for replica in self._chosen)

    def _choose_majority(self) -> None:
        """Of every membership that one of the chosen may find in force; learners are about to be voters."""
        group = self._group
        order = [replica for replica in group.replicas.values() if not replica.wiped and not replica.gone]
        self._choose.shuffle(order)
        chosen: set[str] = set()
        while True:
            short = next((members for members in self._memberships(chosen) if self._is_short(members, chosen)), None)
            if short is None:
                break
            wanted = {one.id for one in short.learners} or set()
            voters = {one.id for one in short.voters}
            more = next((one.name for one in order if one.name in voters - chosen), None)
            if wanted <= chosen and more is None:
                break  # there is no majority left to choose; nemesis does not let it come to that
            chosen |= wanted
            if more is not None:
                chosen.add(more)
        self._chosen = [replica for replica in group.replicas.values() if replica.name in chosen]
        self._trace(f"healed for good: {self._names()}")

    def _memberships(self, chosen: set[str]) -> list[Members]:
        """The newest that was committed, and later ones in the logs of the chosen."""
        referee = self._group.referee
        settled = referee.membership_index(referee.newest)
        later = [
            members
            for (index, term), members in referee.memberships.items()
            if index > settled and any(self._holds(name, index, term) for name in chosen)
        ]
        return [self._group.settled_memberships()[-1], *later]

    def _holds(self, name: str, index: int, term: int) -> bool:
        found = self._group.replicas[name].store.read(index, index + 1)
        return bool(found) and found[0].term == term

    @staticmethod
    def _is_short(members: Members, chosen: set[str]) -> bool:
        voters = [one.id for one in members.voters]
        missing = {one.id for one in members.learners} - chosen
        return bool(missing) or sum(voter in chosen for voter in voters) <= len(voters) // 2

    def _condemn(self, replica: Replica) -> None:
        """Faulty for ever, in one way or another."""
        group, fate = self._group, self._choose.choice(FATES)
        self._trace(f"faulty for ever: {replica.name}, {fate}")
        replica.condemned = True
        group.network.exile(replica.name, exiled=fate in ("isolate", "flap"))
        if fate == "crash" and replica.up:
            replica.crash()
        elif fate == "pause":
            replica.machine.paused_until = float("inf")
        elif fate == "flap":
            self._flap(replica, isolated=True)
        elif fate == "crash again and again":
            self._die_again(replica)

    def _again(self) -> float:
        return self._group.world.now + self._options.election_timeout * self._choose.uniform(0.2, 3.0)

    def _flap(self, replica: Replica, *, isolated: bool) -> None:
        self._group.network.exile(replica.name, exiled=isolated)
        self._group.world.at(self._again(), lambda: self._flap(replica, isolated=not isolated))

    def _die_again(self, replica: Replica) -> None:
        if replica.gone:
            return
        if replica.up:
            replica.crash()
        else:
            replica.start()
        self._group.world.at(self._again(), lambda: self._die_again(replica))

    def _let_go(self) -> None:
        """Every agent is dead from here on: what they had goes in time, though the leader changes again and again."""
        group, options = self._group, self._options
        coordination = group.coordination
        assert coordination is not None
        if not coordination.left():
            return
        leases = coordination.longest_left() / (1.0 - options.drift)
        patience = leases + LET_GO * options.election_timeout
        self._change_leaders(CHANGES)
        if not group.world.run(patience, lambda: not coordination.left()):
            what = f"within {patience:g} s of their agents' death there is still: {', '.join(coordination.left())}"
            raise Stuck(self._story(what))
        group.sometimes.saw("everything let go by the dead")

    def _change_leaders(self, more: int) -> None:
        group, pause = self._group, BETWEEN_CHANGES * self._options.election_timeout
        self._trace(f"operator transfer to anybody: {group.transfer(None) or 'done'}")
        if more > 1:
            group.world.at(group.world.now + pause, lambda: self._change_leaders(more - 1))

    def _went_on(self) -> bool:
        """A write that was begun after the healing is applied by all of the majority that are members still."""
        applied = [index for number, index in self._group.acked.items() if number > self._writes_from]
        if not applied:
            return False
        newest = self._group.settled_memberships()[-1]
        return all(one.index >= min(applied) for one in self._chosen if newest.member(one.name) is not None)
