"""The figures as a terminal shows them: a view for each table, one of the means, one of the goals."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.goals import best_peer, goals, means
from bench.measure import Figure
from bench.peers import OURS, REFERENCE


def show(figures: list[Figure], console: Console) -> None:
    """One table's figures; speeds in MB of Arrow memory a second."""
    view = Table(box=box.SIMPLE)
    for name in ("codec", "bytes", "of zstd-9", "of best peer", "encode", "decode", "memory", "not kept"):
        view.add_column(name, justify="left" if name in ("codec", "not kept") else "right", no_wrap=name != "not kept")
    sizes = {figure.codec: figure.bytes for figure in figures}
    best = best_peer(figures)
    for figure in figures:
        view.add_row(
            figure.codec,
            f"{figure.bytes:,}",
            f"{figure.bytes / sizes[REFERENCE]:.3f}" if REFERENCE in sizes else "",
            f"{figure.bytes / best.bytes:.3f}" if best else "",
            f"{figure.encode_mb_s:.1f}",
            f"{figure.decode_mb_s:.0f}",
            f"{figure.peak_bytes / figure.arrow_bytes:.1f}x" if figure.codec in OURS else "",
            escape(figure.remarks),
            style="bold" if figure.codec in OURS else "",
        )
    console.print(view)


def summarize(figures: list[Figure], lost: list[str], console: Console) -> None:
    """Geometric means over the tables, and what they are of the goals; what is missing in them is said."""
    view = Table(box=box.SIMPLE, title="Geometric means over the tables", title_justify="left")
    for name in ("codec", "tables", "of best peer", "of zstd-9", "encode", "decode"):
        view.add_column(name, justify="left" if name == "codec" else "right", no_wrap=True)
    for mean in means(figures):
        view.add_row(mean.codec, str(mean.tables), f"{mean.of_best:.3f}", f"{mean.of_reference:.3f}",
                     f"{mean.encode_mb_s:.1f}", f"{mean.decode_mb_s:.0f}",
                     style="bold" if mean.codec in OURS else "")  # fmt: skip
    console.print(view)
    view = Table(box=box.SIMPLE, title="Goals", title_justify="left")
    for name in ("goal", "wanted", "measured", "", "worst table"):
        view.add_column(name, justify="right" if name in ("wanted", "measured") else "left", no_wrap=True)
    wanted = goals(figures)
    for goal in wanted:
        bound = f"{'>=' if goal.at_least else '<='} {goal.wanted:g}"
        view.add_row(goal.name, bound, f"{goal.measured:.3g}", "yes" if goal.met else "[red]no[/]", goal.worst)
    if wanted:
        console.print(view)
    if lost:
        console.print(f"[red]Not in these figures[/], so the best peer may be another: {escape('; '.join(lost))}\n")
