"""Embeddings of categories beside standardised numbers, then a multi-layer perceptron.

After Guo and Berkhahn, Entity Embeddings of Categorical Variables (2016). Whole embeddings are dropped at
random in training, so that no rare category, of which few rows were seen, is leant on alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.networks.sizes import check_sizes


@dataclass(frozen=True)
class TabularMlpOptions:
    """`numeric` columns; per category its `cardinalities` and embedding `widths`; `hidden` layer widths."""

    numeric: int
    cardinalities: tuple[int, ...]
    widths: tuple[int, ...]
    hidden: tuple[int, ...]
    dropout: float = 0.0
    category_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cardinalities", "widths", "hidden"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_sizes(*self.cardinalities, *self.widths, *self.hidden)
        if type(self.numeric) is not int or not 0 <= self.numeric < 1 << 31:
            raise InvalidArgumentError(f"the number of numeric columns cannot be {self.numeric!r}")
        if len(self.cardinalities) != len(self.widths):
            raise InvalidArgumentError(
                f"{len(self.cardinalities)} categories need as many embedding widths, not {len(self.widths)}"
            )
        for rate in (self.dropout, self.category_dropout):
            if not isinstance(rate, int | float) or not 0 <= rate < 1:
                raise InvalidArgumentError(f"a dropout is a share from 0 to below 1, not {rate!r}")


class TabularMlp(nn.Module):
    """(numeric float32 [rows, n], categories int64 [rows, c]) -> logits float32 [rows]."""

    def __init__(self, options: TabularMlpOptions) -> None:
        super().__init__()
        self.options = options
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinality, width)
            for cardinality, width in zip(options.cardinalities, options.widths, strict=True)
        )
        layers: list[nn.Module] = []
        width = options.numeric + sum(options.widths)
        for hidden in options.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(options.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))
        self.dropout = nn.Dropout(options.dropout)
        for table in self.embeddings:
            nn.init.normal_(table.weight, std=0.05)  # type: ignore[arg-type]

    def forward(self, numeric: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        parts = [numeric]
        for index, table in enumerate(self.embeddings):
            parts.append(self.dropout(self._drop_rows(table(categories[:, index]))))
        return self.layers(torch.cat(parts, dim=1)).squeeze(1)

    def _drop_rows(self, values: torch.Tensor) -> torch.Tensor:
        rate = self.options.category_dropout
        if not self.training or rate == 0:
            return values
        kept = torch.rand(values.shape[0], 1, device=values.device) >= rate
        return values * kept / (1 - rate)
