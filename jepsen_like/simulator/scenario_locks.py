"""The commands of a scenario about locks (`scenario_commands.py` says what each means)."""

from collections.abc import Callable, Sequence
from typing import Final

from jepsen_like.simulator.stage import Stage
from raftmem.model.commands import LockAcquire, LockRelease, LockRenew, Operation
from raftmem.model.coordination_rows import Hold, hold_key


def _ms(word: str) -> int:
    return round(float(word.removesuffix("s")) * 1000)


def _acquire(stage: Stage, words: Sequence[str], options: dict[str, str]) -> None:
    wait_ms = _ms(options["wait"]) if "wait" in options else 0
    _write(stage, words, LockAcquire(options["lock"], options["owner"], _ms(options["ttl"]), wait_ms=wait_ms))


def _renew(stage: Stage, words: Sequence[str], options: dict[str, str]) -> None:
    lock, owner = options["lock"], options["owner"]
    ttl_ms = _ms(options["ttl"]) if "ttl" in options else None
    _write(stage, words, LockRenew(lock, owner, _token(stage, lock, owner), ttl_ms))


def _unlock(stage: Stage, words: Sequence[str], options: dict[str, str]) -> None:
    lock, owner = options["lock"], options["owner"]
    _write(stage, words, LockRelease(lock, owner, _token(stage, lock, owner)))


def _token(stage: Stage, lock: str, owner: str) -> int:
    """Of the hold of that owner, as the state that is furthest has it; 0: it has none."""
    newest = max((replica.state for replica in stage.replicas.values()), key=lambda state: state.head().index)
    hold = newest.read().coordination_row(hold_key(lock, owner))
    return hold.token if isinstance(hold, Hold) else 0


def _write(stage: Stage, words: Sequence[str], operation: Operation) -> None:
    stage.clients.write_operation(stage.replicas[words[0]], words[1], operation)


def _expire(stage: Stage, words: Sequence[str], _options: dict[str, str]) -> None:
    """It looks once for what is due, as it does many times a second."""
    replica = stage.replicas[words[0]]
    consensus, expiry = replica.consensus, replica.expiry
    if consensus is None or expiry is None:
        raise ValueError(f"{replica.name} is down")

    def look() -> None:
        before = consensus.journal.last_index
        expiry.start()
        last = consensus.journal.last
        found = f"something due: {last.index}/{last.term}" if last.index > before else "nothing due"
        stage.say(f"{replica.name} finds {found}")

    replica.machine.perform(look)


LOCK_ACTS: Final[dict[str, Callable[[Stage, Sequence[str], dict[str, str]], None]]] = {
    "acquire": _acquire,
    "renew": _renew,
    "unlock": _unlock,
    "expire": _expire,
}
