"""FORMAT.md, Archive: the newest version of a folder, by its manifest, from the bytes of its data files."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

from .block import Block
from .columns import decode_column, parent_of_column
from .reader import Kind, Parent, Values, check


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def newest_manifest(folder: Path) -> dict[str, Any]:
    path = max((folder / "_manifest").iterdir())
    text = zstandard.decompress(path.read_bytes()) if path.suffix == ".zst" else path.read_bytes()
    manifest = json.loads(text)
    check(text == canonical(manifest) + b"\n", "not in canonical form")
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    check(hashlib.sha256(canonical(rest)).hexdigest()[:32] == manifest["checksum"], "checksum")
    check(manifest["kind"] == "archive" and manifest["format"] in (1, 2), "not an archive of a known format")
    return manifest


def read_archive(folder: Path) -> tuple[pa.Schema, list[Values]]:
    """The schema, and the values of each column."""
    manifest = newest_manifest(folder)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(manifest["schema"])))
    columns: list[Values] = [[] for _ in schema]
    for file in manifest["files"]:
        data = (folder / file["path"]).read_bytes() if file["path"] else b""
        check(len(data) == file["size"], "size")
        check(not file["path"] or hashlib.sha256(data).hexdigest() == file["sha256"], "SHA-256")
        for r in range(len(file["rows"])):
            for column, values in zip(columns, read_block_row(file, r, data, schema), strict=True):
                column += values
    check(all(len(column) == manifest["rows"] for column in columns), "rows")
    return schema, columns


def cell(data: bytes, offset: int, size: int, crc32: int) -> bytes:
    block = data[offset : offset + size]
    check(int.from_bytes(block[5:9], "little") == crc32, "CRC-32")
    return block


def read_block_row(file: dict[str, Any], r: int, data: bytes, schema: pa.Schema) -> list[Values]:
    names = file["parents"][r] if "parents" in file else [[] for _ in schema]
    types, found = [field.type for field in schema], dict[int, Values]()

    def column(c: int) -> Values:
        if c not in found:
            parents: dict[int, Parent] = {p: parent_of_column(column(p), types[p]) for p in names[c]}
            block = cell(data, file["offset"][r][c], file["bytes"][r][c], file["crc32"][r][c])
            check(Block.of(block).columns == names[c], "parents")
            found[c] = decode_column(block, types[c], parents)
            check(len(found[c]) == file["rows"][r], "rows")
        return found[c]

    values = [column(c) for c in range(len(types))]
    order = file["order"][r] if "order" in file else []
    return put_back(values, order, data) if order else values


def put_back(values: list[Values], order: list[Any], data: bytes) -> list[Values]:
    """The rows as they lay in the source."""
    _, offset, size, crc32 = order
    if size == 0:
        return values
    kind, ranks = Block.of(cell(data, offset, size, crc32)).stream()
    check(kind is Kind.U32 and len(ranks) == len(values[0]), "ranks")
    places = {row: place for place, row in enumerate(sorted(range(len(ranks)), key=ranks.__getitem__))}
    return [[column[places[row]] for row in range(len(ranks))] for column in values]
