"""inspect: what an archive holds, column by column, from its manifest alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mdlake.archive.layout import BlockEntry
from mdlake.archive.options import InspectOptions
from mdlake.archive.reader import Archive
from mdlake.lake.manifest import manifests

_PARAMETERS = re.compile(r"\[[^\]]*\]")  # of an encoding in a chain: they differ from block to block
_PARENT = re.compile(r"\bparent(\d+)\b")


@dataclass(frozen=True)
class ColumnSummary:
    """One column: the chain of encodings that most of its bytes have, its Arrow bytes, its blocks' bytes.

    `parents`: the columns that some of its blocks were coded with; reading it reads them, and theirs.
    `max_error`: how far its values may lie from the source's, empty if they are the source's bit for bit.
    """

    name: str
    type: str
    chain: str
    raw_bytes: int
    encoded_bytes: int
    bits_per_value: float
    parents: tuple[str, ...] = ()
    max_error: str = ""


@dataclass(frozen=True)
class InspectReport:
    """`container_bytes` is what the data files add to the blocks; `archive_bytes` is everything.

    `orders`: by which columns rows were sorted, and in how many block rows; `order_bytes`: of the way back.
    """

    archive: str
    version: int
    rows: int
    files: int
    block_rows: int
    columns: tuple[ColumnSummary, ...]
    raw_bytes: int
    encoded_bytes: int
    orders: tuple[tuple[tuple[str, ...], int], ...]
    order_bytes: int
    container_bytes: int
    manifest_bytes: int

    @property
    def archive_bytes(self) -> int:
        return self.encoded_bytes + self.order_bytes + self.container_bytes + self.manifest_bytes


def inspect(options: InspectOptions) -> InspectReport:
    """Describes one version of an archive."""
    archive = Archive.open(options.archive, options.version, options.storage)
    manifest = archive.manifest
    rows = [row for file in manifest.files for row in file.blocks]
    columns = tuple(
        replace(
            _summary(field.name, str(field.type), [row[i] for row in rows], manifest.num_rows, archive.schema.names),
            parents=_parents([row[i] for row in rows], archive.schema.names),
            max_error=str(manifest.error_bounds.get(i, "")),
        )
        for i, field in enumerate(archive.schema)
    )
    encoded = sum(column.encoded_bytes for column in columns)
    orders = [order for file in manifest.files for order in file.orders if order]
    sorts = Counter(tuple(archive.schema.field(i).name for i in order.columns) for order in orders)
    order_bytes = sum(order.bytes for order in orders)
    return InspectReport(
        archive=archive.store.url,
        version=archive.version,
        rows=manifest.num_rows,
        files=sum(bool(file.path) for file in manifest.files),
        block_rows=len(rows),
        columns=columns,
        raw_bytes=sum(column.raw_bytes for column in columns),
        encoded_bytes=encoded,
        orders=tuple(sorts.most_common()),
        order_bytes=order_bytes,
        container_bytes=sum(file.bytes for file in manifest.files) - encoded - order_bytes,
        manifest_bytes=manifests(archive.store)[archive.version].size,
    )


def _parents(blocks: Sequence[BlockEntry], names: Sequence[str]) -> tuple[str, ...]:
    times = Counter(parent for block in blocks for parent in block.parents)
    return tuple(names[parent] for parent, _ in sorted(times.items(), key=lambda item: (-item[1], item[0])))


def _named(block: BlockEntry, names: Sequence[str]) -> str:
    """The block's chain, its parents by name."""
    return _PARENT.sub(lambda found: names[block.parents[int(found[1])]], block.chain)


def _summary(name: str, kind: str, blocks: Sequence[BlockEntry], rows: int, names: Sequence[str]) -> ColumnSummary:
    chains: Counter[str] = Counter()
    for block in blocks:
        chains[_named(block, names) if len(blocks) == 1 else _PARAMETERS.sub("", block.chain)] += block.bytes
    chain = chains.most_common(1)[0][0] if chains else ""
    if len(chains) > 1:
        chain += f" (and {len(chains) - 1} more)"
    encoded = sum(block.bytes for block in blocks)
    bits = 8 * encoded / rows if rows else 0.0
    return ColumnSummary(name, kind, chain, sum(block.raw_bytes for block in blocks), encoded, bits)
