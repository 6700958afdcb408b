"""Arithmetic on unsigned integers in as many bits as they have.

numba makes 64 bits of every integer that an operator is used on, so that a vector would hold 8 values instead of 32 of
16 bits, or 64 of 8. Both operands have the same type; a shift is by less than its bits; sums are modulo 2^bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.extending import intrinsic


def _operator(name: str) -> Callable[..., Any]:
    @intrinsic
    def apply(typing, left, right):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return getattr(builder, name)(*arguments)

        return left(left, left), generate

    return apply


up, down, bits_and, bits_or, plus = map(_operator, ("shl", "lshr", "and_", "or_", "add"))
