"""The group as one replica sees it: itself in full, the others as far as it was told; a leader knows more."""

from collections.abc import Callable

from raftmem.model.commands import Member
from raftmem.raft.consensus import Consensus
from raftmem.replica.apply_loop import Replica
from raftmem.service.interface import MemberView, Role, Status


class ClusterView:
    """`greeting(member)`: the address and version that it gave when it last connected, if it has."""

    def __init__(
        self,
        *,
        consensus: Consensus,
        replica: Replica,
        incarnation: int,
        greeting: Callable[[str], tuple[str, str] | None],
        version: str,
    ) -> None:
        self._consensus = consensus
        self._replica = replica
        self._incarnation = incarnation
        self._greeting = greeting
        self._version = version

    @property
    def leader_url(self) -> str | None:
        leader = self._consensus.leader
        member = None if leader is None else self._consensus.members.member(leader)
        return None if member is None else self._rest_url(member)

    def status(self) -> Status:
        consensus, members = self._consensus, self._consensus.members
        journal = consensus.journal
        return Status(
            node_id=consensus.node_id,
            cluster_id=members.cluster_id,
            incarnation=self._incarnation,
            term=consensus.term,
            leader_id=consensus.leader,
            leader_url=self.leader_url,
            commit_index=consensus.commit_index,
            applied_index=self._replica.applied,
            last_index=journal.last_index,
            durable_index=journal.durable_index,
            members=(
                *(self._member(member, "follower") for member in members.voters),
                *(self._member(member, "learner") for member in members.learners),
            ),
        )

    def _rest_url(self, member: Member) -> str:
        """As it said itself when it last connected, else as the membership has it."""
        greeting = self._greeting(member.id)
        return member.rest_url if greeting is None else greeting[0]

    def _member(self, member: Member, role: Role) -> MemberView:
        consensus, node = self._consensus, member.id
        if node == consensus.leader:
            role = "leader"
        if node == consensus.node_id:
            return MemberView(
                id=node,
                role=role,
                rest_url=member.rest_url,
                peer_url=member.peer_url,
                applied_index=self._replica.applied,
                match_index=consensus.journal.durable_index,
                lag_entries=max(0, consensus.commit_index - self._replica.applied),
                contact_age_ms=0,
                version=self._version,
            )
        leading, greeting = consensus.leading, self._greeting(node)
        progress = None if leading is None else leading.progress[node]
        heard = leading is not None and leading.rounds.has_echoed(node)
        contact = leading.contact_seconds(node) if leading is not None and heard else None
        return MemberView(
            id=node,
            role=role,
            rest_url=self._rest_url(member),
            peer_url=member.peer_url,
            applied_index=None if progress is None else progress.applied,
            match_index=None if progress is None else progress.match,
            lag_entries=None if progress is None else max(0, consensus.journal.last_index - progress.match),
            contact_age_ms=None if contact is None else int(contact * 1000),
            version=None if greeting is None else greeting[1],
        )
