"""The table at the end: bytes at each step of the data's way, and of the model's, from the statistics."""

from __future__ import annotations

from rich.table import Table

from demo.flights import source_path
from mdlake.lake.store import Store
from mdlake.statistics import read, read_latest

_MODELS = {
    "teacher": "teacher",
    "student alone": "student, alone",
    "student distilled": "student, distilled",
    "artifact": "artifact: student, compressed",
}


def summary(lake: Store, rows: int) -> Table:
    """One table with both parts; sizes of the table are beside Parquet's, those of models beside the teacher's."""
    table = Table(title="What it came to", title_justify="left", pad_edge=False)
    table.add_column("step")
    for name in ("bytes", "times smaller", "parameters", "AUC", "accuracy"):
        table.add_column(name, justify="right")
    _data(table, lake, rows)
    table.add_section()
    _models(table, lake)
    return table


def _data(table: Table, lake: Store, rows: int) -> None:
    stats = lake.url_of("stats")
    steps = {row["stage"]: row for row in read(stats, "tables").to_pylist()}  # of each the newest
    ingest, encode = steps["ingest"], steps["encode"]
    snappy = ingest["parquet_snappy_bytes"]
    sizes = [
        ("source, CSV", lake.head(source_path(rows)).size),
        ("Arrow, in memory", ingest["arrow_bytes"]),
        ("Parquet, snappy", snappy),
        ("Parquet, zstd-9", ingest["parquet_zstd9_bytes"]),
        ("shards: Parquet, zstd-9, page checksums", _bytes(lake, "shards")),
        ("[bold]archive[/bold]", encode["archive_bytes"]),
        ("restored: Parquet, zstd", _bytes(lake, "restored")),
    ]
    for name, size in sizes:
        table.add_row(name, f"{size:,}", f"{snappy / size:.2f}")
    table.add_row(f"[dim]the same {ingest['rows']:,} rows each; times smaller than Parquet, snappy[/dim]")


def _models(table: Table, lake: Store) -> None:
    rows = {
        row["model"]: row for row in read_latest(lake.url_of("stats"), "models").to_pylist() if row["split"] == "test"
    }
    teacher = rows["teacher"]["bytes"]
    for name, title in _MODELS.items():
        row = rows[name]
        table.add_row(
            f"[bold]{title}[/bold]" if name == "artifact" else title,
            f"{row['bytes']:,}",
            f"{teacher / row['bytes']:.1f}",
            f"{row['parameters']:,}",
            f"{row['auc']:.4f}",
            f"{row['accuracy']:.4f}",
        )
    table.add_row("[dim]on the test split; times smaller than the teacher[/dim]")


def _bytes(lake: Store, folder: str) -> int:
    return sum(info.size for info in lake.list(folder) if info.path.endswith(".parquet"))
