"""Several `tabular_mlp`s of one shape side by side, computed together; what they say is averaged.

A deep ensemble (Lakshminarayanan, Pritzel and Blundell, 2017) laid out as one network, as TabM does
(Gorishniy et al., 2024), but with no weights shared: members differ by their first weights alone. In training
each member answers for itself (logits [rows, members]), so that each gets a loss of its own; in evaluation
the mean of their logits is the answer. A teacher should be an ensemble: its mean is calmer than any member,
which is what a student learns from (Hinton, Vinyals and Dean, 2015, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.networks.tabular_mlp import TabularMlpOptions


@dataclass(frozen=True)
class TabularEnsembleOptions(TabularMlpOptions):
    """The options of each member (`widths` and `hidden` are a member's), and how many `members`."""

    members: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.members) is not int or not 0 < self.members <= 4096:
            raise InvalidArgumentError(f"an ensemble has 1 to 4096 members, not {self.members!r}")


class TabularEnsemble(nn.Module):
    """(numeric float32 [rows, n], categories int64 [rows, c]) -> logits [rows]; in training [rows, members]."""

    def __init__(self, options: TabularEnsembleOptions) -> None:
        super().__init__()
        self.options = options
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinality, options.members * width)
            for cardinality, width in zip(options.cardinalities, options.widths, strict=True)
        )
        widths = [options.numeric + sum(options.widths), *options.hidden, 1]
        self.layers = nn.ModuleList(
            MemberLinear(options.members, inputs, outputs) for inputs, outputs in pairwise(widths)
        )
        self.dropout = nn.Dropout(options.dropout)
        for table in self.embeddings:
            nn.init.normal_(table.weight, std=0.05)  # type: ignore[arg-type]

    def forward(self, numeric: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        rows, members = numeric.shape[0], self.options.members
        parts = [numeric.unsqueeze(0).expand(members, -1, -1)]
        for index, table in enumerate(self.embeddings):
            parts.append(table(categories[:, index]).view(rows, members, -1).transpose(0, 1))
        values = torch.cat(parts, dim=2)
        for layer in self.layers[:-1]:
            values = self.dropout(torch.relu(layer(values)))
        logits = self.layers[-1](values).squeeze(2)
        return logits.T if self.training else logits.mean(dim=0)


class MemberLinear(nn.Module):
    """A linear layer of its own for each member: [members, rows, inputs] -> [members, rows, outputs]."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as torch.nn.Linear begins
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias, values, self.weight)
