"""Exceptions that travel: pickle, copy and a process pool give back an equal one.

An exception is rebuilt from its class, its `args` and its attributes, without a call of `__init__`. So a class may take
whatever parameters it likes, and a subclass needs nothing of its own.
"""

from collections.abc import Callable


class PortableError(Exception):
    """Equal are two of one class with equal `args` and attributes."""

    def __reduce__(self) -> tuple[Callable[..., "PortableError"], tuple[object, ...]]:
        return _rebuilt, (type(self), self.args, dict(vars(self)))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, PortableError) or type(self) is not type(other):
            return NotImplemented
        return self.args == other.args and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self.args)))


def _rebuilt(kind: type[PortableError], args: tuple[object, ...], attributes: dict[str, object]) -> PortableError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(attributes)
    return error
