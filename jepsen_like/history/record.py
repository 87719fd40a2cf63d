"""The lines of a history: how the run was made, operations, and faults. Times are nanoseconds from the run's beginning.

An operation is one line, written when its outcome is known or given up. The rule: `unknown` means that it may take
effect at any time from its call on, or never; its process id is not used again.
"""

from typing import Literal

from msgspec import Struct, field

Type = Literal["ok", "fail", "unknown"]


class Operation(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="op"):
    """`f` and `value`: what was asked, `result`: what was told; their shapes are the model's (see docs/jepsen.md).

    `fail`: it had no effect, for the reason `error` (a code of the API). `index`: the log index that the reply named.
    `level`: of a read, as it ran. `request`: the X-Request-Id, by which the log knows it. `idempotency`: its key.
    """

    process: int
    f: str
    key: str = ""
    value: object = None
    type: Type
    result: object = None
    call: int
    return_: int | None = field(default=None, name="return")
    index: int | None = None
    node: str | None = None
    level: str | None = None
    error: str | None = None
    request: str | None = None
    idempotency: str | None = None


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="nemesis"):
    """A fault begins or ends, or cannot be made on this machine (`detail` says why)."""

    name: str
    event: Literal["begin", "end", "unavailable"]
    at: int
    targets: tuple[str, ...] = ()
    detail: str = ""


class Start(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="run"):
    """The first line: everything that it takes to make such a run again."""

    workload: str
    model: str | None = None
    nemeses: tuple[str, ...] = ()
    seed: int = 0
    seconds: float = 0
    nodes: int = 3
    clients: int = 1
    options: dict[str, object] = {}
    without: tuple[str, ...] = ()
    command: str = ""
    version: int = 1


Line = Start | Operation | Fault


class History(Struct, frozen=True):
    """A whole file. `operations` are in the order of their calls."""

    start: Start | None
    operations: tuple[Operation, ...]
    faults: tuple[Fault, ...] = ()
