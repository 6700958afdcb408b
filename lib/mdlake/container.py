"""Named byte strings and a JSON object in one safetensors file, with every byte accounted for.

The outer shape of an artifact (`schemas/FORMAT.md`, section "Artifact"). Any safetensors reader can list it:
all tensors are uint8. Ours checks what theirs does not: the header by a checksum, names for duplicates, and
the file's end; and it tells truncation from corruption.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from mdlake.errors import CorruptError, TruncatedError

_KEY = "mdlake"
_CHECKSUM = "checksum"
_LENGTH_BYTES = 8
_MAX_HEADER = 100 << 20  # as safetensors has it


def pack(parts: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """The file; the same bytes for the same content in the same order."""
    entries: dict[str, Any] = {"__metadata__": {_KEY: _compact(about)}}
    at = 0
    for name, size in [*((name, len(part)) for name, part in parts.items()), (_CHECKSUM, 4)]:
        entries[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    header = _compact(entries).encode()
    head = len(header).to_bytes(_LENGTH_BYTES, "little") + header
    return b"".join([head, *parts.values(), zlib.crc32(head).to_bytes(4, "little")])


def unpack(data: bytes) -> tuple[dict[str, memoryview], dict[str, Any]]:
    """The parts and the JSON object.

    Raises:
        TruncatedError, CorruptError: the file ends early, or is not as `pack` wrote it.
    """
    size = _header_size(data)
    start = _LENGTH_BYTES + size
    entries = _parse(data[_LENGTH_BYTES:start])
    try:
        text = entries.pop("__metadata__")[_KEY]
        spans = [(name, _span(entry)) for name, entry in entries.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError(f"the header is not that of an artifact: {error!r}") from error
    _check_ends([span for _, span in spans], len(data) - start)
    body = memoryview(data)[start:]
    parts = {name: body[begin:end] for name, (begin, end) in spans}
    if parts.pop(_CHECKSUM, b"") != zlib.crc32(data[:start]).to_bytes(4, "little"):
        raise CorruptError("the header does not match its checksum")
    return parts, _parse(text)


def _header_size(data: bytes) -> int:
    if len(data) < _LENGTH_BYTES:
        raise TruncatedError(f"a safetensors file has at least {_LENGTH_BYTES} bytes, found {len(data)}")
    size = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if size > _MAX_HEADER:
        raise CorruptError(f"the header claims {size} bytes; this is no artifact, or it is damaged")
    if size > len(data) - _LENGTH_BYTES:
        raise TruncatedError(f"the header has {size} bytes, found {len(data) - _LENGTH_BYTES}; fetch the file again")
    return size


def _span(entry: Mapping[str, Any]) -> tuple[int, int]:
    begin, end = entry["data_offsets"]
    if entry["dtype"] != "U8" or entry["shape"] != [end - begin] or not 0 <= begin <= end:
        raise ValueError("its tensors are not byte strings")
    return begin, end


def _check_ends(spans: list[tuple[int, int]], size: int) -> None:
    """Every byte of the file belongs to one tensor."""
    at = 0
    for begin, end in spans:
        if begin != at:
            raise CorruptError(f"the header leaves bytes {at} to {begin} to no tensor")
        at = end
    if at > size:
        raise TruncatedError(f"the tensors have {at} bytes, found {size}; fetch the file again")
    if at < size:
        raise CorruptError(f"{size - at} bytes follow the last tensor")


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


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
