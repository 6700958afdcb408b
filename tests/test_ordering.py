"""Units in another order: the network computes the same, what is pruned stays so, and it takes fewer bytes to say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mdlake.models.levels import encode_levels
from mdlake.models.networks import build_network
from mdlake.shrink.prune.masks import apply_masks, prunable, top_masks
from mdlake.shrink.structured.ordering import sort_units


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("perceptron", {"inputs": 256, "hidden": [40, 30], "outputs": 3}, (1, 16, 16)),
        ("lenet_5", {"size": 16, "filters": [8, 12], "hidden": 24, "outputs": 3}, (1, 16, 16)),
        ("convnet", {"size": 16, "stages": [[6, 8], [10]], "hidden": [20], "outputs": 3}, (1, 16, 16)),
        ("resnet", {"channels": 1, "widths": [8, 12], "blocks": 2, "outputs": 3}, (1, 16, 16)),
        ("mobilenet", {"channels": 1, "first": 8, "widths": [12, 16], "outputs": 3}, (1, 16, 16)),
    ],
)
def test_a_sorted_network_computes_the_same(name: str, options: dict, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network, images = build_network(name, options).double().eval(), torch.rand(5, *shape).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    masks = top_masks({n: torch.rand_like(p) for n, p in prunable(network, biases=True).items()}, 0.7)
    apply_masks(network, masks)
    before, answers = {n: p.clone() for n, p in network.named_parameters()}, network(images)
    moved = sort_units(network, (images[:1],), masks)
    assert torch.allclose(network(images), answers, rtol=1e-10, atol=1e-12)
    after = dict(network.named_parameters())
    assert any(not torch.equal(after[n], before[n]) for n in before)
    assert all(torch.equal(after[n].flatten().sort().values, before[n].flatten().sort().values) for n in before)
    assert all(
        torch.equal(after[n] * mask, after[n]) and int(mask.sum()) == int(masks[n].sum()) for n, mask in moved.items()
    )


def test_rows_with_the_most_weights_come_first_and_take_fewer_bytes() -> None:
    torch.manual_seed(0)
    network = build_network("perceptron", {"inputs": 400, "hidden": [80], "outputs": 5})
    shares = torch.rand(80, 1) ** 4 * 0.5
    masks = {"layers.0.weight": torch.rand(80, 400) < shares}
    apply_masks(network, masks)

    def size() -> int:
        weight = network.get_parameter("layers.0.weight")
        return len(encode_levels({"layers.0.weight": weight.detach().sign().numpy().astype(np.int8)}))

    before = size()
    moved = sort_units(network, (torch.rand(1, 400),), masks)["layers.0.weight"]
    counts = moved.sum(1)
    assert bool((counts[1:] <= counts[:-1]).all())
    assert size() < before


def test_what_cannot_be_moved_stays() -> None:
    class Joined(nn.Module):
        """Two layers side by side, read by one."""

        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.out = nn.Linear(6, 4), nn.Linear(6, 5), nn.Linear(9, 2)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.out(torch.cat([self.left(rows), self.right(rows)], dim=1))

    class Branching(nn.Module):
        """A forward pass that depends on values."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.layer(rows) if rows.sum() > 0 else rows

    for network in (Joined(), Branching()):
        before = {n: p.clone() for n, p in network.named_parameters()}
        rows = torch.rand(3, 6)
        answers = network(rows)
        sort_units(network, (rows[:1],), {})
        assert torch.allclose(network(rows), answers, atol=1e-6)
        assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())
