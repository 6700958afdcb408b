"""What a network sees of a row: the protocol, and how a file tells the kinds apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import torch

from mdlake.errors import CorruptError
from mdlake.models.features import FeatureSpec
from mdlake.models.fitting import FeatureOptions, fit_features
from mdlake.models.images import ImageOptions, ImageSpec, fit_images
from mdlake.models.own import LIBRARY, Own, OwnInputs
from mdlake.models.shards import Shards
from mdlake.models.tokens import TokenSpec


class Inputs(Protocol):
    """Everything here is data, known from the train split alone."""

    kind: ClassVar[str]

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        ...

    def transform(self, table: pa.Table) -> tuple[np.ndarray, ...]:
        """The rows as arrays, rows first, as narrow as they can be held."""
        ...

    def tensors(self, arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        """What the network takes, of some rows of these arrays."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What the tensors are called, in their order."""
        ...

    def made_up(self, rows: int, seed: int = 0) -> tuple[np.ndarray, ...]:
        """Rows at random, as `transform` would give them: to trace a network, to time it."""
        ...

    def to_json(self) -> dict[str, Any]: ...


def fit_inputs(
    shards: Shards, options: FeatureOptions | ImageOptions | TokenSpec | OwnInputs, spread: Callable[..., Iterable[Any]]
) -> Inputs:
    """What the train split gives; token sequences and a user's own are as they are.

    `spread` maps a function over tasks: an engine's `map`, or `map`.
    """
    if isinstance(options, OwnInputs | TokenSpec):
        return options
    fit = fit_images if isinstance(options, ImageOptions) else fit_features
    return fit(shards, options, spread)  # type: ignore[arg-type]


def inputs_from_json(data: Mapping[str, Any], own: Own = LIBRARY) -> Inputs:
    """The inverse of `to_json`.

    Raises:
        CorruptError: it is of no kind.
        InvalidArgumentError: they are a user's, and `own` does not have them.
    """
    try:
        if OwnInputs.kind in data:
            return own.read_inputs(data)
        if TokenSpec.kind in data:
            return TokenSpec.from_json(data)
        return ImageSpec.from_json(data) if ImageSpec.kind in data else FeatureSpec.from_json(data)
    except TypeError as error:
        raise CorruptError(f"these are no inputs of a network: {data!r}") from error
