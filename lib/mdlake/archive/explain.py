"""explain: why each block of a block row is as it is, by repeating its search and measuring what was not chosen.

The search is deterministic: from the values in the archive and the options that its manifest records it finds the same
blocks again. Where it does not, another release made them, or the values were rounded before they were coded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from mdlake.archive.layout import DataFile
from mdlake.archive.options import EncodeOptions, ExplainOptions, fill
from mdlake.archive.reader import Archive, data_file_at, stored_blocks
from mdlake.block import read_chains
from mdlake.block_row import encode_row
from mdlake.columns import flatten
from mdlake.encodings import Encoding
from mdlake.errors import InvalidArgumentError, located
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
    the rest is compared with what was found. `max_error`: how far values may lie from the source's, or empty.
    """

    name: str
    type: str
    explanation: Explanation
    found_bytes: int
    repeated: bool
    max_error: str = ""

    def lines(self) -> Iterator[Line]:
        """For people to read: the parts, then what else the block might have been."""
        why = self.explanation
        yield from _all_lines(why.parts, 1, Sort.REST)
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
    """One of an archive's block rows, counted from 0. `sorted_by`: the columns its rows were sorted by, if they were.

    As text: a line for each column, and under it those of its parts, bytes last.
    """

    archive: str
    version: int
    block_row: int
    block_rows: int
    rows: int
    columns: tuple[ColumnExplanation, ...]
    sorted_by: tuple[str, ...] = ()
    order_bytes: int = 0

    @property
    def title(self) -> str:
        """Which rows these are, and in what order."""
        way_back = f", the way back {self.order_bytes:,} bytes" if self.order_bytes else ""
        order = f", sorted by {', '.join(self.sorted_by)}{way_back}" if self.sorted_by else ""
        place = f"block row {self.block_row} of {self.block_rows}, {self.rows:,} rows"
        return f"{self.archive} version {self.version}: {place}{order}"

    def __str__(self) -> str:
        rows = [self.title]
        for column in self.columns:
            rows.append(f"{column.name}  {column.type}  {column.explanation.bytes:,}")
            rows += [f"{'  ' * line.depth}{line.what}  {line.how}  {line.bytes:,}" for line in column.lines()]
        return "\n".join(rows)


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
            f"there is no block row {options.block_row}; there are {len(places)}, counted from 0"
            if places
            else "this archive has no rows, so there is no block to explain",
            url=archive.store.url,
        )
    file, row = places[options.block_row]
    with data_file_at(archive.store, file), located(row_group=row):
        columns = _explained(archive, file, row, positions)
    order, names = file.order(row), archive.schema.names
    return ExplainReport(
        archive.store.url,
        archive.version,
        options.block_row,
        len(places),
        file.rows[row],
        columns,
        tuple(names[i] for i in order.columns) if order else (),
        order.bytes if order else 0,
    )


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
        max_error = str(archive.manifest.error_bounds.get(position, ""))
        told = field.name, str(field.type), explanation, len(data), repeated, max_error
        explained[position] = ColumnExplanation(*told)
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
    yield from _all_lines(inner.parts, depth + 1, part.sort)
    if inner.parts:
        yield Line(depth + 1, "parameters", "", part.bytes - sum(each.bytes for each in inner.parts))


def _all_lines(parts: Sequence[Part], depth: int, around: Sort) -> Iterator[Line]:
    """Parts beside each other: those of one role numbered or, if they are many, summed."""
    for role, same in groupby(parts, key=lambda each: each.role):
        alike = list(same)
        if len(alike) > _SHOWN:
            steps = Counter(each.told for each in alike).most_common()
            how = ", ".join(f"{times} x {step}" for step, times in steps[:_SHOWN])
            yield Line(depth, f"{len(alike)} x {role}", how, sum(each.bytes for each in alike))
        else:
            for number, each in enumerate(alike, 1):
                named = replace(each, role=f"{role} {number}") if len(alike) > 1 else each
                yield from _lines(named, depth, around)
