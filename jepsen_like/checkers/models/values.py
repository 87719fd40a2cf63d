"""Values of a history in a form that a set can hold: JSON has maps, lists and null, and its true differs from 1."""

from collections.abc import Hashable, Mapping

from jepsen_like.history.record import Operation

NULL: Hashable = ("null",)
UNSEEN: Hashable = ("unseen",)  # any value that no operation of the history could tell from another such


def plain(value: object) -> Hashable:
    """Equal values give equal ones, unlike values unlike ones; never None."""
    match value:
        case None:
            return NULL
        case bool():
            return ("bool", value)
        case str() | int() | float():
            return value
        case list() | tuple():
            return ("list", *map(plain, value))
        case Mapping():
            return (
                "map",
                *sorted(((str(name), plain(item)) for name, item in value.items()), key=lambda pair: pair[0]),
            )
        case Hashable():
            return value
        case _:
            raise ValueError(f"{value!r} is no value of a history")


def fields(operation: Operation, value: object) -> Mapping[str, object]:
    """A map of the operation. Raises: ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{operation.f} of process {operation.process}: {value!r} is not a map")
    return value


def pair(operation: Operation) -> tuple[object, object]:
    """Its value, the old and the new one of a cas. Raises: ValueError."""
    if not isinstance(operation.value, list | tuple) or len(operation.value) != 2:
        raise ValueError(f"{operation.f} of process {operation.process}: {operation.value!r} is not [old, new]")
    return operation.value[0], operation.value[1]


def integer(operation: Operation, value: Mapping[str, object], field: str) -> int | None:
    """A field that is an integer or not there. Raises: ValueError."""
    found = value.get(field)
    if found is None or (isinstance(found, int) and not isinstance(found, bool)):
        return found
    raise ValueError(f"{operation.f} of process {operation.process}: {field} is {found!r}, not an integer")


def text(operation: Operation, value: Mapping[str, object], field: str) -> str:
    """A field that is text. Raises: ValueError."""
    found = value.get(field)
    if isinstance(found, str):
        return found
    raise ValueError(f"{operation.f} of process {operation.process}: {field} is {found!r}, not text")


def unknown_function(operation: Operation, model: str) -> ValueError:
    return ValueError(f"the model {model} knows no operation {operation.f!r} (process {operation.process})")
