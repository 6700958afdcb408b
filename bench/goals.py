"""What is wanted of the figures, and what they are: geometric means over the tables.

A mean of a codec is over the tables that it and what it is compared with have been measured on. The best peer of a
table is whichever peer is smallest there: no single peer is that on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.measure import Figure
from bench.peers import PEERS, REFERENCE


@dataclass(frozen=True)
class Mean:
    codec: str
    tables: int
    of_best: float
    of_reference: float
    encode_mb_s: float
    decode_mb_s: float


@dataclass(frozen=True)
class Goal:
    name: str
    wanted: float
    measured: float
    at_least: bool
    worst: str  # the table that is furthest from the goal, and its figure

    @property
    def met(self) -> bool:
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted


def best_peer(figures: Iterable[Figure]) -> Figure | None:
    """The smallest peer among the figures of one table."""
    return min((figure for figure in figures if figure.codec in PEERS), key=lambda figure: figure.bytes, default=None)


def means(figures: list[Figure]) -> list[Mean]:
    return [
        Mean(
            codec,
            sum(figure.codec == codec for figure in figures),
            geometric_mean(of_best(figures, codec).values()),
            geometric_mean(of_reference(figures, codec).values()),
            geometric_mean(figure.encode_mb_s for figure in figures if figure.codec == codec),
            geometric_mean(figure.decode_mb_s for figure in figures if figure.codec == codec),
        )
        for codec in dict.fromkeys(figure.codec for figure in figures)
    ]


def goals(figures: list[Figure]) -> list[Goal]:
    """The goals that the figures say something about."""
    best = {effort: of_best(figures, f"mdlake {effort}") for effort in ("default", "max")}
    reference = {effort: of_reference(figures, f"mdlake {effort}") for effort in ("fast", "max")}
    found = [
        _goal("max / best peer, geometric mean", 0.72, best["max"]),
        _goal("max / zstd-9, geometric mean", 0.40, reference["max"]),
        _goal("max / best peer, any table", 1.00, best["max"], largest=True),
        _goal("default / best peer, geometric mean", 0.85, best["default"]),
        _goal("fast / zstd-9, geometric mean", 0.65, reference["fast"]),
    ]
    for effort, encode, decode in (("fast", 80, 300), ("default", 25, 150), ("max", 1.5, 3)):
        ours = [figure for figure in figures if figure.codec == f"mdlake {effort}"]
        for verb, wanted in (("encode", encode), ("decode", decode)):
            speeds = {figure.table: getattr(figure, f"{verb}_mb_s") for figure in ours}
            found.append(_goal(f"{effort}, {verb}, MB/s, geometric mean", wanted, speeds, at_least=True))
    return [goal for goal in found if goal is not None]


def of_best(figures: list[Figure], codec: str) -> dict[str, float]:
    """Table -> bytes of the codec / of the table's best peer."""
    return _ratios(figures, codec, lambda figure: figure.codec in PEERS)


def of_reference(figures: list[Figure], codec: str) -> dict[str, float]:
    """Table -> bytes of the codec / of Parquet zstd-9."""
    return _ratios(figures, codec, lambda figure: figure.codec == REFERENCE)


def geometric_mean(values: Iterable[float]) -> float:
    """NaN if there are none."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan


def _ratios(figures: list[Figure], codec: str, among: Callable[[Figure], bool]) -> dict[str, float]:
    ratios = {}
    for figure in figures:
        others = [other.bytes for other in figures if other.table == figure.table and among(other)]
        if figure.codec == codec and others:
            ratios[figure.table] = figure.bytes / min(others)
    return ratios


def _goal(
    name: str, wanted: float, measured: dict[str, float], *, at_least: bool = False, largest: bool = False
) -> Goal | None:
    if not measured:
        return None
    worst = (min if at_least else max)(measured, key=lambda table: measured[table])
    value = measured[worst] if largest else geometric_mean(measured.values())
    return Goal(name, wanted, value, at_least, f"{worst} {measured[worst]:.3g}")
