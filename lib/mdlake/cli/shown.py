"""How commands show what they found: tables, a bar, sizes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from mdlake.archive.spread import Progress


@contextmanager
def progress(verb: str) -> Iterator[Progress]:
    """A bar over the tasks, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), TextColumn(verb), BarColumn(), MofNCompleteColumn(), TextColumn("files"))
    console = Console(stderr=True)
    with Bar(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_footer=True)
    numbers = {"raw bytes", "encoded bytes", "bits per value", "parameters", "not zero", "bytes", "bits each"}
    for head, foot in zip(heads, total, strict=True):
        align: Any = "right" if head in numbers else "left"
        table.add_column(head, foot, justify=align, overflow="fold", no_wrap=head in numbers)
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    console().print(table)


def console() -> Console:
    from rich.console import Console

    console = Console()
    squeezed = not console.is_terminal and "COLUMNS" not in os.environ  # into a file or a pipe, where 80 is no width
    return Console(width=200) if squeezed else console


def typed(kind: str, max_error: str) -> str:
    """A column's type, and how far its values may be off."""
    return f"{kind}, max error {max_error}" if max_error else kind


def size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count} bytes"


def ratio(before: int, after: int) -> str:
    if not before or not after:
        return ""
    return f"{before / after:.1f}x smaller" if before >= after else f"{after / before:.1f}x larger"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def bits(size: int, rows: int) -> str:
    return f"{8 * size / rows:.2f}" if rows else ""
