"""The integer levels of a network's weights as one block, all tensors in one adaptive stream.

The decoder needs the names and shapes of the tensors, in the same order; how they lie as matrices follows from these,
and what their columns mean (channels, pixels) is in the block.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt, prod

import numpy as np

from mdlake.block import decode_values, encode_with
from mdlake.coding.matrices import Grid
from mdlake.encodings.matrices import Matrices
from mdlake.errors import InvalidArgumentError

Shape = tuple[int, ...]
Levels = Mapping[str, np.ndarray]
_DTYPES = np.int8, np.int16, np.uint8


def encode_levels(levels: Levels) -> bytes:
    """One block of all tensors, in the order of the mapping: best that in which the network computes.

    Args:
        levels: int8, int16 or uint8, of any shape but not empty: 0 for a pruned weight, else a signed level or the
            index in a codebook, best so that neighbours in value are neighbours in level. A tensor `name.bias` with
            an element for each row of `name.weight` is coded as one more column of it.

    Raises:
        InvalidArgumentError: no tensors, an empty one, or one of another dtype.
    """
    for name, tensor in levels.items():
        if tensor.dtype not in _DTYPES or tensor.size == 0:
            raise InvalidArgumentError("levels are int8, int16 or uint8, and not empty", tensor=name)
    if not levels:
        raise InvalidArgumentError("a network has one tensor at least")
    values = np.concatenate([_lines(levels, names).ravel() for names in _pairs(_shapes(levels))])
    layouts = dict.fromkeys(tuple(_grids(_shapes(levels), image)) for image in (False, True))
    return min((encode_with(values, Matrices(grids)) for grids in layouts), key=len)


def decode_levels(
    data: bytes | memoryview, shapes: Mapping[str, Shape], dtype: np.dtype | type
) -> dict[str, np.ndarray]:
    """The tensors of these shapes that `encode_levels` was given, in the order of `shapes`.

    Args:
        dtype: the widest of those the tensors had, which all of them get.

    Raises:
        CorruptError, TruncatedError, UnsupportedVersionError: the bytes are not such a block.
    """
    values = decode_values(data, dtype=dtype, length=sum(map(prod, shapes.values())))
    found, start = dict[str, np.ndarray](), 0
    for weight, bias in _pairs(shapes):
        count = prod(shapes[weight]) + (prod(shapes[bias]) if bias else 0)
        lines = values[start : start + count].reshape(_rows(shapes[weight]), -1)
        found[weight] = lines[:, : lines.shape[1] - bool(bias)].reshape(shapes[weight])
        if bias:
            found[bias] = lines[:, -1]
        start += count
    return {name: found[name].copy() for name in shapes}


def _shapes(levels: Levels) -> dict[str, Shape]:
    return {name: tensor.shape for name, tensor in levels.items()}


def _pairs(shapes: Mapping[str, Shape]) -> list[tuple[str, str]]:
    """Names of weights, each with that of its bias, empty where it has none."""
    biases = {}
    for name, shape in shapes.items():
        bias = name.removesuffix("weight") + "bias"
        if name.endswith("weight") and len(shape) >= 2 and shapes.get(bias) == shape[:1]:
            biases[name] = bias
    taken = set(biases.values())
    return [(name, biases.get(name, "")) for name in shapes if name not in taken]


def _lines(levels: Levels, names: tuple[str, str]) -> np.ndarray:
    weight, bias = names
    lines = levels[weight].reshape(_rows(levels[weight].shape), -1)
    return np.concatenate([lines, levels[bias][:, None]], axis=1) if bias else lines


def _rows(shape: Shape) -> int:
    return shape[0] if shape else 1


def _grids(shapes: Mapping[str, Shape], image: bool) -> list[Grid]:
    """What the columns mean. `image`: whether the first tensor sees square pictures."""
    grids = list[Grid]()
    for weight, bias in _pairs(shapes):
        shape = shapes[weight]
        rows, columns = _rows(shape), prod(shape[1:])
        if len(shape) > 2:
            channels, height, width = shape[1], prod(shape[2:-1]), shape[-1]
        else:
            channels = grids[-1].rows if grids else 1 if image else columns
            side = isqrt(columns // channels) if columns % channels == 0 else 0
            channels, height, width = (channels, side, side) if channels * side**2 == columns else (columns, 1, 1)
        grids.append(Grid(rows, channels, height, width, bool(bias)))
    return grids
