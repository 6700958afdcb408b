"""Whether a codec gave back what it was given, by value and by bits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


class MeasurementError(Exception):
    """A codec failed, took too long, or did not give the table back."""


def differences(source: pa.Table, decoded: pa.Table) -> list[str]:
    """What differs although every value is equal: types, and bits of floats.

    Raises:
        MeasurementError: names, rows or values differ.
    """
    if source.column_names != decoded.column_names or source.num_rows != decoded.num_rows:
        raise MeasurementError("gave other columns or rows")
    found = []
    for field in source.schema:
        before, after = source.column(field.name), decoded.column(field.name)
        if after.type != field.type:
            found.append(f"{field.type} as {after.type}")
            after = after.cast(field.type)
        if pa.types.is_floating(field.type):
            if not before.is_valid().equals(after.is_valid()):
                raise MeasurementError(f"gave other nulls in {field.name}")
            left, right = (np.ascontiguousarray(side.drop_null().to_numpy()) for side in (before, after))
            same_bits = np.array_equal(left.view(f"u{left.itemsize}"), right.view(f"u{right.itemsize}"))
            if not same_bits and np.array_equal(left, right, equal_nan=True):
                found.append(f"{field.name}: other bits of NaN or zero")
            elif not same_bits:
                raise MeasurementError(f"gave other values in {field.name}")
        elif not after.equals(before):
            raise MeasurementError(f"gave other values in {field.name}")
    return sorted(set(found))
