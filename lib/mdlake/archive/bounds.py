"""Smallest and largest value of a block, as JSON can carry them exactly, and what they promise a filter.

Integers and times are integers (of the type's unit), floats are hexadecimal strings, decimals decimal strings,
texts at most 16 characters, rounded outwards. Where a bound could mislead (NaN, nested types, bytes that are
not text) there is none.
"""

from __future__ import annotations

import decimal
from functools import reduce
from operator import and_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mdlake.archive.layout import BlockEntry, Bound
from mdlake.errors import CorruptError

_TEXT = 16
_LAST = 0x10FFFF


def bounds(array: pa.Array) -> tuple[Bound, Bound]:
    """(lowest, highest) value that is not null, or (None, None)."""
    kind = array.type
    if array.null_count == len(array) or not _has_bounds(kind):
        return None, None
    if pa.types.is_floating(kind) and _call("any", _call("is_nan", array)).as_py():
        return None, None  # NaN answers True to "not greater", which no range can express
    if _is_text(kind):
        return _text_bounds(array)
    if _is_temporal(kind):
        array = array.view(_integer(kind))
    extremes = _call("min_max", array)
    return _to_json(extremes["min"].as_py()), _to_json(extremes["max"].as_py())


def guarantee(field: pa.Field, block: BlockEntry, *, nulls: bool) -> pc.Expression:
    """What is known of `field` in the rows where it is null, or in those where it is not."""
    reference = pc.field(field.name)
    if nulls:
        return reference.is_null()
    known = [reference.is_valid()]
    if block.low is not None:
        known.append(reference >= _scalar(block.low, field.type))
    if block.high is not None:
        known.append(reference <= _scalar(block.high, field.type))
    return reduce(and_, known)


def _call(function: str, array: pa.Array) -> Any:
    return pc.call_function(function, [array])


def _has_bounds(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_integer(kind)
        or types.is_boolean(kind)
        or types.is_float32(kind)
        or types.is_float64(kind)
        or types.is_decimal128(kind)
        or types.is_decimal256(kind)
        or _is_temporal(kind)
        or _is_text(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_temporal(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind) and not pa.types.is_interval(kind)


def _integer(kind: pa.DataType) -> pa.DataType:
    return pa.int32() if kind.bit_width == 32 else pa.int64()


def _text_bounds(array: pa.Array) -> tuple[Bound, Bound]:
    extremes = _call("min_max", array)
    try:
        low, high = extremes["min"].as_py(), extremes["max"].as_py()
    except UnicodeDecodeError:
        return None, None
    return low[:_TEXT], high if len(high) <= _TEXT else _successor(high[:_TEXT])


def _successor(prefix: str) -> str | None:
    """A text after every text that begins with `prefix`; None if there is none."""
    point = ord(prefix[-1]) + 1
    if point > _LAST:
        return _successor(prefix[:-1]) if len(prefix) > 1 else None
    return prefix[:-1] + chr(0xE000 if 0xD800 <= point <= 0xDFFF else point)


def _to_json(value: object) -> Bound:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, decimal.Decimal):
        return str(value)
    raise TypeError(f"no bound of type {type(value).__name__}")


def _scalar(bound: int | str, kind: pa.DataType) -> pa.Scalar:
    try:
        if _is_temporal(kind):
            return pa.array([bound], _integer(kind)).view(kind)[0]
        if pa.types.is_boolean(kind):
            return pa.scalar(bool(bound), kind)
        if pa.types.is_floating(kind):
            return pa.scalar(float.fromhex(str(bound)), kind)
        if pa.types.is_decimal(kind):
            return pa.scalar(decimal.Decimal(bound), kind)
        return pa.scalar(bound, kind)
    except (pa.ArrowException, ValueError, TypeError, ArithmeticError, OverflowError) as error:
        raise CorruptError(f"the manifest's bound {bound!r} does not fit type {kind}") from error
