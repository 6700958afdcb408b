"""Batch norms lose their statistics: what the network computes stays, what an artifact takes gets less."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_images import TRAINING, source
from torch import nn

from mdlake.artifact import artifact_bytes, parse_artifact
from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.models.bundle import Model
from mdlake.models.images import ImageSpec
from mdlake.models.networks import build_network
from mdlake.models.schemes import Codebook, Kept, Linear, Plain
from mdlake.models.tasks import ClassTask
from mdlake.models.training import Trainer, hard_loss
from mdlake.shrink.attempts import CompressOptions, attempts
from mdlake.shrink.compress import compress
from mdlake.shrink.quantize import quantize_linear
from mdlake.shrink.quantize.norms import fold_norms
from mdlake.shrink.stages import Data
from tests.tiny_networks import Residual

OPTIONS = {"channels": 1, "first": 8, "widths": [12, 16], "outputs": 3}


def used(network: nn.Module, seed: int = 0) -> nn.Module:
    """With norms as training leaves them, one factor below 0 and one 0, and tensors nobody would guess."""
    torch.manual_seed(seed)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            for values, low, high in ((norm.weight.data, 0.2, 2), (norm.bias.data, -1, 1), (norm.running_mean, -1, 1)):
                assert values is not None
                values.uniform_(low, high)
            assert norm.running_var is not None and norm.num_batches_tracked is not None
            norm.running_var.uniform_(0.1, 4)
            norm.num_batches_tracked.fill_(9)
            norm.weight.data[:2] = torch.tensor([-0.7, 0.0])
    return network.eval()


def restored(network: nn.Module, schemes: Mapping[str, Kept]) -> nn.Module:
    whole = copy.deepcopy(network)
    whole.load_state_dict({**whole.state_dict(), **{name: scheme.restore() for name, scheme in schemes.items()}})
    return whole.eval()


def quantized(network: nn.Module, granularity: str) -> dict[str, Kept]:
    """Layers only, so that nothing but scales is rounded once more."""
    weights = {name: p for name, p in network.named_parameters() if p.dim() > 1}
    return {name: quantize_linear(weight, 8, granularity) for name, weight in weights.items()}


@pytest.mark.parametrize("kept", ["floats", "tensor", "channel"])
@pytest.mark.parametrize("name", ["mobilenet", "resnet", "residual"])
def test_what_it_computes_stays(name: str, kept: str) -> None:
    options = {"mobilenet": OPTIONS, "resnet": {"channels": 1, "blocks": 1, "widths": [4, 6], "outputs": 3}}
    network = used(build_network(name, options[name]) if name in options else Residual())
    inputs = torch.randn(50, 2 if name == "residual" else 1, 16, 16)
    schemes = {} if kept == "floats" else quantized(network, kept)
    before = restored(network, schemes)
    folded, after = fold_norms(network, schemes)
    with torch.no_grad():
        expected, found = before(inputs), restored(folded, after)(inputs)
    assert float((found - expected).abs().max()) < (0.02 if kept != "floats" else 2e-5) * float(expected.abs().max())
    norms = [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(bool(norm.running_mean.any()) for norm in norms if norm.running_mean is not None)
    if kept != "tensor" and name != "residual":
        assert all(bool((norm.weight == 1).all()) for norm in norms)
    assert all(float(scheme.scale.min()) > 0 for scheme in after.values() if isinstance(scheme, Linear))


def test_it_takes_less_and_the_network_given_is_left_alone() -> None:
    network = used(build_network("mobilenet", OPTIONS))
    whole = {name: quantize_linear(p, 8, "channel") for name, p in network.named_parameters()}
    before = copy.deepcopy(network.state_dict())
    model = Model("mobilenet", OPTIONS, ImageSpec("image", (1, 16, 16)), ClassTask("label", 3), network, {}, {})
    folded, schemes = fold_norms(network, whole)
    data = artifact_bytes(replace(model, module=folded), schemes)
    assert len(data) < 0.75 * len(artifact_bytes(model, whole))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    again = parse_artifact(data).module.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in restored(folded, schemes).state_dict().items())


def test_norms_of_a_codebook_and_those_without_statistics_stay() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False))
    used(nn.Sequential(network[1]))
    book = torch.tensor([-0.7, 0.5]).numpy()
    schemes: dict[str, Kept] = {"1.bias": Codebook.of(torch.tensor([1, 2]).numpy(), book)}
    folded, after = fold_norms(network, schemes)
    assert after == schemes
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in folded.state_dict().items())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Data]:
    folder = tmp_path_factory.mktemp("images")
    train, validation = source(folder / "train", 900), source(folder / "validation", 300, 1)
    module = build_network("mobilenet", OPTIONS)
    list(Trainer(module, train, validation, TRAINING, hard_loss).run())
    return Model("mobilenet", OPTIONS, train.features, train.task, module, {}, {}), Data(train, validation, hard_loss)


def test_it_is_a_stage(trained: tuple[Model, Data]) -> None:
    model, data = trained
    training = replace(TRAINING, epochs=1, learning_rate=1e-3)
    linear = {"use": "linear", "bits": 8, "granularity": "channel"}
    tried = attempts(CompressOptions([linear, {"use": "fold"}], training=training))
    alone = attempts(CompressOptions([linear], training=training))
    floor = data.measure(model.module) - 0.05
    whole, folded = compress(model, [*alone, *tried], replace(data, floor=floor))
    assert folded.score >= floor and len(folded.data) < 0.75 * len(whole.data)
    assert data.measure(parse_artifact(folded.data).module) == folded.score
    (kept,) = compress(model, tried, replace(data, floor=2.0))  # nothing is lost that could not be afforded
    assert kept.score >= compress(model, alone, replace(data, floor=2.0))[0].score


def test_nothing_is_trained_behind_it(trained: tuple[Model, Data]) -> None:
    stages = [{"use": "fold"}, {"use": "prune", "sparsity": 0.5}]
    with pytest.raises(InvalidArgumentError, match="put fold last"):
        compress(trained[0], attempts(CompressOptions(stages, training=TRAINING)), trained[1])


def test_one_value_for_all_takes_no_block() -> None:
    network = build_network("mobilenet", OPTIONS).eval()
    for number, norm in enumerate(module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        assert norm.running_mean is not None and norm.num_batches_tracked is not None
        norm.running_mean.fill_([-0.0, 0.1, float("nan"), -3.4e38, 1e-45][number % 5])
        norm.num_batches_tracked.fill_((1 << 63) - 1)
    model = Model("mobilenet", OPTIONS, ImageSpec("image", (1, 16, 16)), ClassTask("label", 3), network, {}, {})
    again = parse_artifact(artifact_bytes(model, {})).module.state_dict()
    for name, tensor in network.state_dict().items():
        assert again[name].numpy().tobytes() == tensor.numpy().tobytes(), name


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *(("float32", value) for value in ("1", True, 1e300, float("nan"), None)),
        *(("int64", value) for value in (1.0, 1 << 63, [1])),
        *(("int8", 1), ("bfloat16", 1.0)),
    ],
)
def test_a_value_that_no_tensor_has_is_refused(dtype: str, value: Any) -> None:
    with pytest.raises(CorruptError, match="no value of a tensor"):
        Plain.roles({"dtype": dtype, "value": value}, (2,))
