"""explain: why each block of a block row is as it is, by repeating its search and measuring what was not chosen.

The search is deterministic: from the values in the archive and the options that its manifest records it finds the same
blocks again. Where it does not, another release made them, or the values were rounded before they were coded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from mdlake.archive.layout import REPAIR, DataFile
from mdlake.archive.options import EncodeOptions, ExplainOptions, fill
from mdlake.archive.reader import Archive, stored_blocks
from mdlake.block import read_chains
from mdlake.block_row import encode_row
from mdlake.columns import flatten
from mdlake.encodings import Encoding
from mdlake.errors import InvalidArgumentError, advised, located
from mdlake.explanation import Explanation, Part, Sort, Watcher, explain_block

_SHOWN = 3


@dataclass(frozen=True)
class Line:
    """What something is, how it is coded, what it takes; `depth` lines that it is part of are above."""

    depth: int
    what: str
    how: str
    bytes: int


@dataclass(frozen=True)
class ColumnExplanation:
    """One column: why its block is so, and how many bytes the block has that the search finds now.

    `repeated`: whether that is the stored one, byte for byte. If not, `explanation.parts` are the stored block's and
    the rest is compared with what was found.
    """

    name: str
    type: str
    explanation: Explanation
    found_bytes: int
    repeated: bool

    def lines(self) -> Iterator[Line]:
        """For people to read: the parts, then what else the block might have been."""
        why = self.explanation
        for part in why.parts:
            yield from _lines(part, 1, Sort.REST)
        yield Line(1, "header", "", why.header_bytes)
        if why.runner_up:
            shorter = ", shorter" if why.runner_up.bytes < self.found_bytes else ""  # the samples misled the search
            yield Line(1, "runner-up" + shorter, why.runner_up.chain, why.runner_up.bytes)
        if why.alone_bytes is not None and why.saved_bytes is not None:
            yield Line(1, "alone", f"without {', '.join(why.parents)}", why.alone_bytes)
            yield Line(1, "saved", "; ".join(why.relations), why.saved_bytes)
        if not self.repeated:
            yield Line(1, "not repeated", "the search finds another block now", self.found_bytes)


@dataclass(frozen=True)
class ExplainReport:
    """One of an archive's block rows, counted from 0."""

    archive: str
    version: int
    block_row: int
    block_rows: int
    rows: int
    columns: tuple[ColumnExplanation, ...]


def explain(options: ExplainOptions) -> ExplainReport:
    """Decodes a block row and repeats its search; takes a few times as long as encoding it did.

    Raises:
        InvalidArgumentError: an unknown column, or no such block row.
        CorruptError, TruncatedError, UnsupportedVersionError, StoreError: the archive is damaged or gone.
    """
    archive = Archive.open(options.archive, options.version, options.storage)
    positions = sorted(set(archive.positions(options.columns)))
    places = [(file, row) for file in archive.manifest.files for row in range(len(file.rows))]
    if not 0 <= options.block_row < len(places):
        raise InvalidArgumentError(
            f"there is no block row {options.block_row}; there are {len(places)}, counted from 0", url=archive.store.url
        )
    file, row = places[options.block_row]
    with located(file=archive.store.url_of(file.path), row_group=row), advised(REPAIR):
        columns = _explained(archive, file, row, positions)
    return ExplainReport(archive.store.url, archive.version, options.block_row, len(places), file.rows[row], columns)


def _explained(archive: Archive, file: DataFile, row: int, positions: Sequence[int]) -> tuple[ColumnExplanation, ...]:
    schema, recorded = archive.schema, archive.manifest.options
    given = {name: recorded.get(name) for name in ("effort", "coders", "depth")}
    options = fill(EncodeOptions, source="", archive=archive.store.url, **given)
    if not positions:
        return ()
    blocks, arrays = stored_blocks(archive.store, file, schema, row, range(len(schema)))
    roles = {position: [role for role, _ in flatten(arrays[position])] for position in positions}
    stored = {position: explain_block(blocks[position], schema.names, roles[position]) for position in positions}
    rounded = [position for position in archive.manifest.error_bounds if position in positions]
    paths = {position: _first_step(blocks[position], roles[position]) for position in rounded}
    watcher = Watcher(schema.names, full=True)
    explained: dict[int, ColumnExplanation] = {}
    how = options.effort, options.coders, options.depth
    for position, _, data in encode_row(schema, arrays, *how, paths, watcher, positions):
        again, field, repeated = watcher.explain(data), schema.field(position), data == blocks[position]
        explanation = replace(stored[position], runner_up=again.runner_up, alone_bytes=again.alone_bytes)
        explained[position] = ColumnExplanation(field.name, str(field.type), explanation, len(data), repeated)
    return tuple(explained[position] for position in positions)


def _first_step(data: memoryview, roles: Sequence[str]) -> tuple[Encoding, ...]:
    """How the values of a column begin that may have been put on a grid: no search would propose it."""
    chains = (chain for role, (chain, _) in zip(roles, read_chains(data)[1], strict=True) if role == "values")
    return tuple(chain.step for chain in chains if chain.children)


def _lines(part: Part, depth: int, around: Sort) -> Iterator[Line]:
    """A part and those under it: steps with one child in a line, many parts of one role in another."""
    told, inner, what = [part.told], part, part.role
    if part.sort is not around and part.sort.value not in part.role:
        what += f" ({part.sort.value})"
    while len(inner.parts) == 1 and inner.parts[0].sort is part.sort:
        inner = inner.parts[0]
        told.append(inner.told)
    yield Line(depth, what, " > ".join(told), part.bytes)
    for role, same in groupby(inner.parts, key=lambda each: each.role):
        parts = list(same)
        if len(parts) > _SHOWN:
            steps = Counter(each.told for each in parts).most_common()
            how = ", ".join(f"{times} x {step}" for step, times in steps[:_SHOWN])
            yield Line(depth + 1, f"{len(parts)} x {role}", how, sum(each.bytes for each in parts))
        else:
            for each in parts:
                yield from _lines(each, depth + 1, part.sort)
