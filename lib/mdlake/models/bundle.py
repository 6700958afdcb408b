"""A trained model with all that is needed to use it: network, feature specification, task, provenance.

A bundle file (`model.safetensors`) has the weights as plain floats and the rest as JSON. An artifact
(`mdlake.artifact`) holds the same in fewer bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mdlake.errors import CorruptError, InvalidArgumentError, located
from mdlake.lake.store import Store
from mdlake.models.inputs import Inputs, inputs_from_json
from mdlake.models.networks import build_network
from mdlake.models.networks.resized import resize
from mdlake.models.own import LIBRARY, Own, is_path
from mdlake.models.tasks import Task, task_from_json
from mdlake.models.tensors import read_tensors, write_tensors

MODEL_FILE = "model.safetensors"


@dataclass
class Model:
    """`metrics` are those of the validation split; `lineage` says what it was made from."""

    network: str
    options: dict[str, Any]
    features: Inputs
    task: Task
    module: nn.Module
    metrics: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)


def save_bundle(store: Store, path: str, model: Model) -> int:
    """Writes one file and returns its size in bytes."""
    about = {
        "network": model.network,
        "options": model.options,
        "features": model.features.to_json(),
        **model.task.to_json(),
        "metrics": model.metrics,
        "lineage": model.lineage,
    }
    return write_tensors(store, path, model.module.state_dict(), about)


def load_bundle(store: Store, path: str, own: Own = LIBRARY) -> Model:
    """The model in eval mode, on the CPU. A network or inputs of a user's own must be given."""
    tensors, about = read_tensors(store, path)
    with located(file=store.url_of(path)):
        try:
            name, options = about["network"], about["options"]
            features, task = inputs_from_json(about["features"], own), task_from_json(about)
            metrics, lineage = dict(about["metrics"]), dict(about["lineage"])
        except (KeyError, TypeError) as error:
            raise CorruptError(f"not a model: {error!r} is missing from its metadata") from error
        module = restore_network(name, options, tensors, own)
    return Model(name, options, features, task, module.eval(), metrics, lineage)


def restore_network(
    name: str, options: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], own: Own = LIBRARY
) -> nn.Module:
    """The network with these weights, its layers cut or taken apart as the weights are.

    It is made without memory first, so that options which do not fit the weights cost none. A class that the
    caller gave for a name that is no import path is taken as it is made; the empty name is that of weights alone.

    Raises:
        UnsupportedVersionError, InvalidArgumentError: as `build_network` and `assign_weights`.
        CorruptError: the name is none.
    """
    if not isinstance(name, str):
        raise CorruptError(f"the name of a network is text, not {name!r}")
    users = own.factory(name) is not None

    def made(device: str) -> nn.Module:
        return build_network(name, options, device=device, own=own)

    def filled(module: nn.Module) -> nn.Module:
        if not (users and name) or is_path(name):
            resize(module, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        assign_weights(module, tensors)
        return module

    try:
        module = made("meta")
    except InvalidArgumentError:
        if not users:
            raise
        return filled(made("cpu"))  # a factory that looks at its numbers, which there are none of yet
    module = filled(module)
    if users or any(buffer.is_meta for buffer in module.buffers()):  # what is computed, not stored
        return filled(made("cpu"))
    return module


def assign_weights(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Gives a module, made on the device "meta", these tensors; an error that names what does not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is not part of the class" for name in found if name not in expected]
    faults += [
        f"{name} is {list(expected[name])} in the class, but {list(found[name])} in the file"
        for name in expected
        if name in found and expected[name] != found[name]
    ]
    if faults:
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        raise InvalidArgumentError(f"{type(module).__name__} does not fit the weights: {shown}")
    module.load_state_dict(dict(tensors), assign=True)
