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
from .reader import Reader, check

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
    """Tensors whose schemes are linear or codebook, by name: their values in row-major order."""
    about, parts = read_file(data)
    check(about["format"] == 2, "format")
    shapes = [(name, tuple(shape)) for name, shape in about["shapes"]] if "shapes" in about else list(registered)
    fields, schemes = {}, []
    for scheme, given in about["tensors"]:
        fields = fields if scheme == "codebook" and not given else given
        schemes.append((scheme, fields))
    tensors = {name: (shape, *scheme) for (name, shape), scheme in zip(shapes, schemes, strict=True)}
    levels = read_levels(parts, tensors)
    return {
        name: [value(scheme, given, level) for level in levels[name]] for name, (_, scheme, given) in tensors.items()
    }


def value(scheme: str, fields: dict[str, Any], level: int) -> float:
    if scheme == "linear":
        scale = struct.unpack("<f", struct.pack("<f", fields["scale"]))[0]
        return struct.unpack("<f", struct.pack("<f", level * scale))[0]
    check(scheme == "codebook", "scheme")
    book = [struct.unpack("<e", struct.pack("<e", entry))[0] for entry in fields["book"]]
    below = sum(entry < 0 for entry in book)
    return book[below + level - (level > 0)] if level else 0.0


def read_levels(parts: dict[str, bytes], tensors: dict[str, Any]) -> dict[str, list[int]]:
    flat = Block.of(parts["levels"]).stream()[1]
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
