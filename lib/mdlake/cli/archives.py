"""Commands over archives: the table verbs in this process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mdlake.cli.options import (
    Archive,
    Column,
    MaxError,
    OptionsFile,
    Processes,
    Storage,
    Version,
    error_bounds_of,
    storage_of,
)
from mdlake.cli.shown import bits, console, count, progress, ratio, size, table, typed
from mdlake.engine import LocalEngine
from mdlake.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mdlake.archive.options import ExplainOptions


def encode(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A Parquet file, a folder of them, or a URL.")],
    archive: Archive,
    effort: Annotated[str | None, typer.Option(help="fast, default or max.")] = None,
    rows_per_block: Annotated[int | None, typer.Option(help="The most rows in a block.")] = None,
    column: Column = None,
    coder: Annotated[
        list[str] | None, typer.Option(help="An entropy coder that may be used; repeatable (in TOML: coders).")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="The longest chain of columns that reading one may need; 0: none.")
    ] = None,
    max_error: MaxError = None,
    reorder: Annotated[
        str | None,
        typer.Option(help="none; reversible: rows may be sorted, and come back in order; free: in any order."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Encode anew, whatever the archive holds.")] = False,
    processes: Processes = 1,
    storage: Storage = None,
    options: OptionsFile = None,
) -> None:
    """Encode Parquet to an archive. Run again, it continues or finds its work done."""
    from mdlake.archive import encode as verb
    from mdlake.archive.options import EncodeOptions, fill

    given = {"effort": effort, "rows_per_block": rows_per_block, "columns": column, "coders": coder}
    given |= {"max_error": error_bounds_of(max_error), "reorder": reorder}
    places = {"source": source, "archive": archive, "overwrite": overwrite or None, "depth": depth}
    chosen = fill(EncodeOptions, options, **places, **given, storage=storage_of(storage))
    with progress("encode") as told:
        report = verb.encode(chosen, LocalEngine(processes), told)
    if report.already_done:
        print(f"already done: {report.archive} version {report.version} is this source, encoded so")
    else:
        if chosen.reorder != "none":
            print(f"rows sorted in {report.sorted_block_rows} of {count(report.block_rows, 'block row')}")
        reused = f", {report.reused_tasks} of {report.tasks} tasks done before" if report.reused_tasks else ""
        repaired = f", {count(report.repaired, 'lost data file')} repaired" if report.repaired else ""
        print(f"encoded {report.rows:,} rows to {report.archive} version {report.version}{reused}{repaired}")
    kinds = ((report.source_bytes, "the Parquet"), (report.arrow_bytes, "Arrow"))
    sizes = ", ".join(f"{ratio(before, report.archive_bytes)} than {kind} ({size(before)})" for before, kind in kinds)
    print(f"archive: {size(report.archive_bytes)}" + (f", {sizes}" if report.rows else ""))


def restore(
    archive: Archive,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A name ending in .parquet, a folder, or a URL.")],
    version: Version = None,
    column: Column = None,
    compression: Annotated[str | None, typer.Option(help="Parquet's: zstd, snappy, gzip, brotli, lz4, none.")] = None,
    processes: Processes = 1,
    storage: Storage = None,
    options: OptionsFile = None,
) -> None:
    """Write an archive back as Parquet, bit for bit."""
    from mdlake.archive import restore as verb
    from mdlake.archive.options import RestoreOptions, fill

    given = {"archive": archive, "target": target, "version": version, "columns": column}
    chosen = fill(RestoreOptions, options, **given, compression=compression, storage=storage_of(storage))
    with progress("restore") as told:
        report = verb.restore(chosen, LocalEngine(processes), told)
    done = "already done" if report.already_done else "restored"
    files = f"{count(report.files, 'file')}, {size(report.parquet_bytes)}"
    print(f"{done}: {report.rows:,} rows, {files} at {report.target}")


def verify(
    archive: Archive,
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="Compare with this, bit for bit.")] = None,
    version: Version = None,
    exact: Annotated[bool, typer.Option("--exact", help="Demand equal bits of columns with a max error too.")] = False,
    processes: Processes = 1,
    storage: Storage = None,
    options: OptionsFile = None,
) -> None:
    """Check every byte of an archive and, with SOURCE, prove that it equals it."""
    from mdlake.archive import verify as verb
    from mdlake.archive.options import VerifyOptions, fill

    given = {"archive": archive, "source": source, "version": version, "exact": exact or None}
    chosen = fill(VerifyOptions, options, **given, storage=storage_of(storage))
    with progress("verify") as told:
        report = verb.verify(chosen, LocalEngine(processes), told)
    counts = f"{report.rows:,} rows, {report.blocks:,} blocks, {size(report.archive_bytes)}"
    if report.difference:
        print(f"mdlake: whole ({counts}), but not equal to the source: {report.difference}", file=sys.stderr)
        raise typer.Exit(1)
    compared = ", ".join((" and equal to the source", *report.allowed)) if report.compared else ""
    print(f"whole{compared}: {counts}")


def inspect(
    archive: Archive,
    version: Version = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: repeat the search of a block row, and measure what it left.")
    ] = False,
    column: Annotated[list[str] | None, typer.Option(help="A column to explain; repeatable.")] = None,
    block_row: Annotated[int | None, typer.Option(help="The block row to explain, from 0 (the first).")] = None,
    storage: Storage = None,
) -> None:
    """Show what an archive spends its bytes on, column by column."""
    from mdlake.archive import inspect as verb
    from mdlake.archive.options import ExplainOptions, InspectOptions, fill

    given = {"archive": archive, "version": version, "storage": storage_of(storage)}
    if explain:
        _print_explanation(fill(ExplainOptions, **given, columns=column, block_row=block_row))
        return
    if column or block_row is not None:
        raise InvalidArgumentError("--column and --block-row go with --explain")
    report = verb.inspect(fill(InspectOptions, **given))
    rows = [
        (
            c.name,
            typed(c.type, c.max_error),
            c.chain,
            ", ".join(c.parents),
            f"{c.raw_bytes:,}",
            f"{c.encoded_bytes:,}",
            f"{c.bits_per_value:.2f}",
        )
        for c in report.columns
    ]
    for names, blocks in report.orders[:1]:
        more = f" (and {len(report.orders) - 1} other ways)" if len(report.orders) > 1 else ""
        sort = f"sorted by {', '.join(names)} in {count(blocks, 'block row')}{more}"
        rows.append(
            ("order of rows", "", sort, "", "", f"{report.order_bytes:,}", bits(report.order_bytes, report.rows))
        )
    spent = report.container_bytes + report.manifest_bytes
    rows.append(("containers and manifest", "", "", "", "", f"{spent:,}", bits(spent, report.rows)))
    total = (f"{report.raw_bytes:,}", f"{report.archive_bytes:,}", bits(report.archive_bytes, report.rows))
    title = f"{report.archive} version {report.version}: {report.rows:,} rows, {count(report.block_rows, 'block row')}"
    heads = ("column", "type", "chain", "read with", "raw bytes", "encoded bytes", "bits per value")
    table(title, heads, rows, ("total, bits per row", "", ratio(report.raw_bytes, report.archive_bytes), "", *total))


def _print_explanation(options: ExplainOptions) -> None:
    from rich.table import Table
    from rich.text import Text

    from mdlake.archive.explain import explain

    report = explain(options)
    shown = Table(title=report.title, title_justify="left")
    shown.add_column("column, and its parts", overflow="fold")
    shown.add_column("how", overflow="fold")
    shown.add_column("bytes", justify="right", no_wrap=True)
    for column in report.columns:
        shown.add_row(
            Text(column.name, "bold"),
            Text(typed(column.type, column.max_error)),
            Text(f"{column.explanation.bytes:,}", "bold"),
        )
        for line in column.lines():
            shown.add_row(Text("  " * line.depth + line.what), Text(line.how), f"{line.bytes:,}")
        shown.add_section()
    console().print(shown)


def vacuum(
    archive: Archive,
    retention_days: Annotated[float | None, typer.Option(help="Keep manifests younger than this (30).")] = None,
    grace_days: Annotated[float | None, typer.Option(help="Keep unreferenced files younger than this (7).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    storage: Storage = None,
    options: OptionsFile = None,
) -> None:
    """Delete old versions and what killed writers left."""
    from mdlake.archive import vacuum as verb
    from mdlake.archive.options import VacuumOptions, fill

    given = {"archive": archive, "retention_days": retention_days, "grace_days": grace_days}
    report = verb.vacuum(fill(VacuumOptions, options, **given, dry_run=dry_run or None, storage=storage_of(storage)))
    verb_done = "would delete" if report.dry_run else "deleted"
    found = f"{count(report.manifests, 'manifest')} and {count(report.files, 'file')}"
    print(f"{verb_done} {found}, {size(report.bytes)}")
