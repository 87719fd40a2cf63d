"""A command that is one request to a running group: the options that all such commands share, and how its
reply is shown.

A command is written as a function of `Write` or `Read` and of its own arguments; `writes` and `reads` add the shared
options, in the same order and with the same help everywhere, and register it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, Final, NamedTuple, ParamSpec

import typer

from raftmem.cli import options as o
from raftmem.cli.output import JsonFlag, print_json
from raftmem.cli.remote import DEFAULT_URL, ActorOption, Answer, KeyOption, Remote, UrlOption

P = ParamSpec("P")
Row = dict[str, object]
Show = Callable[[Answer], None]


class _Shared(NamedTuple):
    name: str
    annotation: object
    default: object = None


_GUARD: Final = _Shared("guard", o.GuardOption)
_KEY: Final = _Shared("key", KeyOption)
_TIMEOUT: Final = _Shared("timeout_ms", o.TimeoutOption)
_ACTOR: Final = _Shared("actor", ActorOption)
_URL: Final = _Shared("url", UrlOption, DEFAULT_URL)
_JSON: Final = _Shared("as_json", JsonFlag, False)
_PAGE: Final = (_Shared("limit", o.LimitOption, 100), _Shared("cursor", o.CursorOption))
_AT: Final = _Shared("at", o.AtOption)
_LEVEL: Final = (
    _Shared("consistency", o.ConsistencyOption),
    _Shared("min_index", o.MinIndexOption),
    _Shared("max_staleness_ms", o.StalenessOption),
)


@dataclass(frozen=True)
class Write:
    """One write. `guards`: go into its body. `keyed`: False for what may be asked for twice without harm."""

    remote: Remote
    guards: list[object] | None
    timeout_ms: int | None
    key: str | None
    keyed: bool
    as_json: bool

    def ask(
        self, method: str, path: str, body: Row | None = None, *, if_version: int | None = None, wait_ms: int = 0
    ) -> Answer:
        """`wait_ms`: what the body lets it wait. Raises: CommandFailed."""
        if self.guards:
            body = {**(body or {}), "guards": self.guards}
        params = o.given(timeout_ms=self.timeout_ms)
        return self.remote.write(
            *(method, path),
            body=body,
            key=self.key,
            if_version=if_version,
            params=params,
            keyed=self.keyed,
            wait_ms=wait_ms,
        )

    def show(self, answer: Answer, lines: Show) -> None:
        """As JSON, or in lines for people."""
        _show(answer, lines, as_json=self.as_json)


@dataclass(frozen=True)
class Read:
    """One read. `params`: what the shared options ask for."""

    remote: Remote
    params: Row
    as_json: bool

    def get(self, path: str, **params: object) -> Answer:
        """Raises: CommandFailed."""
        return self.remote.read("GET", path, params=o.given(**params) | self.params)

    def search(self, path: str, body: Row) -> Answer:
        """A read that needs a body. Raises: CommandFailed."""
        return self.remote.read("POST", path, params=self.params, body=body)

    def show(self, answer: Answer, lines: Show) -> None:
        """As JSON, or in lines for people."""
        _show(answer, lines, as_json=self.as_json)


def writes(
    app: typer.Typer, name: str | None = None, *, guarded: bool = True, keyed: bool = True
) -> Callable[[Callable[Concatenate[Write, P], None]], Callable[Concatenate[Write, P], None]]:
    """Register a command that writes, as `writing` makes it."""

    def register(command: Callable[Concatenate[Write, P], None]) -> Callable[Concatenate[Write, P], None]:
        app.command(name)(writing(command, guarded=guarded, keyed=keyed))
        return command

    return register


def writing(
    command: Callable[Concatenate[Write, P], None], *, guarded: bool = True, keyed: bool = True
) -> Callable[..., None]:
    """Add the options of a write to a command. `guarded`, `keyed`: it takes --guard, --idempotency-key."""
    shared = [*([_GUARD] if guarded else []), _TIMEOUT, *([_KEY] if keyed else []), _ACTOR, _URL, _JSON]

    def call(given: Row) -> Write:
        guards = o.guards(_texts(given.get("guard")))
        remote = Remote(str(given["url"]), actor=_text(given["actor"]))
        timeout_ms, key, as_json = _number(given["timeout_ms"]), _text(given.get("key")), bool(given["as_json"])
        return Write(remote, guards, timeout_ms, key, keyed, as_json)

    return _with_shared(command, shared, call)


def reads(
    app: typer.Typer, name: str | None = None, *, at: bool = False, pages: bool = False, levels: bool = True
) -> Callable[[Callable[Concatenate[Read, P], None]], Callable[Concatenate[Read, P], None]]:
    """Register a command that reads. `at`: it reads the past too; `pages`: it lists; `levels`: it has a consistency."""
    shared = [*(_PAGE if pages else ()), *([_AT] if at else []), *((*_LEVEL, _TIMEOUT) if levels else ()), _URL, _JSON]

    def call(given: Row) -> Read:
        params = {name: value for name, value in given.items() if name not in ("url", "as_json") and value is not None}
        return Read(Remote(str(given["url"])), params, bool(given["as_json"]))

    def register(command: Callable[Concatenate[Read, P], None]) -> Callable[Concatenate[Read, P], None]:
        app.command(name)(_with_shared(command, shared, call))
        return command

    return register


def _with_shared(
    command: Callable[..., None], shared: list[_Shared], call: Callable[[Row], object]
) -> Callable[..., None]:
    """Make the function that typer sees: it has the command's own parameters, then the shared ones."""
    own = list(inspect.signature(command).parameters.values())[1:]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=kind) for parameter in own]
    parameters += [inspect.Parameter(one.name, kind, default=one.default, annotation=one.annotation) for one in shared]

    def run(**arguments: object) -> None:
        given = {one.name: arguments.pop(one.name) for one in shared}
        command(call(given), **arguments)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _show(answer: Answer, lines: Show, *, as_json: bool) -> None:
    if as_json:
        print_json(answer.body)
    else:
        lines(answer)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _texts(value: object) -> list[str] | None:
    return list(map(str, value)) if isinstance(value, list | tuple) else None
