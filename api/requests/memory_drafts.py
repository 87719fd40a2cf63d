"""Request bodies to commands: everything a body may say becomes one `Draft`, or is refused before it is proposed.

What is checked here is what the log must be able to hold: sizes in bytes, finite vectors, one condition a guard.
Whether a write succeeds is decided in apply and nowhere else.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, assert_never, get_args

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from raftmem.api.http import embedding, strict_json, times
from raftmem.api.http.call import Call
from raftmem.api.http.parameters import Parameters, memory_id, name, new_id, unquote
from raftmem.api.http.problems import Problem
from raftmem.api.requests.memory_bodies import (
    ActorBody,
    AddFields,
    AddItem,
    Asked,
    AskerType,
    BatchBody,
    DecisionBody,
    DeleteItem,
    GuardBody,
    Item,
    MemoryBody,
    MergeBody,
    NoopItem,
    PatchFields,
    ProvenanceBody,
    PutBody,
    ScopedBody,
    UpdateItem,
)
from raftmem.errors import BadRequest, TooLarge
from raftmem.limits import METADATA_BYTES_MAX, PROVENANCE_TEXT_BYTES_MAX, TEXT_BYTES_MAX, VALUE_BYTES_MAX
from raftmem.model import commands
from raftmem.model.codec import fingerprint
from raftmem.model.commands import Actor, Content, Draft, Fields, Guard, Operation
from raftmem.service.interface import ReadOptions

_ANONYMOUS: Final = Actor("service", "anonymous")
_ACTOR_TYPES: Final[tuple[AskerType, ...]] = get_args(AskerType)
_ETAG: Final = re.compile(r'"([1-9][0-9]{0,15})"')
_ONE_TAG: Final = r'(?:W/)?"[\x21\x23-\x2b\x2d-\x7e]*"'  # no comma inside: no tag of ours has one
_ETAGS: Final = re.compile(rf"{_ONE_TAG}(?:[ \t]*,[ \t]*{_ONE_TAG}){{0,63}}")
_MERGE_PATH: Final = re.compile(r"tags|value(\.[^.]+)*")
_NO_FIELDS: Final = Fields()
_NO_CONTENT: Final = Content()


class Step(NamedTuple):
    """One operation with its content."""

    operation: Operation
    content: Content | None


def draft(
    call: Call,
    query: Parameters,
    steps: Sequence[Step],
    *,
    body: Asked | None = None,
    raw: object = None,
    guards: tuple[Guard, ...] = (),
    atomic: bool = True,
) -> Draft:
    """The command of one request. `raw`: the decoded body, for the fingerprint. `guards`: of the If-* headers."""
    if body is not None and body.guards:
        guards += tuple(_guard(guard, f"guards[{at}]") for at, guard in enumerate(body.guards))
    key = call.header(b"idempotency-key")
    idempotency = None
    if key is not None:
        request = fingerprint(
            method=call.method,
            path=unquote(call.path, "path"),
            query=[pair for pair in query.pairs if pair[0] != "timeout_ms"],  # a retry may wait longer
            if_match=call.header(b"if-match"),
            if_none_match=call.header(b"if-none-match"),
            body=raw,
        )
        idempotency = commands.Idempotency(name(key, "Idempotency-Key"), request)
    header = commands.Header(
        actor=actor(call, None if body is None else body.actor),
        request_id=call.request_id,
        operations=tuple([step.operation for step in steps]),
        guards=guards,
        atomic=atomic,
        idempotency=idempotency,
        read_index=None if body is None else body.read_index,
    )
    return Draft(header, tuple([step.content for step in steps]))


# --- operations -----------------------------------------------------------------------------------
def add(body: AddFields, fresh: Callable[[], str], at: str = "") -> Step:
    """`fresh`: makes the id when the client chose none. `at`: the place of the body in a batch, `events[3].`."""
    given = body.id is not UNSET
    chosen = fresh() if body.id is UNSET else new_id(body.id, at + "id")
    _something(body, at)
    on_duplicate = None if body.on_duplicate is UNSET else body.on_duplicate
    return Step(commands.Add(chosen, _fields(body, at), on_duplicate, given), _content(body, at))


def put(target: str, body: PutBody) -> Step:
    _something(body, "")
    return Step(commands.Put(new_id(target), _fields(body, "")), _content(body, ""))


def update(target: str, body: PatchFields, at: str = "") -> Step:
    fields, content = _fields(body, at), _content(body, at)
    if fields == _NO_FIELDS and content == _NO_CONTENT:
        place = at.rstrip(".") or "body"
        raise BadRequest(f"{place} changes nothing: give at least one field, or merge", parameter=place)
    return Step(commands.Update(target, fields), content)


def delete(target: str) -> Step:
    return Step(commands.Delete(target), None)


def batch(body: BatchBody, call: Call) -> list[Step]:
    fresh = fresh_ids(call, len(body.events))
    return [memory_item(item, fresh, f"events[{at}].") for at, item in enumerate(body.events)]


def fresh_ids(call: Call, count: int) -> Callable[[], str]:
    """Gives up to `count` new ids in ascending order, so what one request adds is listed in the order of its items."""
    return iter(sorted(call.service.new_id() for _ in range(count))).__next__


def memory_item(item: Item, fresh: Callable[[], str], at: str) -> Step:
    """One operation of a batch or a transaction. `fresh`: makes ids. `at`: its place, `events[3].`."""
    match item:
        case AddItem():
            return add(item, fresh, at)
        case UpdateItem():
            return update(memory_id(item.memory_id, at + "memory_id"), item, at)
        case DeleteItem():
            return delete(memory_id(item.memory_id, at + "memory_id"))
        case NoopItem():
            target = None if item.memory_id is None else memory_id(item.memory_id, at + "memory_id")
            return Step(commands.Noop(_decision(item.decision, at + "decision."), target), None)
        case _:
            assert_never(item)


def _something(body: ScopedBody, at: str) -> None:
    if body.text in (UNSET, None) and body.value in (UNSET, None):
        raise BadRequest(f"{at}text or {at}value must be there: a memory says something", parameter=at + "text")


# --- conditions and people ------------------------------------------------------------------------
def conditions(call: Call, target: str | None, listed: int | None = None) -> tuple[Guard, ...]:
    """If-Match and If-None-Match as guards over one memory. `listed`: the version that `If-Match` means, of several.

    Raises: BadRequest, also when the request names no memory; Problem where no version can match.
    """
    match, none_match = call.header(b"if-match"), call.header(b"if-none-match")
    if match is None and none_match is None:
        return ()
    if target is None:
        given = "If-Match" if match is not None else "If-None-Match"
        raise BadRequest(f"{given} is about one memory, and this request names none; send guards", parameter=given)
    guards: list[Guard] = []
    if match == "*":
        guards.append(Guard(memory=target, exists=True))
    elif match is not None:
        guards.append(Guard(memory=target, version=listed or max(_versions(match))))
    if none_match is not None:
        if none_match != "*":
            raise BadRequest("If-None-Match of a write must be *", parameter="If-None-Match")
        guards.append(Guard(memory=target, exists=False))
    return tuple(guards)


async def listed_version(call: Call, target: str, *, timeout_ms: int) -> int | None:
    """Of several versions in If-Match the one that the memory has; None: it has none of them, or there are no several.

    A guard names one version. Should the memory change before it is looked at in the log, the write is refused.
    """
    match = call.header(b"if-match")
    if match is None or "," not in match:
        return None
    versions = _versions(match)
    if len(versions) < 2:
        return None
    point = await call.service.read(ReadOptions(timeout_ms=timeout_ms))
    record = point.reader.memory(target)
    return None if record is None or record.version not in versions else record.version


def _versions(match: str) -> set[int]:
    """The versions in an If-Match. Weak tags match nothing there (RFC 9110, 13.1.1), nor do those of no version.

    Raises: BadRequest for what is no list of tags; Problem where nothing can match.
    """
    if _ETAGS.fullmatch(match) is None:
        raise BadRequest('If-Match must be versions in quotes, as "3" or "3", "4", or *', parameter="If-Match")
    versions = {int(version[1]) for tag in match.split(",") if (version := _ETAG.fullmatch(tag.strip(" \t")))}
    if not versions:
        raise Problem("precondition-failed", f"{match[:80]} names no version: a tag is one in quotes, and not weak")
    return versions


def _guard(body: GuardBody, at: str) -> Guard:
    of_memory = (body.version is not None) + (body.exists is not None) + (body.sha256 is not None)
    of_lock, of_gate = body.token is not None or body.owner is not None, body.open is not None
    match (body.memory, body.lock, body.gate):
        case (str(memory), None, None) if of_memory == 1 and not of_lock and not of_gate:
            memory = memory_id(memory, at + ".memory")
            return Guard(memory=memory, version=body.version, exists=body.exists, sha256=body.sha256)
        case (None, str(lock), None) if body.token is not None and not of_memory and not of_gate:
            owner = None if body.owner is None else name(body.owner, at + ".owner")
            return Guard(lock=name(lock, at + ".lock"), token=body.token, owner=owner)
        case (None, None, str(gate)) if of_gate and not of_memory and not of_lock:
            return Guard(gate=name(gate, at + ".gate"), open=body.open)
    raise BadRequest(
        f"{at} must be a memory with exactly one of version, exists, sha256; or a lock with its token (and owner); "
        "or a gate with open",
        parameter=at,
    )


def actor(call: Call, in_body: ActorBody | None) -> Actor:
    """The header, the body, or `service/anonymous`. Raises: BadRequest, also when header and body differ."""
    given = call.header(b"raftmem-actor")
    if in_body is not None:
        if given is not None and given != f"{in_body.type}/{in_body.id}":
            raise BadRequest("actor in the body and Raftmem-Actor differ; send one of them", parameter="actor")
        role = None if in_body.role is None else name(in_body.role, "actor.role")
        return Actor(in_body.type, name(in_body.id, "actor.id"), role)
    if given is None:
        return _ANONYMOUS
    asked, _, actor_id = given.partition("/")
    for kind in _ACTOR_TYPES:
        if kind == asked:
            return Actor(kind, name(actor_id, "Raftmem-Actor"))
    known = ", ".join(_ACTOR_TYPES)
    detail = f"Raftmem-Actor must be <type>/<id> with a type of {known}; system is reserved for the replicas"
    raise BadRequest(detail, parameter="Raftmem-Actor")


# --- fields ---------------------------------------------------------------------------------------
def _fields(body: MemoryBody, at: str) -> Fields:
    if isinstance(body, ScopedBody):
        app_id = name(body.app_id, at + "app_id") if body.app_id else body.app_id
        user_id = name(body.user_id, at + "user_id") if body.user_id else body.user_id
        agent_id = name(body.agent_id, at + "agent_id") if body.agent_id else body.agent_id
        run_id = name(body.run_id, at + "run_id") if body.run_id else body.run_id
    else:
        app_id = user_id = agent_id = run_id = UNSET
    model = name(body.embedding_model, at + "embedding_model") if body.embedding_model else body.embedding_model
    if model and not body.embedding:
        raise BadRequest(f"{at}embedding_model needs {at}embedding beside it", parameter=at + "embedding_model")
    provenance, valid_at, invalid_at = body.provenance, body.valid_at, body.invalid_at
    return replace(  # made by name from nothing, it takes three times as long
        _NO_FIELDS,
        app_id=app_id,
        user_id=user_id,
        agent_id=agent_id,
        run_id=run_id,
        tags=_tags(body.tags, at),
        memory_type=body.memory_type,
        claim_type=body.claim_type,
        confidence=body.confidence,
        importance=body.importance,
        visibility=body.visibility,
        provenance=_provenance(provenance, at + "provenance.") if provenance else _absent(provenance),
        valid_at=times.milliseconds(valid_at, at + "valid_at") if valid_at else _absent(valid_at),
        invalid_at=times.milliseconds(invalid_at, at + "invalid_at") if invalid_at else _absent(invalid_at),
        ttl_ms=body.ttl_ms,
        pinned=body.pinned,
        embedding_model=model,
    )


def _content(body: MemoryBody, at: str) -> Content:
    if body.text and len(body.text) > TEXT_BYTES_MAX >> 2:
        bounded(body.text.encode(), TEXT_BYTES_MAX, at + "text")
    value, metadata = body.value, body.metadata
    return Content(
        text=body.text,
        value=UNSET if value is UNSET else _json(value, VALUE_BYTES_MAX, at + "value"),
        metadata=UNSET if metadata is UNSET else _json(metadata, METADATA_BYTES_MAX, at + "metadata"),
        embedding=embedding.pack(body.embedding, at + "embedding") if body.embedding else _absent(body.embedding),
        merge=_merges(body.merge, at + "merge") if isinstance(body, PatchFields) and body.merge else UNSET,
    )


def _absent(given: object) -> None | UnsetType:
    """The meaning of a field without a value: UNSET if it was not given, None if it was cleared."""
    return UNSET if given is UNSET else None


def _tags(given: list[str] | None | UnsetType, at: str) -> tuple[str, ...] | None | UnsetType:
    if isinstance(given, list):
        return tuple(dict.fromkeys([name(tag, at + "tags") for tag in given]))  # a set, in the order given
    return given


def _json(value: object, bytes_max: int, place: str) -> bytes | None:
    return None if value is None else bounded(strict_json.encode(value), bytes_max, place)


def bounded(text: bytes, bytes_max: int, place: str) -> bytes:
    if len(text) > bytes_max:
        raise TooLarge(f"{place} is {len(text)} bytes; the limit is {bytes_max}")
    return text


def _prose(text: str | None, place: str) -> str | None:
    if text is not None:
        bounded(text.encode(), PROVENANCE_TEXT_BYTES_MAX, place)
    return text


def _sources(given: Sequence[str], place: str) -> tuple[str, ...]:
    for text in given:
        _prose(text, place)
    return tuple(given)


def _provenance(body: ProvenanceBody, at: str) -> commands.Provenance:
    return commands.Provenance(
        _prose(body.source_ref, at + "source_ref"),
        _sources(body.derived_from, at + "derived_from"),
        _sources(body.resources, at + "resources"),
        _prose(body.reason, at + "reason"),
    )


def _decision(body: DecisionBody, at: str) -> commands.Decision:
    matched = None if body.matched_id is None else name(body.matched_id, at + "matched_id")
    return commands.Decision(name(body.by, at + "by"), matched, body.similarity, _prose(body.reason, at + "reason"))


_BY: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "inc": ((int,), "an integer"),
    "max": ((int, float), "a number"),
    "min": ((int, float), "a number"),
    "union": ((list,), "an array"),
    "remove": ((list,), "an array"),
}


def _merges(given: dict[str, MergeBody], at: str) -> tuple[commands.Merge, ...]:
    merges: list[commands.Merge] = []
    for path, one in given.items():
        place = f"{at}.{path[:64]}"
        if _MERGE_PATH.fullmatch(path) is None:
            raise BadRequest(f"{place}: a merge path is tags, value, or value.<key>.<key>", parameter=place)
        types, wanted = _BY.get(one.op, ((object,), "JSON"))
        if not isinstance(one.by, types) or (isinstance(one.by, bool) and types != (object,)):
            raise BadRequest(f"{place}.by must be {wanted} for {one.op}", parameter=place + ".by")
        by = bounded(strict_json.encode(one.by), VALUE_BYTES_MAX, place + ".by")
        merges.append(commands.Merge(name(path, place), one.op, by))
    return tuple(merges)
