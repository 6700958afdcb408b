"""The table at the end: bytes at each step of the data's way, and of the model's, from the statistics."""

from __future__ import annotations

from rich import box
from rich.table import Table

from demo.flights import source_path
from mdlake.lake.dataset import list_parquet
from mdlake.lake.store import Store
from mdlake.statistics import read, read_latest

_MODELS = ("teacher", "student alone", "student distilled", "artifact")
_OURS = ("archive", "artifact")


def summary(lake: Store, rows: int) -> Table:
    """One table with both parts; sizes of the table are beside Parquet's, those of models beside the teacher's."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption="smaller: than Parquet snappy, or than the teacher; AUC and accuracy on the test split",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    for name in ("bytes", "smaller", "parameters", "AUC", "accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
    _data(table, lake, rows)
    table.add_section()
    _models(table, lake)
    return table


def _data(table: Table, lake: Store, rows: int) -> None:
    steps = {row["stage"]: row for row in read(lake.url_of("stats"), "tables").to_pylist()}  # of each the newest
    ingest, encode = steps["ingest"], steps["encode"]
    snappy = ingest["parquet_snappy_bytes"]
    sizes = (
        ("source, CSV", lake.head(source_path(rows)).size),
        ("Arrow, in memory", ingest["arrow_bytes"]),
        ("Parquet snappy", snappy),
        ("Parquet zstd-9", ingest["parquet_zstd9_bytes"]),
        ("shards, Parquet", _bytes(lake, "shards")),
        ("archive", encode["archive_bytes"]),
        ("restored, Parquet", _bytes(lake, "restored")),
    )
    for name, size in sizes:
        table.add_row(_title(name), f"{size:,}", f"{snappy / size:.2f}x")


def _models(table: Table, lake: Store) -> None:
    measured = read_latest(lake.url_of("stats"), "models").to_pylist()
    rows = {row["model"]: row for row in measured if row["split"] == "test"}
    teacher = rows["teacher"]["bytes"]
    for name in _MODELS:
        row = rows[name]
        quality = (f"{row['auc']:.4f}", f"{row['accuracy']:.4f}")
        smaller = f"{teacher / row['bytes']:.1f}x"
        table.add_row(_title(name), f"{row['bytes']:,}", smaller, f"{row['parameters']:,}", *quality)


def _title(name: str) -> str:
    return f"[bold]{name}[/bold]" if name in _OURS else name


def _bytes(lake: Store, folder: str) -> int:
    return sum(file.size for file in list_parquet(lake.url_of(folder)))
