"""The `mdlake` command: the table verbs in this process, artifacts, the report.

Each command fills the options of its verb, runs it and says what came of it. What goes wrong is one line on
standard error and exit code 1; wrong usage is exit code 2. Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

import mdlake
from mdlake.engine import LocalEngine
from mdlake.errors import InvalidArgumentError, MdlakeError

if TYPE_CHECKING:
    from rich.console import Console

    from mdlake.archive.options import ExplainOptions
    from mdlake.archive.spread import Progress

app = typer.Typer(
    help="Compress data lakes and models: keep the shortest program that regenerates the data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
model_app = typer.Typer(help="Look into artifacts: models as blocks.", no_args_is_help=True)
app.add_typer(model_app, name="model")

Archive = Annotated[str, typer.Argument(metavar="ARCHIVE", help="The archive: a folder or a URL.")]
Storage = Annotated[
    list[str] | None,
    typer.Option("--storage", metavar="KEY=VALUE", help="A storage option, such as endpoint=http://...; repeatable."),
]
OptionsFile = Annotated[
    str | None, typer.Option("--options", metavar="FILE", help="TOML with these options, as columns = ['a', 'b'].")
]
Processes = Annotated[int, typer.Option("--processes", "-p", min=1, help="How many files to work on at once.")]
Version = Annotated[int | None, typer.Option("--version", help="A version of the archive; by default the newest.")]
MaxError = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=BOUND", help="A float column may differ so much: temp=0.01, price=1e-3:rel; repeatable."
    ),
]
Column = Annotated[list[str] | None, typer.Option("--column", help="A column to keep; repeatable (in TOML: columns).")]


def main() -> None:
    """Runs the command line; errors are told in one line."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # gives memory back: up to 30 % less at the peak
    try:
        app()
    except MdlakeError as error:
        if os.environ.get("MDLAKE_TRACEBACK") == "1":
            raise
        print(f"mdlake: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("mdlake: interrupted; run the same command again to continue", file=sys.stderr)
        sys.exit(130)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"mdlake {mdlake.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Compress data lakes and models: keep the shortest program that regenerates the data."""


@app.command()
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
    given |= {"max_error": _error_bounds(max_error), "reorder": reorder}
    places = {"source": source, "archive": archive, "overwrite": overwrite or None, "depth": depth}
    chosen = fill(EncodeOptions, options, **places, **given, storage=_storage(storage))
    with _progress("encode") as progress:
        report = verb.encode(chosen, LocalEngine(processes), progress)
    if report.already_done:
        print(f"already done: {report.archive} version {report.version} is this source, encoded so")
    else:
        if chosen.reorder != "none":
            print(f"rows sorted in {report.sorted_block_rows} of {_count(report.block_rows, 'block row')}")
        reused = f", {report.reused_tasks} of {report.tasks} tasks done before" if report.reused_tasks else ""
        repaired = f", {_count(report.repaired, 'lost data file')} repaired" if report.repaired else ""
        print(f"encoded {report.rows:,} rows to {report.archive} version {report.version}{reused}{repaired}")
    kinds = ((report.source_bytes, "the Parquet"), (report.arrow_bytes, "Arrow"))
    sizes = ", ".join(f"{_ratio(size, report.archive_bytes)} than {kind} ({_size(size)})" for size, kind in kinds)
    print(f"archive: {_size(report.archive_bytes)}" + (f", {sizes}" if report.rows else ""))


@app.command()
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
    chosen = fill(RestoreOptions, options, **given, compression=compression, storage=_storage(storage))
    with _progress("restore") as progress:
        report = verb.restore(chosen, LocalEngine(processes), progress)
    done = "already done" if report.already_done else "restored"
    files = f"{_count(report.files, 'file')}, {_size(report.parquet_bytes)}"
    print(f"{done}: {report.rows:,} rows, {files} at {report.target}")


@app.command()
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
    chosen = fill(VerifyOptions, options, **given, storage=_storage(storage))
    with _progress("verify") as progress:
        report = verb.verify(chosen, LocalEngine(processes), progress)
    counts = f"{report.rows:,} rows, {report.blocks:,} blocks, {_size(report.archive_bytes)}"
    if report.difference:
        print(f"mdlake: whole ({counts}), but not equal to the source: {report.difference}", file=sys.stderr)
        raise typer.Exit(1)
    compared = ", ".join((" and equal to the source", *report.allowed)) if report.compared else ""
    print(f"whole{compared}: {counts}")


@app.command("inspect")
def inspect_archive(
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

    given = {"archive": archive, "version": version, "storage": _storage(storage)}
    if explain:
        _print_explanation(fill(ExplainOptions, **given, columns=column, block_row=block_row))
        return
    if column or block_row is not None:
        raise InvalidArgumentError("--column and --block-row go with --explain")
    report = verb.inspect(fill(InspectOptions, **given))
    rows = [
        (
            c.name,
            _typed(c.type, c.max_error),
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
        sort = f"sorted by {', '.join(names)} in {_count(blocks, 'block row')}{more}"
        rows.append(
            ("order of rows", "", sort, "", "", f"{report.order_bytes:,}", _bits(report.order_bytes, report.rows))
        )
    spent = report.container_bytes + report.manifest_bytes
    rows.append(("containers and manifest", "", "", "", "", f"{spent:,}", _bits(spent, report.rows)))
    total = (f"{report.raw_bytes:,}", f"{report.archive_bytes:,}", _bits(report.archive_bytes, report.rows))
    title = f"{report.archive} version {report.version}: {report.rows:,} rows, {_count(report.block_rows, 'block row')}"
    heads = ("column", "type", "chain", "read with", "raw bytes", "encoded bytes", "bits per value")
    _table(title, heads, rows, ("total, bits per row", "", _ratio(report.raw_bytes, report.archive_bytes), "", *total))


def _print_explanation(options: ExplainOptions) -> None:
    from rich.table import Table
    from rich.text import Text

    from mdlake.archive.explain import explain

    report = explain(options)
    table = Table(title=report.title, title_justify="left")
    table.add_column("column, and its parts", overflow="fold")
    table.add_column("how", overflow="fold")
    table.add_column("bytes", justify="right", no_wrap=True)
    for column in report.columns:
        table.add_row(
            Text(column.name, "bold"),
            Text(_typed(column.type, column.max_error)),
            Text(f"{column.explanation.bytes:,}", "bold"),
        )
        for line in column.lines():
            table.add_row(Text("  " * line.depth + line.what), Text(line.how), f"{line.bytes:,}")
        table.add_section()
    _console().print(table)


@app.command()
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
    report = verb.vacuum(fill(VacuumOptions, options, **given, dry_run=dry_run or None, storage=_storage(storage)))
    verb_done = "would delete" if report.dry_run else "deleted"
    found = f"{_count(report.manifests, 'manifest')} and {_count(report.files, 'file')}"
    print(f"{verb_done} {found}, {_size(report.bytes)}")


@app.command()
def report(lake: Annotated[str, typer.Argument(metavar="LAKE")], storage: Storage = None) -> None:
    """Write LAKE/report.html from the statistics of its runs."""
    from mdlake.statistics.report import write_report

    print(write_report(lake, _storage(storage))[0])


@model_app.command("inspect")
def inspect_model(artifact: Annotated[str, typer.Argument(metavar="ARTIFACT")], storage: Storage = None) -> None:
    """Show what an artifact spends its bytes on, tensor by tensor."""
    from mdlake import artifact as artifacts

    parts = artifacts.inspect(artifact, _storage(storage))
    rows = []
    for part in parts:
        shape, counts = "x".join(map(str, part.shape)), (part.parameters, part.nonzero, part.bytes)
        rows.append((part.name, shape, part.scheme, part.chain, *(f"{n:,}" for n in counts), f"{part.bits:.2f}"))
    size = sum(part.bytes for part in parts)
    tensors = [part for part in parts if part.scheme not in (artifacts.LEVELS, artifacts.SHARED)]
    totals = [sum(getattr(part, name) for part in tensors) for name in ("parameters", "nonzero")]
    heads = ("part", "shape", "scheme", "chain", "parameters", "not zero", "bytes", "bits each")
    _table(artifact, heads, rows, ("total", "", "", "", *(f"{n:,}" for n in totals), f"{size:,}", ""))
    if len(tensors) < len(parts):
        print(f"what tensors share: their integers, as {artifacts.LEVELS}, and short vectors, as {artifacts.SHARED}")
    if (macs := _macs_per_row(artifact, storage)) is not None:
        print(f"{macs:,} multiply-accumulates per row")


@model_app.command()
def unpack(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT")],
    target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help="By default beside the artifact.")] = None,
    storage: Storage = None,
) -> None:
    """Write an artifact's weights as plain safetensors."""
    from mdlake import artifact as artifacts

    goal = target or f"{artifact.removesuffix('.safetensors')}.unpacked.safetensors"
    size = artifacts.unpack(artifact, goal, _storage(storage))
    print(f"unpacked {_size(size)} of weights to {goal}")


@app.command("export", hidden=True)
@model_app.command("export")
def export_model(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT")],
    target: Annotated[str, typer.Argument(metavar="TARGET.onnx", help="A file or a URL; nothing is overwritten.")],
    int8: Annotated[bool, typer.Option("--int8", help="Weights kept as levels of up to 8 bits stay levels.")] = False,
    round_weights: Annotated[
        bool, typer.Option("--round-weights", help="With --int8: the other weights get 8 bits too.")
    ] = False,
    shards: Annotated[
        str | None,
        typer.Option(help="The folder of splits: compare on it; with --int8, round activations, calibrated on train."),
    ] = None,
    split: Annotated[str, typer.Option(help="The split that is compared on.")] = "validation",
    model_class: Annotated[
        str | None, typer.Option(help="Of your own network: package.module:factory, found from this folder.")
    ] = None,
    inputs: Annotated[str | None, typer.Option(help="Of your own inputs: package.module:name.")] = None,
    storage: Storage = None,
) -> None:
    """Write an artifact as an ONNX file, and compare it in ONNX Runtime with the artifact in torch."""
    from mdlake.export import ExportOptions, export_onnx

    if model_class or inputs:
        sys.path.insert(0, "")
    chosen = ExportOptions(int8, round_weights, shards or "", split)
    report = export_onnx(artifact, target, chosen, _storage(storage), model_class=model_class, inputs=inputs)
    found = report.comparison
    print(f"exported to {target}: {_size(report.bytes)}, opset {report.opset}, inputs {', '.join(report.inputs)}")
    if int8:
        kinds = (_count(len(report.int8_weights), "weight tensor"), _count(report.activations, "activation"))
        print(f"int8: {' and '.join(kinds)}")
    rows = _count(found.rows, "row") + f" of {split}" if shards else f"{found.rows} made-up rows"
    print(f"largest difference of logits on {rows}: {found.difference:.2g}, where the largest is {found.largest:.3g}")
    for name, measures in (("torch", found.torch), ("ONNX Runtime", found.onnx)):
        if measures:
            auc = "" if measures.auc is None else f"AUC {measures.auc:.4f}, "
            print(f"{name}: {auc}accuracy {measures.accuracy:.4f}")


def _macs_per_row(artifact: str, storage: list[str] | None) -> int | None:
    """None for a network that is not the library's: it cannot be run without its class."""
    from mdlake.artifact import load_artifact
    from mdlake.errors import InvalidArgumentError, UnsupportedVersionError
    from mdlake.shrink.structured.macs import macs_per_row

    try:
        return macs_per_row(load_artifact(artifact, _storage(storage)))
    except (InvalidArgumentError, UnsupportedVersionError):
        return None


def _error_bounds(pairs: list[str] | None) -> dict[str, str] | None:
    if not pairs:
        return None
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise InvalidArgumentError(f"--max-error takes COLUMN=BOUND, {wrong[0]!r} has no '='")
    return {column: bound for column, _, bound in (pair.rpartition("=") for pair in pairs)}


def _storage(pairs: list[str] | None) -> dict[str, str] | None:
    if not pairs:
        return None
    for pair in pairs:
        if "=" not in pair:  # the pair itself may be a secret: do not repeat it
            raise InvalidArgumentError("--storage takes KEY=VALUE, one of them has no '='")
    return dict(pair.split("=", 1) for pair in pairs)


@contextmanager
def _progress(verb: str) -> Iterator[Progress]:
    """A bar over the tasks, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), TextColumn(verb), BarColumn(), MofNCompleteColumn(), TextColumn("files"))
    console = Console(stderr=True)
    with Bar(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_footer=True)
    numbers = {"raw bytes", "encoded bytes", "bits per value", "parameters", "not zero", "bytes", "bits each"}
    for head, foot in zip(heads, total, strict=True):
        align: Any = "right" if head in numbers else "left"
        table.add_column(head, foot, justify=align, overflow="fold", no_wrap=head in numbers)
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    squeezed = not console.is_terminal and "COLUMNS" not in os.environ  # into a file or a pipe, where 80 is no width
    return Console(width=200) if squeezed else console


def _typed(kind: str, max_error: str) -> str:
    """A column's type, and how far its values may be off."""
    return f"{kind}, max error {max_error}" if max_error else kind


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count} bytes"


def _ratio(before: int, after: int) -> str:
    if not before or not after:
        return ""
    return f"{before / after:.1f}x smaller" if before >= after else f"{after / before:.1f}x larger"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _bits(size: int, rows: int) -> str:
    return f"{8 * size / rows:.2f}" if rows else ""


if __name__ == "__main__":
    main()
