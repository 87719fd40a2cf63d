"""Detects the format of a file, and the model of its operations where the caller names none."""

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from jepsen_like.history.jepsen_log import read_jepsen_log
from jepsen_like.history.jsonl import read_history
from jepsen_like.history.operation_maps import is_list_append, read_edn, read_porcupine_kv
from jepsen_like.history.record import History

READERS: Mapping[str, Callable[[str], History]] = {
    "jepsen-log": read_jepsen_log,
    "edn": read_edn,
    "porcupine-kv": read_porcupine_kv,
}
FORMATS = ("jsonl", *READERS)


class Loaded(Struct, frozen=True):
    """`model`: by its operations, or as its first line says; None if neither tells."""

    history: History
    format: str
    model: str | None


def load(path: Path, format_: str | None = None) -> Loaded:
    """Raises: ValueError that says what is wrong and where; OSError."""
    if format_ is not None and format_ not in FORMATS:
        raise ValueError(f"the format {format_!r} is none of {', '.join(FORMATS)}")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8, at byte {error.start}") from error
    format_ = format_ or detected(path, text)
    if format_ == "jsonl":
        history = read_history(path)
        return Loaded(history, format_, history.start.model if history.start else None)
    try:
        history = READERS[format_](text)
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error
    return Loaded(history, format_, "register" if format_ == "jepsen-log" else model_by_operations(history))


def detected(path: Path, text: str) -> str:
    """By suffix, else by how it begins. Raises: ValueError."""
    if path.suffix == ".jsonl":
        return "jsonl"
    lines = (line.strip() for line in text.splitlines())
    begin = next((line for line in lines if line and not line.startswith(";")), "")
    if begin.startswith(('{"', '{ "')):
        return "jsonl"
    if "jepsen.util" in begin or (path.suffix == ".log" and begin[:1] not in "[({#"):
        return "jepsen-log"
    if path.suffix == ".edn" or begin.startswith(("[", "(", "{", "#")):
        return "porcupine-kv" if begin.startswith("{") and ":key" in begin else "edn"
    raise ValueError(f"{path}: of no format that is known here ({', '.join(FORMATS)}); say --format")


def model_by_operations(history: History) -> str | None:
    """The model of a foreign history, which does not name it."""
    functions = {operation.f for operation in history.operations}
    if functions and functions <= {"acquire", "release"}:
        return "mutex"
    values = [operation.value for operation in history.operations]
    if functions == {"txn"}:
        if all(map(is_list_append, values)):
            return "list-append"
        return "multi-register" if all(map(_plain_micro, values)) else None
    if functions & {"get", "put", "append"} and functions <= {"get", "put", "append"}:
        return "kv"
    if not functions <= {"read", "write", "cas"} or any(isinstance(value, dict) for value in values):
        return None
    # who expects nothing there at first does not mean a register that begins with 0
    from_nil = any(
        one.f == "cas" and isinstance(one.value, list) and one.value[:1] == [None] for one in history.operations
    )
    return "register" if from_nil else "cas-register"


def _plain_micro(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 3 and one[0] in ("read", "write") for one in value
    )
