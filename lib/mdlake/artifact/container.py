"""Named byte strings and a JSON object in one safetensors file, with every byte accounted for.

The outer shape of an artifact (`schemas/FORMAT.md`, section "Artifact"). To safetensors it is one tensor of bytes: an
entry for each part would take as much as a small network's weights. What the parts are, and the object, is a
description ahead of them, compressed with a dictionary of what descriptions say.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import zstandard

from mdlake.errors import CorruptError, InvalidArgumentError, TruncatedError
from mdlake.wire import Reader, Writer

TENSOR = "mdlake"
_LENGTH_BYTES = 8
_MAX_HEADER = 100 << 20  # as safetensors has it
_MAX_TEXT = 64 << 20
_PARTS = "parts"
_COMPACT: dict[str, Any] = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}


def pack(parts: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """The file; the same bytes for the same content. Parts lie in the order of their names."""
    parts = dict(sorted(parts.items()))
    sizes = {name: len(part) for name, part in parts.items()}
    writer = Writer()
    writer.counted(_compressed(json.dumps({**about, _PARTS: sizes}, **_COMPACT).encode()))
    total = writer.size + 4 + sum(sizes.values())
    head = _header(total) + writer.getvalue()
    return b"".join([head, zlib.crc32(head).to_bytes(4, "little"), *parts.values()])


def unpack(data: bytes) -> tuple[dict[str, memoryview], dict[str, Any]]:
    """The parts and the JSON object.

    Raises:
        TruncatedError, CorruptError: the file ends early, or is not as `pack` wrote it.
        InvalidArgumentError: another safetensors file.
    """
    start = _body(data)
    reader = Reader(memoryview(data)[start:])
    description = reader.counted()
    end = len(data) - reader.remaining
    if bytes(reader.raw(4)) != zlib.crc32(data[:end]).to_bytes(4, "little"):
        raise CorruptError("the description does not match its checksum")
    about = _parse(_text(bytes(description)))
    sizes = about.pop(_PARTS, None)
    if not isinstance(sizes, dict) or not all(type(size) is int and size >= 0 for size in sizes.values()):
        raise CorruptError(f"the description has no sizes of parts, but {sizes!r}")
    if sum(sizes.values()) != reader.remaining:
        raise CorruptError(f"the parts have {sum(sizes.values())} bytes, found {reader.remaining}")
    return {name: reader.raw(size) for name, size in sizes.items()}, about


def _header(size: int) -> bytes:
    text = json.dumps({TENSOR: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}, separators=(",", ":"))
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text.encode()


def _body(data: bytes) -> int:
    """Where the tensor begins that ends with the file."""
    if len(data) < _LENGTH_BYTES:
        raise TruncatedError(f"a safetensors file has at least {_LENGTH_BYTES} bytes, found {len(data)}")
    size = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if size > _MAX_HEADER:
        raise CorruptError(f"the header claims {size} bytes; this is no artifact, or it is damaged")
    if size > len(data) - _LENGTH_BYTES:
        raise TruncatedError(f"the header has {size} bytes, found {len(data) - _LENGTH_BYTES}; fetch the file again")
    start = _LENGTH_BYTES + size
    entries = _parse(data[_LENGTH_BYTES:start])
    if TENSOR not in entries and len(entries) > 1:  # no damage to our own header adds a tensor
        raise InvalidArgumentError(
            f"this is a safetensors file of {len(entries)} entries, no artifact: `compress` and save_model write those"
        )
    entry = entries.get(TENSOR)
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or len(shape) != 1 or type(shape[0]) is not int:
        raise CorruptError("the header is not that of an artifact")
    if shape[0] > len(data) - start:
        raise TruncatedError(f"the tensor has {shape[0]} bytes, found {len(data) - start}; fetch the file again")
    if data[:start] != _header(len(data) - start):
        raise CorruptError(f"the header is not that of an artifact with {len(data) - start} bytes behind it")
    return start


@cache
def _dictionary() -> zstandard.ZstdCompressionDict:
    """What descriptions say, part of the format. The likeliest comes last: zstd reaches it in the fewest bits."""
    words = files("mdlake.schemas").joinpath("artifact.txt").read_bytes()
    return zstandard.ZstdCompressionDict(words, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _compressed(text: bytes) -> bytes:
    """One Zstandard frame after the dictionary, without magic, content size and checksum."""
    given = zstandard.ZstdCompressionParameters.from_level(
        19,
        source_size=len(text),
        dict_size=len(_dictionary()),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(dict_data=_dictionary(), compression_params=given).compress(text)


def _text(description: bytes) -> bytes:
    decompressor = zstandard.ZstdDecompressor(
        dict_data=_dictionary(), max_window_size=_MAX_TEXT, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    try:
        reader = decompressor.stream_reader(description, read_across_frames=False)
        text = reader.read(_MAX_TEXT + 1)
    except zstandard.ZstdError as error:
        raise CorruptError(f"the description is no sound Zstandard frame: {error}") from error
    if len(text) > _MAX_TEXT:
        raise CorruptError(f"the description has more than {_MAX_TEXT} bytes")
    return text


def _parse(text: bytes | str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError, TypeError) as error:
        raise CorruptError(f"the header is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CorruptError("the header is not a JSON object")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
