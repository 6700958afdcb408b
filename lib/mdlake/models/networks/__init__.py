"""Architectures by name. A file names one of these, or the caller gives what makes it (`mdlake.models.own`): no code is
loaded.

To add one: a file with a frozen options dataclass (its fields are what is stored, checked when made) and
a module that takes it, and an entry below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError, UnsupportedVersionError
from mdlake.models.networks.convnet import ConvNet, ConvNetOptions
from mdlake.models.networks.encoder import Encoder, EncoderOptions
from mdlake.models.networks.lenet import LeNet5, LeNet5Options, Perceptron, PerceptronOptions
from mdlake.models.networks.mobilenet import MobileNet, MobileNetOptions
from mdlake.models.networks.resnet import ResNet, ResNetOptions
from mdlake.models.networks.tabular_ensemble import TabularEnsemble, TabularEnsembleOptions
from mdlake.models.networks.tabular_mlp import TabularMlp, TabularMlpOptions
from mdlake.models.own import LIBRARY, Factory, Own


@dataclass(frozen=True)
class Network:
    """An architecture: what it is made from, and the class that is made."""

    options: type[Any]
    module: type[nn.Module]


NETWORKS: dict[str, Network] = {
    "convnet": Network(ConvNetOptions, ConvNet),
    "encoder": Network(EncoderOptions, Encoder),
    "lenet_5": Network(LeNet5Options, LeNet5),
    "mobilenet": Network(MobileNetOptions, MobileNet),
    "perceptron": Network(PerceptronOptions, Perceptron),
    "resnet": Network(ResNetOptions, ResNet),
    "tabular_ensemble": Network(TabularEnsembleOptions, TabularEnsemble),
    "tabular_mlp": Network(TabularMlpOptions, TabularMlp),
}


def build_network(name: str, options: Mapping[str, Any], *, device: str | None = None, own: Own = LIBRARY) -> nn.Module:
    """The untrained network. On the device "meta" it takes no memory, whatever sizes the options name.

    Raises:
        UnsupportedVersionError: no network has this name.
        InvalidArgumentError: it is a user's, and `own` does not have it; or the options do not fit.
    """
    if factory := own.factory(name):
        return _build_own(name, factory, options, device)
    if not isinstance(name, str) or name not in NETWORKS:
        raise UnsupportedVersionError(
            f"no network is called {name!r}; there are {', '.join(sorted(NETWORKS))}. "
            "Install a newer mdlake, or pass model_class"
        )
    try:
        chosen = NETWORKS[name].options(**options)
    except TypeError as error:
        raise InvalidArgumentError(f"these options do not fit the network {name!r}: {error}") from error
    with torch.device(device or "cpu"):
        return NETWORKS[name].module(chosen)


def _build_own(name: str, factory: Factory, options: Mapping[str, Any], device: str | None) -> nn.Module:
    try:
        with torch.device(device or "cpu"):
            module = factory(**options)
    except Exception as error:  # whatever a user's code raises
        told = f"{type(error).__name__}: {error}"
        raise InvalidArgumentError(f"the network {name!r} cannot be made with the options {options}: {told}") from error
    if not isinstance(module, nn.Module):
        raise InvalidArgumentError(f"the network {name!r} is made as {type(module).__name__}, not as a torch.nn.Module")
    return module


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
