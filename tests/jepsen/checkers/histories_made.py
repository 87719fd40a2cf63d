"""Small histories and logs, made by hand. Times are in milliseconds."""

from collections.abc import Sequence

from jepsen_like.checkers.evidence import Ending, Evidence, Finding
from jepsen_like.history.logged import Actor, Event, log_of
from jepsen_like.history.record import History, Operation, Type

MS = 1_000_000


def op(
    f: str,
    value: object = None,
    result: object = None,
    *,
    at: tuple[int, int],
    process: int = 0,
    key: str = "x",
    type_: Type = "ok",
    index: int | None = None,
    level: str | None = None,
    error: str | None = None,
    request: str | None = None,
    idempotency: str | None = None,
) -> Operation:
    """`at`: call and return; of an unknown one the return is not told."""
    return Operation(
        process=process,
        f=f,
        key=key,
        value=value,
        type=type_,
        result=result,
        call=at[0] * MS,
        return_=None if type_ == "unknown" else at[1] * MS,
        index=index,
        node="n1",
        level=level,
        error=error,
        request=request,
        idempotency=idempotency,
    )


def event(
    index: int,
    name: str,
    *,
    seq: int = 0,
    term: int = 1,
    request: str | None = None,
    outcome: str = "applied",
    memory: str | None = None,
    version: int | None = None,
    lock: str | None = None,
    owner: str | None = None,
    token: int | None = None,
    tasks: tuple[str, ...] = (),
    state: str | None = None,
    succeeded: bool | None = None,
    scope: dict[str, str | None] | None = None,
    payload: object = None,
) -> Event:
    return Event(
        index=index,
        seq=seq,
        term=term,
        op=name,
        actor=Actor("agent", "a"),
        scope=scope,
        request_id=request,
        outcome=outcome,
        memory_id=memory,
        version=version,
        lock=lock,
        owner=owner,
        token=token,
        task_ids=tasks,
        task_state=state,
        succeeded=succeeded,
        payload={} if payload is None else payload,
    )


def evidence(
    operations: Sequence[Operation],
    events: Sequence[Event] | None = None,
    *,
    ending: Ending | None = None,
    **extra: object,
) -> Evidence:
    """`events`: the log; None: nobody could be asked for it."""
    history = History(None, tuple(sorted(operations, key=lambda one: one.call)))
    log = None if events is None else log_of(list(events))
    return Evidence(history=history, log=log, ending=ending or Ending(extra=extra))


def assert_good(finding: Finding) -> None:
    assert finding.verdict == "good", (finding.summary, finding.details)


def assert_bad(finding: Finding, kind: str, *words: str) -> None:
    """It names this kind of fault, and says these words of it."""
    assert finding.verdict == "bad", finding
    told = [line for line in finding.details if line.startswith(f"{kind}: ")]
    assert told, (kind, finding.details)
    assert any(all(word in line for word in words) for line in told), (words, told)
