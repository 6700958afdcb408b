"""Fits a `FeatureSpec` to the train split in two passes of counting, each a map over files and a merge.

Pass 1 counts values and sums numbers; from it come the vocabularies. Pass 2 counts the combinations of the
crosses. A count is exact as long as a column has at most `_TRACKED` distinct values in a file; beyond that
the rarest are forgotten, which the cap on categories would do to them anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from mdlake.errors import InvalidArgumentError
from mdlake.models.features import (
    CROSS,
    FeatureSpec,
    Numeric,
    as_category,
    as_numbers,
    cross_codes,
    indices_of,
)
from mdlake.models.shards import Shards, Unit

_TRACKED = 1 << 20


@dataclass(frozen=True)
class FeatureOptions:
    """Which columns a network sees. A category keeps its `max_categories` most frequent values."""

    numeric: tuple[str, ...]
    categories: tuple[str, ...]
    max_categories: int = 1 << 16

    @property
    def category_columns(self) -> list[str]:
        return [*dict.fromkeys(column for name in self.categories for column in name.split(CROSS))]

    @property
    def columns(self) -> list[str]:
        return [*dict.fromkeys([*self.numeric, *self.category_columns])]


@dataclass
class Moments:
    """Count, mean and sum of squared differences from it; merged as Chan, Golub and LeVeque (1979) do."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def merge(self, other: Moments) -> Moments:
        count = self.count + other.count
        if not count:
            return Moments()
        shift = other.mean - self.mean
        mean = self.mean + shift * other.count / count
        return Moments(count, mean, self.squares + other.squares + shift * shift * self.count * other.count / count)


@dataclass
class Counts:
    """What one pass learnt: rows, moments of numeric columns, how often each value or combination occurs."""

    rows: int = 0
    moments: dict[str, Moments] = field(default_factory=dict)
    values: dict[str, Counter] = field(default_factory=dict)

    def merge(self, other: Counts) -> Counts:
        self.rows += other.rows
        for name, moments in other.moments.items():
            self.moments[name] = self.moments.get(name, Moments()).merge(moments)
        for name, values in other.values.items():
            mine = self.values.setdefault(name, Counter())
            mine.update(values)
            if len(mine) > _TRACKED:
                self.values[name] = Counter(dict(_most_frequent(mine, _TRACKED // 2)))
        return self


@dataclass(frozen=True)
class CountTask:
    """Count one file of the train split: values, or with a partial `spec` the crosses' combinations."""

    shards: Shards
    file: int
    options: FeatureOptions
    spec: FeatureSpec | None = None

    @property
    def name(self) -> str:
        return self.shards.files[self.file]


Map = Callable[[Callable[[CountTask], Counts], Sequence[CountTask]], Iterable[Counts]]


def fit_features(shards: Shards, options: FeatureOptions, spread: Map) -> FeatureSpec:
    """The specification that the train split gives. `spread` maps over tasks: an engine's `map`, or `map`."""
    files = range(len(shards.files))
    counts = _merged(spread(count, [CountTask(shards, file, options) for file in files]))
    if not counts.rows:
        raise InvalidArgumentError("the train split is empty: nothing can be learnt", url=shards.store.url)
    spec = FeatureSpec(
        numeric=tuple(_numeric(name, counts.moments[name]) for name in options.numeric),
        vocabularies={
            name: _vocabulary(counts.values[name], options.max_categories, _type_of(counts.values[name]))
            for name in options.category_columns
        },
        categories=options.categories,
        crosses={},
    )
    crosses = [name for name in options.categories if CROSS in name]
    if crosses:
        counts = _merged(spread(count, [CountTask(shards, file, options, spec) for file in files]))
    return FeatureSpec(
        spec.numeric,
        spec.vocabularies,
        spec.categories,
        {name: _vocabulary(counts.values[name], options.max_categories, pa.int64()).to_numpy() for name in crosses},
    )


def count(task: CountTask) -> Counts:
    """One pass over one file, a row group at a time."""
    total = Counts()
    for unit in task.shards.units_of(task.file):
        total.merge(_count_unit(task, unit))
    return total


def _count_unit(task: CountTask, unit: Unit) -> Counts:
    table = task.shards.read(unit, task.options.columns)
    if task.spec is not None:
        return Counts(table.num_rows, values=_combinations(task, task.spec, table))
    return Counts(
        table.num_rows,
        {name: _moments(as_numbers(table, name)) for name in task.options.numeric},
        {name: _frequencies(as_category(table, name)) for name in task.options.category_columns},
    )


def _combinations(task: CountTask, spec: FeatureSpec, table: pa.Table) -> dict[str, Counter]:
    indices = {name: indices_of(table, name, values) for name, values in spec.vocabularies.items()}
    return {
        name: _frequencies(pa.array(cross_codes(name, indices, spec.vocabularies)))
        for name in task.options.categories
        if CROSS in name
    }


def _merged(parts: Iterable[Counts]) -> Counts:
    total = Counts()
    for part in parts:
        total.merge(part)
    return total


def _moments(values: pa.Array) -> Moments:
    numbers = values.drop_null().to_numpy()
    if not len(numbers):
        return Moments()
    mean = float(numbers.mean())
    with np.errstate(invalid="ignore"):  # infinite values are refused when all is counted
        return Moments(len(numbers), mean, float(np.square(numbers - mean).sum()))


def _frequencies(values: pa.Array) -> Counter:
    counted = values.drop_null().value_counts()
    return Counter(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))


def _numeric(name: str, moments: Moments) -> Numeric:
    if not moments.count:
        raise InvalidArgumentError("this column has no value in the train split", column=name)
    deviation = (moments.squares / moments.count) ** 0.5
    if not np.isfinite(deviation):
        raise InvalidArgumentError("this column has infinite values; clean them first", column=name)
    return Numeric(name, float(f"{moments.mean:.7g}"), float(f"{deviation:.7g}") or 1.0)  # float32 has no more digits


def _vocabulary(values: Counter, limit: int, type_: pa.DataType) -> pa.Array:
    """The most frequent values, sorted, so that they are coded in few bytes."""
    return pa.array(sorted(value for value, _ in _most_frequent(values, limit)), type_)


def _most_frequent(values: Counter, limit: int) -> list[tuple]:
    return sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def _type_of(values: Counter) -> pa.DataType:
    return pa.int64() if all(isinstance(value, int) for value in values) else pa.string()
