"""Networks of a few hundred weights and data they can learn, for the tests of shrinking."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mdlake.models.batches import Batch

CLASSES = 4


def points(rows: int = 400, features: int = 12, seed: int = 0) -> list[Batch]:
    """Classes by the signs of two sums of correlated features; the last two features are always 0."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(4, features, generator=torch.Generator().manual_seed(99))
    mixing[:, -2:] = 0
    hidden = torch.randn(rows, 4, generator=random)
    inputs = hidden @ mixing + 0.3 * torch.randn(rows, features, generator=random) * (mixing.abs().sum(0) > 0)
    labels = 2 * (hidden[:, 0] + hidden[:, 1] > 0) + (hidden[:, 2] - hidden[:, 3] > 0)
    return [Batch((x,), y) for x, y in zip(inputs.split(100), labels.long().split(100), strict=True)]


def images(rows: int = 160, side: int = 10, channels: int = 2, seed: int = 0) -> list[Batch]:
    """The class is the corner with the bright patch."""
    random = torch.Generator().manual_seed(seed)
    inputs = 0.3 * torch.randn(rows, channels, side, side, generator=random)
    labels = torch.randint(0, CLASSES, (rows,), generator=random)
    half = side // 2
    for row, label in enumerate(labels.tolist()):
        down, right = label // 2 * half, label % 2 * half
        inputs[row, :, down : down + half, right : right + half] += 1
    return [Batch((x,), y) for x, y in zip(inputs.split(40), labels.split(40), strict=True)]


def dense(features: int = 12, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def convolutional(seed: int = 0) -> nn.Sequential:
    """Convolutions with stride, padding and groups, batch norm, pooling, and a linear layer on what is left."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4),
        nn.ReLU(),
        nn.Conv2d(8, 12, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * 4, CLASSES),
    )


class Residual(nn.Module):
    """Two blocks whose additions tie channels together, one of them depthwise, and global pooling."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(2, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.first = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 1))
        self.widen = nn.Conv2d(8, 16, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.narrow = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.first(x))
        x = x + self.narrow(torch.relu(self.depthwise(self.widen(x))))
        return self.head(x.mean((2, 3)))


def trained(
    network: nn.Module,
    batches: list[Batch],
    epochs: int = 30,
    rate: float = 1e-2,
    before: Callable[[nn.Module], None] | None = None,
    after: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
    optimizer = torch.optim.Adam(network.parameters(), rate)
    network.train()
    for _ in range(epochs):
        for batch in batches:
            if before:
                before(network)
            optimizer.zero_grad()
            cross_entropy(network(*batch.inputs), batch.labels).backward()
            optimizer.step()
            if after:
                after(network)
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, batches: list[Batch]) -> float:
    right = [(network.eval()(*batch.inputs).argmax(1) == batch.labels).float() for batch in batches]
    return float(torch.cat(right).mean())
