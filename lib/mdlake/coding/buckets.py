"""Integers as buckets to be entropy-coded, and the bits within them packed as they are.

The floating-point-like bucketing of JPEG XL's hybrid integers (ISO/IEC 18181-1, annex C): values below 2^direct are a
bucket each; above, a bucket is the exponent and the `mantissa` bits after the leading one.
"""

from __future__ import annotations

import numpy as np

from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import bits, buckets


def to_buckets(values: np.ndarray, direct: int, mantissa: int) -> tuple[np.ndarray, np.ndarray]:
    """The bucket of each unsigned value, uint16, and the packed bits within the buckets, uint8."""
    chosen, extras = np.empty(len(values), np.uint16), np.empty(len(values), np.uint64)
    widths = np.empty(len(values), np.uint8)
    buckets.split(values.astype(np.uint64, copy=False), direct, mantissa, chosen, extras, widths)
    packed = np.zeros(-(-int(widths.sum(dtype=np.int64)) // 8), np.uint8)
    bits.pack_fields(extras, widths, packed)
    return chosen, packed


def from_buckets(chosen: np.ndarray, packed: np.ndarray, direct: int, mantissa: int, value_bits: int) -> np.ndarray:
    """The inverse of `to_buckets`, uint64, for values of at most `value_bits` bits.

    Raises:
        CorruptError, TruncatedError: a bucket that no such value has, or more or fewer bits than the buckets need.
    """
    firsts, widths = bucket_table(direct, mantissa, value_bits)
    if len(chosen) and int(chosen.max()) >= len(firsts):
        raise CorruptError(f"bucket {int(chosen.max())} is beyond the {len(firsts)} of {value_bits} bits")
    total = int(widths[chosen].sum(dtype=np.int64))
    if len(packed) != -(-total // 8):
        kind = TruncatedError if len(packed) < -(-total // 8) else CorruptError
        raise kind(f"the buckets need {-(-total // 8)} bytes of bits, found {len(packed)}")
    if total % 8 and packed[-1] >> total % 8:
        raise CorruptError("bits are left over after the last bucket")
    extras, values = np.empty(len(chosen), np.uint64), np.empty(len(chosen), np.uint64)
    bits.unpack_fields(packed, widths[chosen], extras)
    buckets.join(chosen, firsts, extras, values)
    return values


def bucket_table(direct: int, mantissa: int, value_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest value (uint64) and the width (uint8) of every bucket of values of `value_bits` bits."""
    direct = min(direct, value_bits)
    exponents = np.repeat(np.arange(direct, value_bits, dtype=np.uint64), 1 << mantissa)
    leading = np.tile(np.arange(1 << mantissa, dtype=np.uint64), value_bits - direct)
    widths = exponents - np.uint64(mantissa)
    firsts = (np.uint64(1 << mantissa) + leading) << widths
    return (
        np.concatenate([np.arange(1 << direct, dtype=np.uint64), firsts]),
        np.concatenate([np.zeros(1 << direct, np.uint8), widths.astype(np.uint8)]),
    )
