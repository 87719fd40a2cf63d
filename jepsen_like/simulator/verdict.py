"""The verdict at the end of a schedule, beside what was checked at every step.

Every acknowledged command stands where its proposer was told, once, in every state, those made from snapshots too; what
became of the unknown ones is counted.
"""

from jepsen_like.simulator.group import Group
from raftmem.model import codec


def judge(group: Group) -> None:
    """Raises: Violation."""
    if group.world.failure is not None:
        raise group.world.failure
    referee = group.referee
    for number, index in group.acked.items():
        if referee.truth[index].term != group.proposed[number][1]:
            raise referee.fail(f"command {number} was acknowledged at {index} and is not there")
    for replica in group.replicas.values():
        _judge_state(group, replica.name)
    applied = {entry.data[codec.PREFIX_BYTES :] for entry in referee.truth.values()}
    for body in group.unknown.values():
        group.sometimes.saw("unknown write applied" if body in applied else "unknown write lost")
    for number in group.proposed.keys() - group.acked.keys():
        group.sometimes.saw("unknown write lost" if group.proposed[number][0] <= referee.newest else "write left open")
    group.sometimes["acked"] += len(group.acked)
    group.sometimes["applied"] += referee.newest
    group.sometimes["terms"] += len(referee.leaders)
    group.sometimes["confirmed reads"] += group.reads


def _judge_state(group: Group, name: str) -> None:
    """Every event in the state is the truth, whether it was applied here or came with a snapshot."""
    state, referee = group.replicas[name].disk.state, group.referee
    head = state.head()
    referee.stands_at(name, head.index, head.digest)
    for row in state.read().events(1, head.index + 1):
        applied = referee.applied[row.index]
        if (row.term, row.digest, row.data) != (applied.row.term, applied.row.digest, applied.row.data):
            raise referee.fail(f"the state of {name} holds another event at {row.index}")
