"""What a network sees of a row: standardised numbers and category indices, as fitted on the train split.

A category is one column (`carrier`) or a cross of several (`month*day*origin`), whose every combination
that is frequent enough has an index of its own. Index 0 stands for all the rest: rare, unseen, null.
A null number becomes the mean, which is 0 once standardised.

Everything here is data: it goes into checkpoints as JSON and into artifacts as blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mdlake.errors import CorruptError, InvalidArgumentError

CROSS = "*"
_MAX_COMBINATIONS = 1 << 62


@dataclass(frozen=True)
class Numeric:
    """A column of numbers and its moments on the train split; `deviation` is 1 for a constant column."""

    column: str
    mean: float
    deviation: float

    def transform(self, table: pa.Table) -> np.ndarray:
        """float32 [rows], mean 0 and deviation 1 over the train split."""
        values = as_numbers(table, self.column)
        return ((pc.fill_null(values, self.mean).to_numpy() - self.mean) / self.deviation).astype(np.float32)


@dataclass(frozen=True)
class FeatureSpec:
    """The numeric columns, the sorted vocabulary of each category column, and the categories made of them.

    `crosses` has, for each category of several columns, the combinations that got an index: sorted int64
    numbers whose digits are the columns' indices, the first column most significant.
    """

    kind: ClassVar[str] = "features"
    numeric: tuple[Numeric, ...]
    vocabularies: Mapping[str, pa.Array]
    categories: tuple[str, ...]
    crosses: Mapping[str, np.ndarray]

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        return [*dict.fromkeys([*(number.column for number in self.numeric), *self.vocabularies])]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many indices each category has, 0 for the rest included."""
        return tuple(
            1 + len(self.crosses[name] if name in self.crosses else self.vocabularies[name]) for name in self.categories
        )

    def transform(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """The rows as float32 [rows, numeric] and int64 [rows, categories]."""
        numbers = [number.transform(table) for number in self.numeric]
        indices = {name: indices_of(table, name, values) for name, values in self.vocabularies.items()}
        categories = [self._category(name, indices) for name in self.categories]
        return _stack(numbers, np.float32, table.num_rows), _stack(categories, np.int64, table.num_rows)

    def tensors(self, arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        """The arrays as they are."""
        return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)

    @property
    def names(self) -> tuple[str, ...]:
        return ("numeric", "categories")

    def made_up(self, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """float32 [rows, numeric], normally distributed, and int64 [rows, categories]."""
        random = np.random.default_rng(seed)
        numbers = random.standard_normal((rows, len(self.numeric)), np.float32)
        return numbers, random.integers(0, self.cardinalities, (rows, len(self.categories)))

    def _category(self, name: str, indices: Mapping[str, np.ndarray]) -> np.ndarray:
        if name not in self.crosses:
            return indices[name]
        known = self.crosses[name]
        if not len(known):
            return np.zeros(len(next(iter(indices.values()))), np.int64)
        codes = cross_codes(name, indices, self.vocabularies)
        place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        return np.where(known[place] == codes, place + 1, 0)

    def to_json(self) -> dict[str, Any]:
        return {
            "numeric": [[number.column, number.mean, number.deviation] for number in self.numeric],
            "vocabularies": {name: values.to_pylist() for name, values in self.vocabularies.items()},
            "categories": list(self.categories),
            "crosses": {name: codes.tolist() for name, codes in self.crosses.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSpec:
        try:
            return cls.from_parts(
                data["numeric"],
                {name: pa.array(values) for name, values in data["vocabularies"].items()},
                data["categories"],
                {name: np.array(codes, np.int64) for name, codes in data["crosses"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
            raise CorruptError(f"not a feature specification: {error!r}") from error

    @classmethod
    def from_parts(
        cls,
        numeric: Sequence[Sequence[Any]],
        vocabularies: Mapping[str, pa.Array],
        categories: Sequence[str],
        crosses: Mapping[str, np.ndarray],
    ) -> FeatureSpec:
        """Puts a specification together from what a file holds, checking that the parts fit."""
        numbers = tuple(Numeric(str(column), float(mean), float(std)) for column, mean, std in numeric)
        for name in categories:
            if name not in crosses and name not in vocabularies:
                raise CorruptError(f"the category {name!r} has no vocabulary")
            if name in crosses and not all(column in vocabularies for column in name.split(CROSS)):
                raise CorruptError(f"a column of the category {name!r} has no vocabulary")
        return cls(numbers, dict(vocabularies), tuple(categories), dict(crosses))


def as_numbers(table: pa.Table, column: str) -> pa.Array:
    """The column as float64; NaN counts as null."""
    array = column_of(table, column)
    try:
        values = pc.cast(array, pa.float64())
    except pa.ArrowException as error:
        raise InvalidArgumentError(
            f"a numeric feature needs numbers, but the column is {array.type}; make it a category", column=column
        ) from error
    return pc.call_function("if_else", [pc.call_function("is_nan", [values]), pa.scalar(None, pa.float64()), values])


def as_category(table: pa.Table, column: str) -> pa.Array:
    """The column as int64 if it holds integers or booleans, else as strings."""
    array = column_of(table, column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    whole = pa.types.is_integer(array.type) or pa.types.is_boolean(array.type)
    try:
        return pc.cast(array, pa.int64() if whole else pa.string())
    except pa.ArrowException as error:
        raise InvalidArgumentError(
            f"a category needs integers or text, but the column is {array.type}", column=column
        ) from error


def indices_of(table: pa.Table, column: str, vocabulary: pa.Array) -> np.ndarray:
    """int64 [rows]: 1 + the place of each value in the vocabulary, 0 where it is not in it."""
    values = as_category(table, column)
    if values.type != vocabulary.type:
        raise InvalidArgumentError(
            f"the column is {values.type} here, but was {vocabulary.type} in the train split", column=column
        )
    found = pc.call_function("index_in", [values], pc.SetLookupOptions(vocabulary))
    return pc.fill_null(found, -1).to_numpy().astype(np.int64) + 1


def cross_codes(name: str, indices: Mapping[str, np.ndarray], vocabularies: Mapping[str, pa.Array]) -> np.ndarray:
    """int64 [rows]: the columns' indices as digits of one number."""
    columns = name.split(CROSS)
    bases = [len(vocabularies[column]) + 1 for column in columns]
    if prod(bases) >= _MAX_COMBINATIONS:
        raise InvalidArgumentError(
            f"the cross {name!r} has {prod(bases):.1e} combinations, too many to number: lower max_categories"
        )
    codes = np.zeros(len(indices[columns[0]]), np.int64)
    for column, base in zip(columns, bases, strict=True):
        codes = codes * base + indices[column]
    return codes


def column_of(table: pa.Table, column: str) -> pa.Array:
    if column not in table.column_names:
        raise InvalidArgumentError(f"there is no such column; there are {', '.join(table.column_names)}", column=column)
    return table[column].combine_chunks()


def _stack(columns: list[np.ndarray], dtype: type, rows: int) -> np.ndarray:
    if not columns:
        return np.zeros((rows, 0), dtype)
    return np.stack(columns, axis=1).astype(dtype, copy=False)
