"""How far the values of a float column may lie from its source's: a bound on the absolute or the relative error."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mdlake.errors import InvalidArgumentError

_RELATIVE = ":rel"


@dataclass(frozen=True)
class Absolute:
    """|value - source| <= limit."""

    limit: float

    def __post_init__(self) -> None:
        _check(self.limit)

    def __str__(self) -> str:
        return repr(float(self.limit))


@dataclass(frozen=True)
class Relative:
    """|value - source| <= limit x |source|."""

    limit: float

    def __post_init__(self) -> None:
        _check(self.limit)

    def __str__(self) -> str:
        return f"{float(self.limit)!r}{_RELATIVE}"


ErrorBound = Absolute | Relative


def error_bound(value: ErrorBound | float | str) -> ErrorBound:
    """A bound as a user may say it: `0.01`, `"0.01"` (absolute) or `"0.001:rel"` (relative); the inverse of `str`.

    Raises:
        InvalidArgumentError: it is none of these, or its limit is not positive and finite.
    """
    if isinstance(value, Absolute | Relative):
        return value
    text = str(value)
    try:
        limit = float(text.removesuffix(_RELATIVE))
    except ValueError:
        raise InvalidArgumentError(
            f"an error bound is a number such as 0.01, or a relative one such as 1e-3:rel, not {value!r}"
        ) from None
    return Relative(limit) if text.endswith(_RELATIVE) else Absolute(limit)


def told(bound: ErrorBound) -> str:
    """The bound in words."""
    return f"within {float(bound.limit)!r}" + (" of itself" if isinstance(bound, Relative) else "")


def _check(limit: float) -> None:
    if not (math.isfinite(limit) and limit > 0):
        raise InvalidArgumentError(f"an error bound must be positive and finite, not {limit!r}")
