"""Transformer encoders that classify sequences of tokens.

Vaswani et al., Attention Is All You Need (2017), the encoder, with the normalisation before each part (Xiong et al., On
Layer Normalization in the Transformer Architecture, 2020) and the mean over what is no filling for the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from mdlake.errors import InvalidArgumentError
from mdlake.models.networks.sizes import check_depth, check_sizes


@dataclass(frozen=True)
class EncoderOptions:
    """`vocabulary` and `length` are those of the token sequences; `width` is shared out among `heads`."""

    vocabulary: int
    length: int
    width: int = 64
    heads: int = 4
    layers: int = 2
    hidden: int = 128
    outputs: int = 2

    def __post_init__(self) -> None:
        check_sizes(self.vocabulary, self.length, self.width, self.heads, self.layers, self.hidden, self.outputs)
        check_depth(self.layers)
        if self.width % self.heads:
            raise InvalidArgumentError(f"a width of {self.width} cannot be shared among {self.heads} heads")


class Encoder(nn.Module):
    """int64 [rows, length] -> logits float32 [rows, outputs], or [rows] where there is one output."""

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        self.filling = options.vocabulary
        self.tokens = nn.Embedding(options.vocabulary + 1, options.width)
        self.places = nn.Embedding(options.length, options.width)
        self.layers = nn.Sequential(*(Layer(options) for _ in range(options.layers)))
        self.norm = nn.LayerNorm(options.width)
        self.out = nn.Linear(options.width, options.outputs)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        seen = (tokens != self.filling).unsqueeze(2)
        values = self.tokens(tokens) + self.places.weight
        for layer in self.layers:
            values = layer(values, seen)
        mean = (self.norm(values) * seen).sum(1) / seen.sum(1).clamp_min(1)
        return self.out(mean).squeeze(1) if self.out.out_features == 1 else self.out(mean)


class Layer(nn.Module):
    """Attention, then a perceptron for each token; each is added to what it got."""

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        self.heads = options.heads
        self.first, self.second = nn.LayerNorm(options.width), nn.LayerNorm(options.width)
        self.asked = nn.Linear(options.width, 3 * options.width)
        self.joined = nn.Linear(options.width, options.width)
        self.wide, self.narrow = nn.Linear(options.width, options.hidden), nn.Linear(options.hidden, options.width)

    def forward(self, values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """values float32 [rows, length, width]; seen bool [rows, length, 1]: what is filled up is looked at by none."""
        parts = self.asked(self.first(values)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        hidden = torch.where(seen.squeeze(2), 0.0, torch.finfo(torch.float32).min)[:, None, None, :]
        found = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=hidden.to(parts.dtype))
        values = values + self.joined(found.transpose(1, 2).flatten(2))
        return values + self.narrow(functional.gelu(self.wide(self.second(values))))
