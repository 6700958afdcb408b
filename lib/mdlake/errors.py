"""What can go wrong, in few kinds, each naming its place.

Bytes that are read raise one of four kinds: `CorruptError`, `TruncatedError`,
`UnsupportedVersionError` and `InvalidArgumentError`. Storage raises two more: `StoreError` when an
object store refuses, and `ConflictError` when another writer committed first.

A message says what was expected, what was found and what to do. The place (file, column, block, ...)
is added on the way up by `located`, so that inner code need not know where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MdlakeError(Exception):
    """The base of every error that mdlake raises on purpose.

    `place` maps nouns to values (`file`, `column`, `row_group`, `block`), outermost first.
    """

    def __init__(self, message: str, **place: object) -> None:
        super().__init__(message)
        self.message = message
        self.place: dict[str, object] = place

    def __str__(self) -> str:
        place = {noun: value for noun, value in self.place.items() if (noun, value) != ("url", self.place.get("file"))}
        where = ", ".join(f"{noun} {value!r}" for noun, value in place.items())
        return f"{where}: {self.message}" if where else self.message

    def __reduce__(self) -> tuple[object, ...]:  # keyword arguments must survive process pools
        return (_rebuild, (type(self), self.message, self.place))


class CorruptError(MdlakeError):
    """The bytes are not what was written: a checksum, a size or a value is wrong."""


class TruncatedError(MdlakeError):
    """The bytes end before they should."""


class UnsupportedVersionError(MdlakeError):
    """The bytes are of a format version, or use an encoding, that this release does not know."""


class InvalidArgumentError(MdlakeError, ValueError):
    """The caller asked for something that cannot be had."""


class StoreError(MdlakeError, OSError):
    """An object store refused or could not be reached: missing, denied, bad credentials, full."""


class ConflictError(MdlakeError):
    """Another writer committed first; nothing of this write is visible."""


@contextmanager
def located(**place: object) -> Iterator[None]:
    """Adds `place` to any `MdlakeError` that passes through; what is already named stays."""
    try:
        yield
    except MdlakeError as error:
        error.place = {**place, **error.place}
        raise


@contextmanager
def advised(advice: str) -> Iterator[None]:
    """Adds what to do to an error about damaged bytes that passes through."""
    try:
        yield
    except (CorruptError, TruncatedError) as error:
        error.message += f"; {advice}"
        raise


def _rebuild(kind: type[MdlakeError], message: str, place: dict[str, object]) -> MdlakeError:
    return kind(message, **place)
