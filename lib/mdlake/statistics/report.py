"""One page from a lake's statistics: self-contained HTML that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files

from markupsafe import Markup

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import open_store
from mdlake.lake.url import join_url
from mdlake.statistics.figures import Figures, gather

_TEMPLATE = _NAME = "report.html"


def report(lake_url: str, options: Mapping[str, str] | None = None) -> str:
    """The page, from what is under `stats/` of the lake; parts without statistics are left out.

    `options` are storage options. The same statistics give the same page. Raises `StoreError` or
    `CorruptError` where statistics cannot be read.
    """
    return render(gather(join_url(lake_url, "stats"), options))


def write_report(lake_url: str, options: Mapping[str, str] | None = None) -> tuple[str, int]:
    """Writes the page as `report.html` into the lake; its URL and bytes.

    Raises as `report`, and `InvalidArgumentError` where no statistics are: that is no lake.
    """
    lake = open_store(lake_url, options)
    if not any(lake.list("stats")):
        raise InvalidArgumentError("this is no lake, it has no statistics under stats/; check the URL", url=lake.url)
    page = report(lake_url, options).encode()
    lake.put(_NAME, page)
    return lake.url_of(_NAME), len(page)


def render(figures: Figures) -> str:
    """The page for `figures`. All that comes from data is escaped, in the page and in the plots."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(count=_count, size=_size, figure=_figure, share=_share)
    template = environment.from_string(files("mdlake.statistics").joinpath(_TEMPLATE).read_text("utf-8"))
    return template.render(figures=figures, plots=_plots(figures))


def _plots(figures: Figures) -> dict[str, Markup]:
    """The SVG of each plot there are figures for; trusted, as Vega escapes the text it draws."""
    from mdlake.statistics import charts

    drawn = {
        "columns": (charts.column_bytes, figures.columns),
        "steps": (charts.step_bytes, figures.steps),
        "models": (partial(charts.size_against_quality, names=figures.names), figures.models),
        "candidates": (charts.candidates, figures.candidates),
        "training": (partial(charts.training_curves, names=figures.names), figures.training),
    }
    return {name: Markup(draw(rows)) for name, (draw, rows) in drawn.items() if rows}


def _count(value: int | None) -> str:
    return "\u2013" if value is None else f"{value:,}"


def _figure(value: float | None, digits: int = 4) -> str:
    return "\u2013" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.1f}\u00d7"


def _size(value: int | None) -> str:
    """Bytes with a decimal unit, three digits."""
    if value is None:
        return "\u2013"
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(amount) < 999.5:
            return f"{value} B" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


__all__: Sequence[str] = ("render", "report", "write_report")
