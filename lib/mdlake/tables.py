"""Tables of a recipe as dataclasses of options; what does not fit is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from mdlake.errors import InvalidArgumentError, located

_T = TypeVar("_T")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a text"),
    "bool": ((bool,), "true or false"),
}


def filled(kind: type[_T], values: Mapping[str, Any], place: str, noun: str = "table") -> _T:
    """The dataclass `kind` with these values; `place` is what the table is called, `noun` what it is.

    Raises:
        InvalidArgumentError: it has no such field, wants another type, or a value that is missing.
    """
    known = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise InvalidArgumentError(f"{place} has no {name!r}; it has {', '.join(known)}")
        types, told = _KINDS.get(known[name], ((object,), ""))
        if not isinstance(value, types) or (isinstance(value, bool) and known[name] in ("int", "float")):
            raise InvalidArgumentError(f"{name} of {place} is {told}, not {value!r}")
    try:
        with located(**{noun: place}):
            return kind(**values)
    except TypeError as error:
        raise InvalidArgumentError(str(error).replace(f"{kind.__name__}.__init__()", place)) from error
