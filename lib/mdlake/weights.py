"""Weights of a network as blocks, quickly: floats whose chain is known, so that nothing is searched.

Where values are no noise, since many are zero or few are distinct, the search has its say as well.
"""

from __future__ import annotations

import numpy as np

from mdlake.block import EFFORTS, assemble, encode_values
from mdlake.encodings.bit_fields import BitPack
from mdlake.encodings.chain import Chain
from mdlake.encodings.coded import Rans
from mdlake.encodings.plain import Constant, Plain
from mdlake.encodings.protocol import Encoding, Shape
from mdlake.encodings.weights import MANTISSA, Weights
from mdlake.errors import InvalidArgumentError
from mdlake.streams import bits_of, kind_of, numbers

SEARCHED_BELOW = 1 << 16
"""Arrays of fewer values are searched at the effort `max`, whatever they are."""
_LITTLE, _LOOKED_AT = 4096, 1024
_SAME, _DISTINCT = 16, 8
_SELDOM = 0.8
_SHORTEST_ROW = 64
_CODED = 1 << 12
"""So many small integers are worth a table."""


def encode_weights(values: np.ndarray, row: int = 0, effort: str = "default") -> bytes:
    """One 1-D array of float16, 32, 64, or of bfloat16 as uint16 patterns, as a block; every bit comes back.

    Args:
        row: how many values a row of the tensor has, all that belong to one place of its first dimension; rows may
            differ in scale. 0: there are none.
        effort: how hard to search where values are not noise; one of `mdlake.block.EFFORTS`.

    Raises:
        InvalidArgumentError: another dtype, more than one dimension, or an unknown effort.
    """
    if values.ndim != 1:
        raise InvalidArgumentError(f"a block holds one dimension, not {values.ndim}; ravel the array first")
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    if kind_of(native) not in MANTISSA:
        raise InvalidArgumentError(f"weights are floats, or uint16 patterns of bfloat16, not {values.dtype}")
    if effort not in EFFORTS:
        raise InvalidArgumentError(f"effort {effort!r} is unknown; choose one of {', '.join(EFFORTS)}")
    block = _block(native, _quick(native, row))
    if len(block) > native.nbytes:
        block = min(block, _block(native, _one_step(Plain(), native)), key=len)
    always = effort == "max" and len(native) < SEARCHED_BELOW
    if always or (len(native) > _LITTLE and not _is_noise(native)):
        return min(block, encode_values(native, effort), key=len)
    return block


def encode_symbols(values: np.ndarray, effort: str = "default") -> bytes:
    """One 1-D array of small numbers, uint8, as a block. Searched where values tell of the next one, where there are
    few, and always at the effort "max"; else the chain is known.
    """
    block = _block(values, _few(values))
    searched = effort == "max" or len(values) < _CODED or _has_runs(values)
    return min(block, encode_values(values, effort), key=len) if searched else block


def _block(values: np.ndarray, chain: Chain) -> bytes:
    return assemble(len(values), [(Shape.of(values), chain)])


def _quick(values: np.ndarray, row: int) -> Chain:
    bits = bits_of(values)
    if len(values) and bits[0] == bits[-1] and bool((bits == bits[0]).all()):
        return _one_step(Constant(), values)
    encoded = Weights(_row_length(row)).encode(values)
    if encoded is None:
        return _one_step(Plain(), values)
    tables, zeros, rest, tops = map(numbers, encoded[1])
    children = _few(tables), _few(zeros), Chain(Plain(rest.data)), _few(tops)
    return Chain(encoded[0], children)


def _few(values: np.ndarray) -> Chain:
    """Little beside the whole, so hardly looked at: constant, or packed, or coded if there are many."""
    if len(values) and bool((values == values[0]).all()):
        return _one_step(Constant(), values)
    if len(values) >= _CODED and (coded := Rans().encode(values)):
        return Chain(coded[0])
    packed = BitPack().encode(values)
    return Chain(packed[0], (_one_step(Plain(), numbers(packed[1][0])),)) if packed else _one_step(Plain(), values)


def _one_step(leaf: Encoding, values: np.ndarray) -> Chain:
    encoded = leaf.encode(values)
    assert encoded is not None, "these leaves take all such values"
    return Chain(encoded[0])


def _row_length(row: int) -> int:
    """Short rows are taken several at a time: each has a scale, and ends a byte."""
    return row * -(-_SHORTEST_ROW // row) if row else 0


def _has_runs(values: np.ndarray) -> bool:
    """Whether neighbours are the same noticeably more often than others."""
    shares = np.bincount(values, minlength=1) / len(values)
    changes = np.count_nonzero(values[1:] != values[:-1]) / len(values)
    return bool(changes < _SELDOM * (1 - np.square(shares).sum()))


def _is_noise(values: np.ndarray) -> bool:
    """Whether hardly any value of a sample comes again and again."""
    some = bits_of(values)[:: len(values) // _LOOKED_AT]
    counts = np.unique(some, return_counts=True)[1]
    return bool(counts.max() * _SAME < len(some) < len(counts) * _DISTINCT)
