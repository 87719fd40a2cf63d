"""The commands of a scenario, one function each; `scenario_commands.py` says what each means.

Rule: an act says what it finds and goes on (nothing waits, the replica refuses), so that a script gets as far as its
checks also when it runs with a rule switched off. Only what cannot be meant raises ValueError, KeyError or IndexError.
"""

from collections.abc import Callable, Sequence
from typing import Final

from jepsen_like.simulator.life import member
from jepsen_like.simulator.scenario_locks import LOCK_ACTS
from jepsen_like.simulator.stage import Stage
from jepsen_like.simulator.stage_clients import body_of
from jepsen_like.simulator.stage_network import Letter
from jepsen_like.simulator.stage_replica import StageReplica
from raftmem.errors import NotApplied
from raftmem.model import codec
from raftmem.model.commands import Actor, Member
from raftmem.raft.consensus import Consensus
from raftmem.raft.membership import ids
from raftmem.storage.log.contract import Append, HardState, LogEntry

OPERATOR: Final = Actor("user", "operator")
CAMPAIGNS_MAX: Final = 3
Act = Callable[[Stage, Sequence[str], dict[str, str]], None]


def _seconds(word: str) -> float:
    return float(word.removesuffix("s"))


def _way(word: str) -> tuple[str, str]:
    sender, to = word.split("->")
    return sender, to


# --- disks before the start ---------------------------------------------------------------------------
def entry_of(index: int, term: int) -> LogEntry:
    """The entry that a leader of that term put there: the same on every disk."""
    return LogEntry(index, term, codec.seal(body_of(f"e{index}.{term}"), time=0, wall_ms=0))


def _log(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    terms = [int(word) for word in words[3:]]
    if list(words[1:3]) != ["=", "terms"]:
        raise ValueError("`log n1 = terms 1 1 2` is meant")
    log = stage.replicas[words[0]].log
    entries = tuple(entry_of(index, term) for index, term in enumerate(terms, start=2))
    log.commit([Append(entries), HardState(max([log.hard_state().term, *terms]), None)])


def _hard(stage: Stage, words: Sequence[str], options: dict[str, str]) -> None:
    stage.replicas[words[0]].log.commit([HardState(int(options["term"]), options.get("vote"))])


# --- lives ------------------------------------------------------------------------------------------------
def _start(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    for name in words or list(stage.replicas):
        if stage.replicas[name].up:
            raise ValueError(f"{name} is up")
        stage.start(name)


def _crash(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    for name in [word for word in words if word != "power"]:
        stage.crash(name)
        if "power" in words:
            stage.replicas[name].lose_state()


def _pause(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    replica = stage.replicas[words[0]]
    replica.machine.paused_until = wake = stage.world.now + _seconds(words[1])
    if "reading" in words:
        stage.world.at(wake, lambda: stage.clients.read_by_lease(replica))


def _clock(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    machine = stage.replicas[words[0]].machine
    if words[1] == "wall":
        machine.wall_offset_ms += round(_seconds(words[2]) * 1000)
    else:
        machine.set_rate(float(words[2]))


def _wipe(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    replica = stage.replicas[words[0]]
    stage.crash(words[0])
    replica.wipe(() if "joins" in words else stage.names)


def _join(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    stage.enter(words[0], ())
    stage.start(words[0])


def _disk(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    machine = stage.replicas[words[0]].machine
    if words[1] == "hold":
        machine.hold_syncs = True
    else:
        machine.release_syncs()


def _chores(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    chores = stage.replicas[words[0]].machine.chores
    if words[1] == "hold":
        chores.hold_syncs = True
    else:
        chores.release_syncs()


def _sync(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    """Let the write under way reach the disk; later writes wait again."""
    machine = stage.replicas[words[0]].machine
    machine.release_syncs()
    machine.hold_syncs = True


# --- time and elections -------------------------------------------------------------------------------------
def _advance(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    stage.advance(_seconds(words[0]))


def _run(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    before = len(stage.lines)
    stage.advance(_seconds(words[0]), delivering=True)
    stage.lines[before:] = [said for said in stage.lines[before:] if "->" not in said]


def _campaign(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    """Its election timer rings, whatever it was set to; a leader has none, nor has who is no voter."""
    consensus = _consensus(stage, words[0])

    def ring() -> None:
        if consensus.leading is None and words[0] in ids(consensus.members.voters):
            consensus.votes.ask_around()
            consensus.leadership_term.observe()

    stage.replicas[words[0]].machine.perform(ring)


def _elect(stage: Stage, words: Sequence[str], options: dict[str, str]) -> None:
    """It may have to learn the term first."""
    before = len(stage.lines)
    for _ in range(CAMPAIGNS_MAX):
        _campaign(stage, words, options)
        stage.settle()
        stage.deliver_until_quiet()
    stage.lines[before:] = [said for said in stage.lines[before:] if "->" not in said]


# --- messages -------------------------------------------------------------------------------------------------
def _deliver(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    if not words or list(words) == ["all"]:
        for letter in stage.network.waiting():
            stage.deliver(letter)
    elif words[-1] == "quiet":
        stage.deliver_until_quiet()
    else:
        for letter in _chosen(stage, words):
            stage.deliver(letter)


def _duplicate(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    """The first copy arrives, the second is late."""
    for letter in _chosen(stage, words):
        stage.deliver(letter)
        stage.network.come_late(letter)


def _drop(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    for letter in _chosen(stage, words):
        stage.network.take(letter)
        stage.say(f"{stage.shown(letter)} is lost")


def _chosen(stage: Stage, words: Sequence[str]) -> list[Letter]:
    """`[late] n1->n2 [KIND] [all]`, or all to and from one replica, or all there are."""
    if list(words) == ["all"]:
        return stage.network.waiting(held=True)
    late, way, *which = words if words[0] == "late" else ("", *words)
    ways = [_way(way)] if "->" in way else _ways_of(stage, way)
    kind = next((word for word in which if word != "all"), None)
    queue = stage.network.late if late else stage.network.on
    letters = sorted(letter for one in ways for letter in queue(one) if letter.is_kind(kind))
    if not letters:
        stage.say(f"nothing waits on {way}")
    return letters if "all" in which or "->" not in way else letters[:1]


def _ways_of(stage: Stage, name: str) -> list[tuple[str, str]]:
    others = [other for other in stage.replicas if other != name]
    return [(name, other) for other in others] + [(other, name) for other in others]


def _hold(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    for word in words:
        stage.network.held.update([_way(word)] if "->" in word else _ways_of(stage, word))


def _release(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    for word in words:
        stage.network.held.difference_update([_way(word)] if "->" in word else _ways_of(stage, word))


def _apart(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    stage.network.keep_apart(words[0], words[1])


def _together(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    stage.network.allow(words[0], words[1])


# --- clients and operators --------------------------------------------------------------------------------------
def _propose(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    _write(stage, words, forward=False)


def _forward(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    _write(stage, words, forward=True)


def _write(stage: Stage, words: Sequence[str], *, forward: bool) -> None:
    within = _seconds(words[words.index("within") + 1]) if "within" in words else None
    names = words[1 : words.index("within")] if "within" in words else words[1:]
    for name in names:
        stage.clients.write(stage.replicas[words[0]], name, forward=forward, within=within)
        stage.settle()


def _read(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    replica = stage.replicas[words[0]]
    if words[1] == "lease":
        stage.clients.read_by_lease(replica)
    else:
        stage.clients.read_index(replica, quorum=True)


def _ask(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    stage.clients.read_index(stage.replicas[words[0]], quorum=False)


def _consensus(stage: Stage, name: str) -> Consensus:
    replica = stage.replicas[name]
    if replica.consensus is not None:
        return replica.consensus
    if replica.stopped_by is not None:
        raise stage.oracle.fail(f"{name} is not running: {replica.stopped_by}")
    raise ValueError(f"{name} is down")


def _operate(stage: Stage, name: str, what: Callable[[Consensus], tuple[int, int] | None]) -> None:
    """Ask a replica for a change; it may say no."""
    try:
        place = what(_consensus(stage, name))
    except NotApplied as error:
        stage.say(f"{name} refuses: {error}")
    else:
        if place is not None:
            stage.say(f"the change stands at {place[0]}/{place[1]}")


def _transfer(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    def ask(consensus: Consensus) -> None:
        consensus.transfer(words[1] if len(words) > 1 else None)

    _operate(stage, words[0], ask)


def _add(stage: Stage, words: Sequence[str], options: dict[str, str]) -> None:
    wanted = member(words[1], replaces=options.get("replaces"))
    _operate(stage, words[0], lambda consensus: consensus.change("add", wanted, OPERATOR, f"add-{words[1]}"))


def _remove(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    gone = Member(words[1], "", "")
    _operate(stage, words[0], lambda consensus: consensus.change("remove", gone, OPERATOR, f"remove-{words[1]}"))


def _snapshot(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    keeper = stage.replicas[words[0]].keeper
    if keeper is not None:
        keeper.take(
            lambda meta: stage.say(
                f"{words[0]} takes no snapshot"
                if meta is None
                else f"{words[0]} has a snapshot of {meta.index}/{meta.term}"
            )
        )


def _compact(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    _consensus(stage, words[0]).compact(int(words[1]))


# --- looking -----------------------------------------------------------------------------------------------------
def _state(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    for name in words or list(stage.replicas):
        stage.say(_shown(stage.replicas[name]))


def _shown(replica: StageReplica) -> str:
    first, last = replica.log.first_index(), replica.log.last_index()
    terms = " ".join(str(entry.term) for entry in replica.log.read(first, last + 1))
    state = f"state at {replica.state.head().index}"
    commit = "down" if replica.consensus is None else f"commit {replica.consensus.commit_index}"
    return f"{replica.name}: log from {first}: {terms}; {commit}, {state}"


def _waiting(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    letters = _chosen(stage, [*words, "all"]) if words else stage.network.waiting()
    for letter in letters:
        stage.say(f"waits: {stage.shown(letter)}")


ACTS: Final[dict[str, Act]] = {
    "log": _log,
    "hard": _hard,
    "start": _start,
    "crash": _crash,
    "pause": _pause,
    "clock": _clock,
    "wipe": _wipe,
    "join": _join,
    "disk": _disk,
    "chores": _chores,
    "sync": _sync,
    "advance": _advance,
    "run": _run,
    "campaign": _campaign,
    "elect": _elect,
    "deliver": _deliver,
    "duplicate": _duplicate,
    "drop": _drop,
    "hold": _hold,
    "release": _release,
    "apart": _apart,
    "together": _together,
    "propose": _propose,
    "forward": _forward,
    "read": _read,
    "ask": _ask,
    "transfer": _transfer,
    "add": _add,
    "remove": _remove,
    "snapshot": _snapshot,
    "compact": _compact,
    "state": _state,
    "waiting": _waiting,
    **LOCK_ACTS,
}
