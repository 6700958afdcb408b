"""A float graph in QDQ form: int8 weights under a DequantizeLinear, uint8 activations through a pair of both.

What they compute is that of Jacob et al. (2018): (level - zero) * scale. Weights get the levels that the artifact
keeps, as they are. Vectors (biases, statistics) stay float32: integer kernels take biases in 32 bits, with a scale that
the runtime knows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from mdlake.models.schemes import Kept, Linear
from mdlake.shrink.quantize.activations import QuantizedInput
from mdlake.shrink.quantize.linear import quantize_linear

_BITS = 8


def int8_levels(proto: onnx.ModelProto, schemes: Mapping[str, Kept], round_weights: bool) -> dict[str, Linear]:
    """The levels of those matrices of the graph that have up to 8 bits, by name.

    Args:
        round_weights: gives float32 matrices that are kept otherwise 8 bits, with a scale per index of axis 0.
    """
    found = {}
    for tensor in proto.graph.initializer:
        scheme = schemes.get(tensor.name)
        if scheme is None or len(tensor.dims) < 2 or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        if isinstance(scheme, Linear) and scheme.bits <= _BITS:
            found[tensor.name] = scheme
        elif round_weights:
            found[tensor.name] = quantize_linear(scheme.restore(), _BITS, "channel")
    return found


def quantize_weights(proto: onnx.ModelProto, levels: Mapping[str, Linear]) -> None:
    """Puts int8 levels in place of weights. A table of one scale is looked up first and dequantised then."""
    graph = proto.graph
    kept = [tensor for tensor in graph.initializer if tensor.name not in levels]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    first: list[onnx.NodeProto] = []
    nodes = list(graph.node)
    for name, scheme in levels.items():
        stored, scale, zero = (f"{name}_{part}" for part in ("quantized", "scale", "zero_point"))
        by_row = len(scheme.scale) > 1
        sizes = scheme.scale if by_row else scheme.scale[0]
        _add(proto, {stored: scheme.levels, scale: sizes, zero: np.zeros_like(sizes, np.int8)})
        readers = [node for node in nodes if name in node.input]
        if not by_row and all(node.op_type == "Gather" and node.input[0] == name for node in readers):
            for node in readers:
                looked_up, node.input[0] = node.output[0], stored
                node.output[0] = f"{looked_up}_quantized"
                after = _dequantize(node.output[0], scale, zero, looked_up)
                nodes.insert(nodes.index(node) + 1, after)
        else:
            first.append(_dequantize(stored, scale, zero, name, by_row))
    del graph.node[:]
    graph.node.extend([*first, *nodes])


def quantize_activations(proto: onnx.ModelProto, inputs: Mapping[str, QuantizedInput]) -> int:
    """Rounds what goes into layers, told by the names of their weights, to uint8; how many tensors that are."""
    nodes: list[onnx.NodeProto] = []
    done: dict[tuple[str, float, int], str] = {}
    turned = {node.output[0]: node.input[0] for node in proto.graph.node if node.op_type == "Transpose"}
    for node in proto.graph.node:
        weight = turned.get(node.input[1], node.input[1]) if len(node.input) > 1 else ""
        if weight in inputs and node.op_type in ("Conv", "Gemm", "MatMul"):
            value, scale, zero = (node.input[0], *_scale_and_zero(inputs[weight]))
            if (value, float(scale), int(zero)) not in done:
                names = [f"{value}_{len(done)}_{part}" for part in ("scale", "zero_point", "quantized", "dequantized")]
                _add(proto, {names[0]: scale, names[1]: zero})
                nodes.append(helper.make_node("QuantizeLinear", [value, *names[:2]], [names[2]], f"{names[2]}_node"))
                nodes.append(_dequantize(names[2], names[0], names[1], names[3]))
                done[value, float(scale), int(zero)] = names[3]
            node.input[0] = done[value, float(scale), int(zero)]
        nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return len(done)


def _scale_and_zero(found: QuantizedInput) -> tuple[np.ndarray, np.ndarray]:
    """As `fake_quantize` has them: float32 [] and uint8 []."""
    low, high = found.low.float(), found.high.float()
    scale = ((high - low) / (2**_BITS - 1)).clamp_min(torch.finfo(torch.float32).tiny)
    return scale.numpy(), torch.round(-low / scale).to(torch.uint8).numpy()


def _dequantize(levels: str, scale: str, zero: str, values: str, by_row: bool = False) -> onnx.NodeProto:
    node = helper.make_node("DequantizeLinear", [levels, scale, zero], [values], f"{values}_dequantize")
    if by_row:
        node.attribute.append(helper.make_attribute("axis", 0))
    return node


def _add(proto: onnx.ModelProto, arrays: Mapping[str, np.ndarray | np.generic]) -> None:
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items())
