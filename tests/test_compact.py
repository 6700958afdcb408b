"""Sparse and int8 layers give what dense ones do, in fewer bytes and less time, and nothing is made so silently."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mdlake
from mdlake.artifact import save_model
from mdlake.errors import InvalidArgumentError
from mdlake.models.bundle import Model
from mdlake.models.compact import Int8Linear, SparseLinear
from mdlake.models.images import ImageSpec
from mdlake.models.networks import build_network
from mdlake.models.schemes import Linear
from mdlake.models.tasks import ClassTask
from mdlake.shrink.quantize import quantize_linear

OPTIONS = {"inputs": 784, "hidden": [300, 100], "outputs": 10}
IMAGES = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    module = build_network("perceptron", OPTIONS).eval()
    return Model("perceptron", OPTIONS, ImageSpec("image", (1, 28, 28)), ClassTask("label", 10), module)


@torch.no_grad()
def test_sparse_layers_give_the_same_numbers(tmp_path: Path, model: Model) -> None:
    """The first two layers are pruned to a twentieth, the last keeps half and stays dense."""
    weights = [parameter for parameter in model.module.parameters() if parameter.dim() == 2]
    for weight, share in zip(weights, (0.05, 0.05, 0.5), strict=True):
        weight[torch.rand_like(weight) > share] = 0
    url = str(tmp_path / "m.safetensors")
    save_model(url, model, effort="fast")
    dense, sparse = mdlake.load_model(url), mdlake.load_model(url, form="sparse")
    assert torch.allclose(sparse(IMAGES), dense(IMAGES), atol=1e-5)
    assert torch.allclose(sparse(IMAGES[:1]), dense(IMAGES[:1]), atol=1e-5)
    kinds = [type(layer) for layer in sparse.modules() if isinstance(layer, torch.nn.Linear | SparseLinear)]
    assert kinds == [SparseLinear, SparseLinear, torch.nn.Linear]
    with pytest.raises(InvalidArgumentError, match="no Linear layer of this network is kept as integers"):
        mdlake.load_model(url, form="int8")


@torch.no_grad()
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_int8_layers_have_the_artifact_s_levels_and_lose_little(tmp_path: Path, model: Model, granularity: str) -> None:
    parameters = dict(model.module.named_parameters())
    kept = {name: quantize_linear(p.detach(), 8, granularity) for name, p in parameters.items() if p.dim() == 2}
    url = str(tmp_path / "m.safetensors")
    save_model(url, model, kept, effort="fast")
    dense, small = mdlake.load_model(url), mdlake.load_model(url, form="int8")
    found, expected = small(IMAGES), dense(IMAGES)
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max())
    layers = [layer for layer in small.modules() if isinstance(layer, Int8Linear)]
    assert len(layers) == 3
    for layer, scheme in zip(layers, kept.values(), strict=True):
        assert isinstance(scheme, Linear)
        assert torch.equal(layer.levels, torch.from_numpy(scheme.levels))
    assert torch.isfinite(small(torch.zeros(2, 1, 28, 28))).all() and small(IMAGES[:1]).shape == (1, 10)
    with pytest.raises(InvalidArgumentError, match="no Linear layer of this network has few enough weights"):
        mdlake.load_model(url, form="sparse")
    with pytest.raises(InvalidArgumentError, match="sparse or as int8, not 'ternary'"):
        mdlake.load_model(url, form="ternary")


@pytest.mark.parametrize("shape", [(40, 1), (1, 40), (2, 3), (1, 1)])
def test_int8_layers_of_all_shapes(shape: tuple[int, int]) -> None:
    layer = torch.nn.Linear(shape[1], shape[0])
    kept = quantize_linear(layer.weight.detach(), 8)
    inputs = torch.randn(7, shape[1])
    found = Int8Linear(kept, layer.bias.detach())(inputs)
    expected = torch.nn.functional.linear(inputs, kept.restore(), layer.bias)
    assert float((found - expected).detach().abs().max()) < 0.02 * float(expected.detach().abs().max())
