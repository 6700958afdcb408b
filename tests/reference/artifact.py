"""FORMAT.md, Artifact: the weights in a safetensors file, from its bytes. Shapes of registered networks are given."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import zstandard

from .block import Block
from .reader import Kind, Reader, check

WORDS = (Path(__file__).parents[2] / "schemas" / "artifact.txt").read_bytes()
Shapes = Sequence[tuple[str, tuple[int, ...]]]


def read_file(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The description and the parts."""
    size = int.from_bytes(data[:8], "little")
    start = 8 + size
    count = len(data) - start
    header = f'{{"mdlake":{{"dtype":"U8","shape":[{count}],"data_offsets":[0,{count}]}}}}'
    check(data[8:start] == header.encode(), "header")
    reader = Reader(data[start:])
    frame = reader.counted()
    at = start + reader.at
    check(int.from_bytes(data[at : at + 4], "little") == zlib.crc32(data[:at]), "CRC-32")
    at += 4
    words = zstandard.ZstdCompressionDict(WORDS, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    magicless = zstandard.ZstdDecompressor(dict_data=words, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    about = json.loads(magicless.decompress(frame, max_output_size=1 << 26))
    parts = {}
    for name in sorted(about["parts"]):
        parts[name] = data[at : at + about["parts"][name]]
        at += about["parts"][name]
    check(at == len(data), "bytes behind the parts")
    return about, parts


def read_weights(data: bytes, registered: Shapes) -> dict[str, list[float]]:
    """Tensors by name, those that are plain of float32 only: their values in row-major order."""
    about, parts = read_file(data)
    check(about["format"] in (2, 3), "format")
    shapes = [(name, tuple(shape)) for name, shape in about["shapes"]] if "shapes" in about else list(registered)
    fields, schemes = {}, []
    for scheme, given in about["tensors"]:
        fields = fields if scheme == "codebook" and not given else given
        schemes.append((scheme, fields))
    tensors = {name: (shape, *scheme) for (name, shape), scheme in zip(shapes, schemes, strict=True)}
    levels = read_levels(
        parts, {name: tensor for name, tensor in tensors.items() if tensor[1] in ("linear", "codebook")}
    )
    shared: dict[str, list[float]] = {}
    found = {}
    for name, (shape, scheme, given) in tensors.items():
        if scheme == "plain":
            check(given["dtype"] == "float32", "dtype")
            count = prod(shape)
            found[name] = [given["value"]] * count if "value" in given else array(parts, shared, name, "", count)
        elif scheme == "sparse":
            check(given["dtype"] == "float32", "dtype")
            mask = array(parts, shared, name, ":mask", prod(shape))
            left = iter(array(parts, shared, name, "", given["count"]))
            found[name] = [(0.0, next(left) if one == 1 else 0.0, -0.0)[int(one)] for one in mask]
            check(mask.count(1) == given["count"], "count")
        elif scheme == "tied":
            found[name] = found[given["of"]]
        elif scheme == "codebook":
            found[name] = [entry(given["book"], level) for level in levels[name]]
        else:
            check(scheme == "linear", "scheme")
            rows = 1 if "scale" in given else shape[0]
            scales = [float32(given["scale"])] if "scale" in given else array(parts, shared, name, ":scale", rows)
            each = len(levels[name]) // rows
            found[name] = [float32(level * scales[at // each]) for at, level in enumerate(levels[name])]
    check(not any(shared.values()), "vectors left over")
    return found


def array(parts: dict[str, bytes], shared: dict[str, list[float]], tensor: str, role: str, count: int) -> list[float]:
    """float32, or u8 of a mask, of a part of its own or the next of those in a shared one, whose rest `shared` has."""
    own = (tensor.replace(":", "::") + role) if tensor != "levels" else f"levels:{role[1:]}"
    if own in parts:
        values = floats(parts[own])
        check(len(values) == count, "array")
        return values
    part = f"vectors:{'uint8' if role == ':mask' else 'float32'}{role}"
    left = shared[part] if part in shared else floats(parts[part])
    check(len(left) >= count, "vectors")
    shared[part] = left[count:]
    return left[:count]


def floats(block: bytes) -> list[float]:
    kind, bits = Block.of(block).stream()
    if kind is Kind.U8:
        return list(map(float, bits))
    check(kind is Kind.F32, "kind")
    return [struct.unpack("<f", struct.pack("<I", value))[0] for value in bits]


def float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def entry(book: list[float], level: int) -> float:
    rounded = [struct.unpack("<e", struct.pack("<e", value))[0] for value in book]
    below = sum(value < 0 for value in rounded)
    return rounded[below + level - (level > 0)] if level else 0.0


def read_levels(parts: dict[str, bytes], tensors: dict[str, Any]) -> dict[str, list[int]]:
    flat = Block.of(parts["levels"]).stream()[1] if "levels" in parts else []
    found: dict[str, list[int]] = {}
    for name, (shape, _, _) in tensors.items():
        if name in found:
            continue
        rows = shape[0] if len(shape) > 1 else 1
        columns = prod(shape) // rows
        bias = name.removesuffix("weight") + "bias"
        together = name.endswith("weight") and len(shape) > 1 and bias in tensors and tensors[bias][0] == (rows,)
        width = columns + together
        matrix = [flat[r * width : (r + 1) * width] for r in range(rows)]
        flat = flat[rows * width :]
        found[name] = [level for row in matrix for level in row[:columns]]
        if together:
            found[bias] = [row[-1] for row in matrix]
    check(not flat, "levels left over")
    return found
