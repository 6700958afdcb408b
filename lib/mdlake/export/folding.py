"""Batch normalisation folded into the scales of int8 convolutions before it. Jacob et al. (2018), section 3.2.

In evaluation it multiplies each channel by a number and adds one: the levels stay as they are, the scales take the
factors, a bias the rest. Then a runtime can compute convolution, bias and rectifier in integers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mdlake.models.schemes import Linear


def fold_batch_norms(proto: onnx.ModelProto, levels: dict[str, Linear]) -> None:
    """Changes graph and scales in place. A normalisation with a factor that is not positive stays a node."""
    graph = proto.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    readers = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        layer = makers.get(norm.input[0])
        if layer is None or layer.op_type != "Conv" or readers.count(norm.input[0]) > 1:
            continue
        weight = layer.input[1]
        if weight not in levels or readers.count(weight) > 1 or not all(name in values for name in norm.input[1:]):
            continue
        factor, shift = _line(norm, values)
        scale = (levels[weight].scale * factor).astype(np.float32)
        if not (scale > 0).all():  # runtimes expect scales above 0
            continue
        levels[weight] = replace(levels[weight], scale=scale)
        if len(layer.input) > 2:
            shift = shift + numpy_helper.to_array(values[layer.input[2]]) * factor
            del layer.input[2:]
        folded = f"{weight}_folded_bias"
        graph.initializer.append(numpy_helper.from_array(shift.astype(np.float32), folded))
        layer.input.append(folded)
        layer.output[0] = norm.output[0]
        graph.node.remove(norm)
    _drop_unused(graph)


def _line(norm: onnx.NodeProto, values: dict[str, onnx.TensorProto]) -> tuple[np.ndarray, np.ndarray]:
    """float64 [channels]: what each channel is multiplied by, and what is added."""
    gain, bias, mean, variance = (numpy_helper.to_array(values[name]).astype(np.float64) for name in norm.input[1:])
    epsilon = next((helper.get_attribute_value(a) for a in norm.attribute if a.name == "epsilon"), 1e-5)
    factor = gain / np.sqrt(variance + epsilon)
    return factor, bias - mean * factor


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
