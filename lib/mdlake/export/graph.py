"""A network as an ONNX graph in float32, as torch's exporter gives it for any number of rows.

The network is traced with its weights as inputs, which then become initialisers under their names in the network's
state: so no optimisation of the exporter folds one tensor into another, and those of the artifact are found again.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.func import functional_call

from mdlake.errors import InvalidArgumentError
from mdlake.models.bundle import Model
from mdlake.shrink.structured.macs import macs_per_row
from mdlake.version import VERSION

OUTPUT = "logits"
ROWS = "rows"
_PREFIX = "mdlake."
_MOST_BYTES = (1 << 31) - (1 << 20)  # protobuf's limit, less what is not weights


def onnx_graph(model: Model) -> onnx.ModelProto:
    """The model with inputs named as `Inputs.names`, an output `logits` and the description as metadata.

    Deterministic: it names no place in this machine's files, and no time.

    Raises:
        InvalidArgumentError: the exporter cannot trace the network, or a protobuf cannot hold its weights.
    """
    state = model.module.state_dict()
    if taken := {*state} & {*model.features.names, OUTPUT}:
        raise InvalidArgumentError(
            f"tensors of this network have names of inputs or outputs: {', '.join(sorted(taken))}"
        )
    if (size := sum(tensor.nbytes for tensor in state.values())) > _MOST_BYTES:
        raise InvalidArgumentError(f"{size} bytes of weights are more than one ONNX file holds ({_MOST_BYTES})")
    proto = _traced(model, state)
    _strip(proto)
    graph = proto.graph
    graph.name = model.network
    used = {name for node in graph.node for name in node.input}
    for name, tensor in state.items():
        if name in used:
            graph.initializer.append(numpy_helper.from_array(tensor.detach().cpu().contiguous().numpy(), name))
    inputs = [value for value in graph.input if value.name in model.features.names]
    del graph.input[:]
    graph.input.extend(inputs)
    proto.producer_name, proto.producer_version = "mdlake", VERSION
    onnx.helper.set_model_props(proto, {_PREFIX + name: value for name, value in _description(model).items()})
    return proto


def _traced(model: Model, state: Mapping[str, torch.Tensor]) -> onnx.ModelProto:
    inputs = model.features.tensors(
        model.features.made_up(2)
    )  # of one row, the number of rows would be taken for fixed
    rows = torch.export.Dim(ROWS)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                _Exposed(model.module),
                (dict(state), inputs),
                dynamo=True,
                input_names=[*state, *model.features.names],
                output_names=[OUTPUT],
                dynamic_shapes=(dict.fromkeys(state), tuple({0: rows} for _ in inputs)),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = str(error.__cause__ or error).strip().partition("\n")[0]
        raise InvalidArgumentError(f"torch cannot export the network {model.network!r} to ONNX: {cause}") from error
    assert program is not None
    return program.model_proto


class _Exposed(nn.Module):
    """A network whose weights are arguments; its own are out of torch's sight."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._held = (module,)

    def forward(self, weights: dict[str, torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return functional_call(self._held[0], weights, inputs)


def _strip(proto: onnx.ModelProto) -> None:
    """Takes out what the exporter tells of source files and of its own doings, and inferred shapes."""
    graph = proto.graph
    del graph.value_info[:]
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _description(model: Model) -> dict[str, str]:
    """Strings, by name; what is none is JSON."""
    told: dict[str, Any] = {
        "features": model.features.to_json(),
        "macs": macs_per_row(model),
        "metrics": model.metrics,
        "lineage": model.lineage,
        "options": model.options,
    }
    texts = {name: str(value) for name, value in model.task.to_json().items()}
    return {
        "network": model.network,
        **texts,
        **{name: json.dumps(value, sort_keys=True) for name, value in told.items()},
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that it does not need here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
