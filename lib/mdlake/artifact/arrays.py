"""The arrays of an artifact's tensors as parts: a block each, but for short vectors, which share one.

Networks have many short vectors: biases, norms, scales. As a block each they take more bytes to describe, and more time
to read, than to hold: of a MiniLM they are 0.2 % of the weights and were 13 % of the time to decode them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import gcd

import numpy as np

from mdlake.arena import allocate
from mdlake.block import decode_values, encode_values
from mdlake.encodings.weights import MANTISSA
from mdlake.errors import CorruptError, located
from mdlake.streams import kind_of
from mdlake.weights import encode_symbols, encode_weights

_SHORT = 1 << 13
"""Vectors of so many values at most share a block; to read a file, nobody has to know."""
SHARED, LEVELS = "vectors", "levels"
Parts = Mapping[str, bytes | memoryview]
Wanted = Mapping[str, Mapping[str, tuple[np.dtype, int]]]
"""By tensor and role, dtype and length of an array."""


@dataclass(frozen=True)
class Array:
    """`values`: 1-D, bfloat16 as uint16 patterns; `row`: how many of them belong to one place of the tensor's first
    dimension, 0 if there is no other dimension.
    """

    tensor: str
    role: str
    values: np.ndarray
    row: int = 0


def part_name(tensor: str, role: str) -> str:
    """A colon of the tensor's own name is two, so that what has one is no tensor of that name."""
    name = tensor.replace(":", "::")
    return f"{name}:{role}" if role or name == LEVELS else name


def shared_name(dtype: np.dtype, role: str) -> str:
    """The part of the short vectors of this dtype and role."""
    return f"{SHARED}:{dtype.name}" + (f":{role}" if role else "")


def is_shared(name: str) -> bool:
    return name.startswith(SHARED + ":")


def encode_arrays(arrays: Iterable[Array], effort: str) -> dict[str, bytes]:
    """The parts by their names."""
    parts: dict[str, bytes] = {}
    vectors: dict[str, list[np.ndarray]] = {}
    for array in arrays:
        if array.row or len(array.values) > _SHORT:
            parts[part_name(array.tensor, array.role)] = _block(array.values, array.row, effort)
        else:
            vectors.setdefault(shared_name(array.values.dtype, array.role), []).append(array.values)
    shared = {name: _block(np.concatenate(some), gcd(*map(len, some)), effort) for name, some in vectors.items()}
    return parts | shared


def decode_arrays(parts: Parts, wanted: Wanted, max_bytes: int) -> dict[str, dict[str, np.ndarray]]:
    """The arrays, all in one allocation. One that has no part of its own is where the short vectors are.

    Raises:
        CorruptError, TruncatedError, UnsupportedVersionError: a part is missing, or not such a block.
    """
    pieces: dict[str, list[tuple[str, str, np.dtype, int]]] = {}
    for tensor, of in wanted.items():
        for role, (dtype, length) in of.items():
            own = part_name(tensor, role)
            pieces.setdefault(own if own in parts else shared_name(dtype, role), []).append(
                (tensor, role, dtype, length)
            )
    found: dict[str, dict[str, np.ndarray]] = {tensor: {} for tensor in wanted}
    rooms = allocate([(some[0][2], sum(length for *_, length in some)) for some in pieces.values()])
    for (name, some), room in zip(pieces.items(), rooms, strict=True):
        with located(tensor=some[0][0]) if len(some) == 1 else located(part=name):
            decode_values(part(parts, name), dtype=room.dtype, length=len(room), max_bytes=max_bytes, out=room)
        ends = accumulate(length for *_, length in some)
        for (tensor, role, _, length), end in zip(some, ends, strict=True):
            found[tensor][role] = room[end - length : end]
    return found


def part(parts: Parts, name: str) -> bytes | memoryview:
    """Raises `CorruptError` if it is missing."""
    if name not in parts:
        raise CorruptError(f"the part {name!r} is missing")
    return parts[name]


def _block(values: np.ndarray, row: int, effort: str) -> bytes:
    if kind_of(values) in MANTISSA:
        return encode_weights(values, row, effort)
    return encode_symbols(values, effort) if values.dtype == np.uint8 else encode_values(values, effort)
