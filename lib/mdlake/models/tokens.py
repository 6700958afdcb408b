"""Sequences of tokens as a network sees them: a column of lists of ids, cut or filled up to one length.

Ids come from whatever tokenizer made the column, 0 to `vocabulary` - 1; the id `vocabulary` itself fills up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.models.features import column_of

_MOST = 1 << 24


@dataclass(frozen=True)
class TokenSpec:
    """A column of lists of integers; the first `length` of each row are seen. Nothing of it is fitted."""

    kind: ClassVar[str] = "tokens"
    column: str
    length: int
    vocabulary: int

    def __post_init__(self) -> None:
        for name in ("length", "vocabulary"):
            size = getattr(self, name)
            if type(size) is not int or not 0 < size <= _MOST:
                raise InvalidArgumentError(f"the {name} of token sequences is from 1 to {_MOST}, not {size!r}")

    @property
    def columns(self) -> list[str]:
        return [self.column]

    @property
    def names(self) -> tuple[str, ...]:
        return ("tokens",)

    def transform(self, table: pa.Table) -> tuple[np.ndarray, ...]:
        """int32 [rows, length]."""
        array = column_of(table, self.column)
        kind = array.type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_integer(kind.value_type):
            raise InvalidArgumentError(
                f"token sequences are lists of integers, but the column is {kind}", column=self.column
            )
        if array.null_count or array.flatten().null_count:
            raise InvalidArgumentError(
                "there are rows or tokens that are null; leave them out (ingest)", column=self.column
            )
        offsets = array.offsets.to_numpy()
        ids = array.values.to_numpy()[offsets[0] : offsets[-1]].astype(np.int64)
        wrong = np.flatnonzero((ids < 0) | (ids >= self.vocabulary))
        if len(wrong):
            row = int(np.searchsorted(offsets - offsets[0], wrong[0], side="right")) - 1
            raise InvalidArgumentError(
                f"row {row} has the token {ids[wrong[0]]}, but the vocabulary ends at {self.vocabulary - 1}",
                column=self.column,
            )
        counts = np.minimum(np.diff(offsets), self.length)
        places = np.arange(self.length)
        seen = places < counts[:, None]
        found = np.full((len(array), self.length), self.vocabulary, np.int32)
        found[seen] = ids[((offsets[:-1] - offsets[0])[:, None] + places)[seen]]
        return (found,)

    def tensors(self, arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        """int64 [rows, length]."""
        return (torch.from_numpy(np.ascontiguousarray(arrays[0])).long(),)

    def made_up(self, rows: int, seed: int = 0) -> tuple[np.ndarray, ...]:
        """int32 [rows, length]."""
        return (np.random.default_rng(seed).integers(0, self.vocabulary, (rows, self.length), np.int32),)

    def to_json(self) -> dict[str, Any]:
        return {"tokens": self.column, "length": self.length, "vocabulary": self.vocabulary}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TokenSpec:
        try:
            return cls(str(data["tokens"]), data["length"], data["vocabulary"])
        except (KeyError, InvalidArgumentError) as error:
            raise CorruptError(f"not a specification of token sequences: {error}") from error
