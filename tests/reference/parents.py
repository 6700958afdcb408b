"""FORMAT.md, Parents: what a column gives to others, from its values that are not null."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from .floats import bits_of
from .reader import Kind, Parent, Values, signed


def parent_of(values: Sequence[int | bytes | None], kind: Kind) -> Parent:
    """A column of integers (by value), strings, or bits of floats of a kind; None is null."""
    distinct = sorted({v for v in values if v is not None}, key=lambda value: place_of(value, kind))
    ranks = {value: 1 + rank for rank, value in enumerate(distinct)}
    codes = [0 if value is None else ranks[value] for value in values]
    if kind is Kind.STRINGS:
        return Parent(codes, None, [value if isinstance(value, bytes) else b"" for value in values])
    whole: Values = [value for value in values if value is not None]
    if kind.is_float:
        whole = as_decimals(whole, kind)
    following = iter(whole)
    return Parent(codes, [0 if value is None else signed(next(following)) for value in values])


def place_of(value: Any, kind: Kind) -> Any:
    """What values are sorted by: of floats the sign, then how large the bits are without it."""
    if not kind.is_float:
        return value
    sign = 1 << 8 * kind.width - 1
    return value if value < sign else sign - 1 - value


def as_decimals(values: list[int], kind: Kind) -> list[int]:
    """The integers of encoding 17 for the digits that fail the fewest of a sample; 0 where they do not fit."""
    sample = values if len(values) <= 8192 else stretches(values)
    digits = min(range(16), key=lambda digits: sum(as_decimal(bits, kind, digits) is None for bits in sample))
    return [as_decimal(bits, kind, digits) or 0 for bits in values]


def stretches(values: list[int]) -> list[int]:
    starts = [k * (len(values) - 256) // 15 for k in range(16)]
    return [value for start in starts for value in values[start : start + 256]]


def as_decimal(bits: int, kind: Kind, digits: int) -> int | None:
    (value,) = struct.unpack({2: "<e", 4: "<f", 8: "<d"}[kind.width], bits.to_bytes(kind.width, "little"))
    scaled = value * 10.0**digits
    if not abs(scaled) < 2**53:
        return None
    number = round(scaled)
    return number if bits_of([float(number) / 10.0**digits], kind) == [bits] else None
