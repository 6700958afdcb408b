"""FORMAT.md, Encodings: decimal, scaled, octaves, interpolated. Values are bit patterns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import count

import numpy as np

from .integers import set_exceptions
from .reader import Kind, Place, Values, check, signed


def bits_of(values: Iterable[float], kind: Kind) -> list[int]:
    """Binary64 numbers rounded to a kind, as bits."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.array(list(values), np.float64).astype(f"f{kind.width}")
    return [int(bits) for bits in rounded.view(f"u{kind.width}")]


def power(exponent: int) -> float:
    """The binary64 nearest to a power of ten."""
    return float(f"1e{exponent}")


def with_exceptions(place: Place, values: Iterable[float], exceptions: int) -> Values:
    gaps = place.child(Kind.U32, exceptions)
    return set_exceptions(bits_of(values, place.kind), gaps, place.child(place.kind.unsigned, exceptions))


def decimal(place: Place) -> Values:
    digits, exceptions = place.reader.u8(), place.reader.varint()
    check(digits <= 15, "digits")
    return with_exceptions(place, (c / power(digits) for c in map(float, integers(place))), exceptions)


def integers(place: Place) -> list[int]:
    return place.child(Kind.I64, place.count)


def float_bits(place: Place) -> Values:
    return place.child(place.kind.unsigned, place.count)


def scale_of(place: Place) -> tuple[int, int, int]:
    """The fields of scaled: multiplier, digits, exceptions."""
    multiplier, digits = place.reader.varint(2**53 - 1), place.reader.zigzag()
    check(multiplier >= 1 and abs(digits) <= 300, "scale")
    return multiplier, digits, place.reader.varint()


def scale(values: Iterable[int], multiplier: int, digits: int) -> list[float]:
    products = [float(c) * multiplier for c in values]
    return [c / power(digits) if digits >= 0 else c * power(-digits) for c in products]


def scaled(place: Place) -> Values:
    multiplier, digits, exceptions = scale_of(place)
    return with_exceptions(place, scale(integers(place), multiplier, digits), exceptions)


def octaves(place: Place) -> Values:
    steps, lowest, exceptions = place.reader.varint(2**40), place.reader.zigzag(), place.reader.varint()
    check(steps >= 1 and abs(lowest) <= 1100, "octaves")
    return with_exceptions(place, [octave(c, steps, lowest) for c in integers(place)], exceptions)


def octave(c: int, steps: int, lowest: int) -> float:
    if c == 0:
        return 0.0
    e, j = divmod((1 if c == -(2**63) else abs(c)) - 1, steps)
    size = 3.0 - math.sqrt(4.0 - 3 * j / steps)
    try:
        return math.copysign(math.ldexp(size, lowest + min(e, 2200)), c)
    except OverflowError:
        return math.copysign(math.inf, c)


def interpolated(place: Place) -> Values:
    multiplier, digits, exceptions = scale_of(place)
    step = place.reader.varint(2**20)
    grid = interpolate(integers(place), step)
    return with_exceptions(place, scale(grid, multiplier, digits), exceptions)


def interpolate(corrections: list[int], step: int) -> list[int]:
    size, following = len(corrections), iter(corrections)
    k = [signed(step * next(following))] * size
    stride = 1 << max(size - 1, 0).bit_length()
    while stride := stride >> 1:
        for i in count(stride, 2 * stride):
            if i >= size:
                break
            k[i] = signed(guess(k, i, stride) + step * next(following))
    return k


def guess(k: list[int], i: int, stride: int) -> int:
    a, after, before = k[i - stride], i + stride < len(k), i >= 3 * stride
    if before and i + 3 * stride < len(k):
        return signed(9 * (a + k[i + stride]) - k[i - 3 * stride] - k[i + 3 * stride] + 8) >> 4
    if after:
        return signed(a + k[i + stride] + 1) >> 1
    return signed(3 * a - k[i - 3 * stride] + 1) >> 1 if before else a
