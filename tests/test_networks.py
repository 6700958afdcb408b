"""The registered networks of images: what they are is what their papers say, and options from a file cannot harm."""

from __future__ import annotations

import pytest
import torch

from mdlake.errors import InvalidArgumentError
from mdlake.models.networks import build_network, count_parameters


@pytest.mark.parametrize(
    ("name", "options", "shape", "parameters"),
    [
        ("perceptron", {}, (1, 28, 28), 266_610),
        ("lenet_5", {}, (1, 28, 28), 431_080),
        ("convnet", {"stages": [[6], [16]], "kernel": 5, "padding": 2, "hidden": [120, 84]}, (1, 28, 28), 61_706),
        ("convnet", {}, (1, 28, 28), 1_495_146),
        ("resnet", {"blocks": 3}, (3, 32, 32), 272_474),
        ("mobilenet", {}, (3, 32, 32), 543_050),
    ],
)
def test_parameters_and_outputs(name: str, options: dict, shape: tuple[int, ...], parameters: int) -> None:
    network = build_network(name, options).eval()
    assert count_parameters(network) == parameters
    assert network(torch.rand(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("perceptron", {"hidden": [0]}),
        ("perceptron", {"hidden": [8] * 5000}),
        ("perceptron", {"depth": 3}),
        ("lenet_5", {"size": 15}),
        ("lenet_5", {"filters": [20]}),
        ("lenet_5", {"hidden": 2.5}),
        ("convnet", {"stages": []}),
        ("convnet", {"stages": [[8, 8, 8], [8]], "size": 10}),
        ("convnet", {"padding": -1}),
        ("convnet", {"dropout": 1}),
        ("resnet", {"blocks": 1 << 20}),
        ("resnet", {"widths": [16, -1]}),
        ("mobilenet", {"first": 1 << 40}),
        ("encoder", {"vocabulary": 10}),
        ("encoder", {"vocabulary": 10, "length": 4, "layers": 1 << 20}),
    ],
)
def test_options_that_make_no_network_are_refused(name: str, options: dict) -> None:
    with pytest.raises(InvalidArgumentError):
        build_network(name, options, device="meta")
