"""Which channels belong together: a trace of the network tells where each channel goes.

When a filter goes, so does its channel of the batch norm behind it, the weights that read it in the next
layer, the filter of a depthwise convolution on it, and, where channels are added, the filter that writes the
other summand. These make one unit. Fang, Ma, Song, Mi and Wang, DepGraph: Towards Any Structural Pruning
(2023), here with a number for each channel that flows along the graph instead of rules between layers:
layers that write give new numbers, additions join them, flattening repeats them.

What the trace does not know ends the units that reach it: they stay. So do inputs, outputs, and the channels
on both sides of convolutions with groups other than depthwise ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.fx.proxy import TraceError

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.curvature import evaluating

_Norm = nn.BatchNorm1d | nn.BatchNorm2d
_KEEPING = (  # modules that leave channels where they are, and treat each alone
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh),
    *(nn.Dropout, nn.Dropout2d, nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
_KEEPING_CALLS = {
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh"),
    *("dropout", "contiguous", "clone", "neg", "abs", "boolean_dispatch"),  # the last is what max_pool2d is traced as
    *("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
}
_JOINING_CALLS = {
    *("add", "add_", "iadd", "sub", "sub_", "isub", "mul", "mul_", "imul", "truediv", "div", "maximum", "minimum"),
}
_ASKING_CALLS = {"size", "getattr", "dim"}  # what comes back is no tensor
_RESHAPING_CALLS = {"flatten", "reshape", "view", "squeeze"}


@dataclass(frozen=True)
class Slot:
    """A place where channels are kept: axis 0 (what a layer writes) or 1 (what it reads) of a module's weight."""

    module: str
    axis: int


@dataclass
class Units:
    """`numbers` has the unit of each channel of each slot, -1 for those that must stay; units count from 0."""

    numbers: dict[Slot, np.ndarray]
    count: int = 0

    def written(self) -> dict[Slot, np.ndarray]:
        """The slots of axis 0."""
        return {slot: numbers for slot, numbers in self.numbers.items() if slot.axis == 0}


@dataclass
class _Flow:
    """The channels of a tensor: a number for each index of `axis`."""

    numbers: np.ndarray
    axis: int


@dataclass
class _Trace:
    modules: dict[str, nn.Module]
    slots: dict[Slot, np.ndarray] = field(default_factory=dict)
    flows: dict[fx.Node, _Flow] = field(default_factory=dict)
    joined: list[int] = field(default_factory=list)  # to which number each number was joined
    kept: set[int] = field(default_factory=set)

    def new(self, count: int) -> np.ndarray:
        first = len(self.joined)
        self.joined.extend(range(first, first + count))
        return np.arange(first, first + count)

    def root(self, number: int) -> int:
        while self.joined[number] != number:
            self.joined[number] = self.joined[self.joined[number]]
            number = self.joined[number]
        return number

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.root(a), self.root(b)))
            self.joined[high] = low

    def keep(self, numbers: Iterable[int]) -> None:
        self.kept.update(int(number) for number in numbers)

    def put(self, module: str, axis: int, numbers: np.ndarray) -> None:
        """A module that is called twice has both its calls' channels joined."""
        slot = Slot(module, axis)
        if slot in self.slots:
            self.join(self.slots[slot], numbers)
        self.slots[slot] = numbers

    def units(self) -> Units:
        kept = {self.root(number) for number in self.kept}
        roots = {slot: [self.root(number) for number in numbers.tolist()] for slot, numbers in self.slots.items()}
        free = dict.fromkeys(root for numbers in roots.values() for root in numbers if root not in kept)
        places = {root: place for place, root in enumerate(free)}
        found = {slot: np.array([places.get(root, -1) for root in numbers], int) for slot, numbers in roots.items()}
        return Units(found, len(places))


def channel_units(network: nn.Module, example_inputs: tuple[torch.Tensor, ...]) -> Units:
    """The units of a network that torch.fx can trace; `example_inputs` only tell the shapes."""
    try:
        with evaluating(network), torch.no_grad():
            traced = fx.symbolic_trace(network)
            ShapeProp(traced).propagate(*example_inputs)
    except (TraceError, TypeError, NotImplementedError) as error:
        raise InvalidArgumentError(
            f"the network cannot be traced ({error}): its forward pass must not depend on values of tensors"
        ) from error
    trace = _Trace(dict(network.named_modules()))
    for node in traced.graph.nodes:
        if flow := _flow(trace, node):
            trace.flows[node] = flow
    return trace.units()


def _flow(trace: _Trace, node: fx.Node) -> _Flow | None:
    """What flows out of a node; None if that is no tensor."""
    if _called(node) in _ASKING_CALLS:
        return None
    sources = [trace.flows[source] for source in node.all_input_nodes if source in trace.flows]
    if node.op == "call_module":
        found = _through_module(trace, node, sources)
    elif node.op in ("call_function", "call_method"):
        found = _through_call(trace, node, sources)
    else:
        found = None
    if found is None:  # nothing is known of this node: what flows in must stay, and what flows out
        for source in sources:
            trace.keep(source.numbers)
        shape = _shape(node)
        if shape is None or node.op == "output":
            return None
        axis = 1 if len(shape) > 1 else 0
        found = _Flow(trace.new(shape[axis] if shape else 1), axis)
        trace.keep(found.numbers)
    return found


def _through_module(trace: _Trace, node: fx.Node, sources: list[_Flow]) -> _Flow | None:
    name, module = str(node.target), trace.modules[str(node.target)]
    if len(sources) != 1:
        return None
    (source,) = sources
    if isinstance(module, _KEEPING):
        return source
    if isinstance(module, nn.Flatten):
        return _reshaped(node, source)
    if isinstance(module, _Norm) and source.axis == 1:
        if module.weight is not None or module.running_mean is not None:
            trace.put(name, 0, source.numbers)
        return source
    if isinstance(module, nn.Linear):
        return _through_linear(trace, node, name, module, source)
    return _through_convolution(trace, name, module, source) if isinstance(module, nn.Conv2d) else None


def _through_linear(trace: _Trace, node: fx.Node, name: str, module: nn.Linear, source: _Flow) -> _Flow | None:
    shape = _shape(node)
    if shape is None:
        return None
    last = len(shape) - 1
    read = source.numbers
    if source.axis != last:  # channels that lie on another axis are not what this layer reads
        trace.keep(read)
        read = trace.new(module.in_features)
        trace.keep(read)
    trace.put(name, 1, read)
    written = trace.new(module.out_features)
    trace.put(name, 0, written)
    return _Flow(written, last)


def _through_convolution(trace: _Trace, name: str, module: nn.Conv2d, source: _Flow) -> _Flow:
    if module.groups == module.in_channels == module.out_channels and module.groups > 1:
        trace.put(name, 0, source.numbers)  # depthwise: each filter belongs to the channel it reads
        return source
    written = trace.new(module.out_channels)
    trace.put(name, 0, written)
    if module.groups > 1:
        trace.keep([*source.numbers, *written])
    else:
        trace.put(name, 1, source.numbers)
    return _Flow(written, 1)


def _through_call(trace: _Trace, node: fx.Node, sources: list[_Flow]) -> _Flow | None:
    called = _called(node)
    if not sources:
        return None
    if called in _KEEPING_CALLS and len(sources) == 1:
        return sources[0]
    if called in _JOINING_CALLS:
        return _joined(trace, node, sources)
    if called in _RESHAPING_CALLS and len(sources) == 1:
        return _reshaped(node, sources[0])
    if called in ("mean", "sum") and len(sources) == 1:
        return _averaged(node, sources[0])
    if called in ("cat", "concat") and len(sources) == len(node.args[0]):  # type: ignore[arg-type]
        return _concatenated(trace, node, sources)
    return None


def _joined(trace: _Trace, node: fx.Node, sources: list[_Flow]) -> _Flow | None:
    """Tensors of one shape: their channels are one another's. A scalar changes nothing."""
    shapes = {_shape(source) for source in node.all_input_nodes}
    if len(sources) != len(node.all_input_nodes) or len(shapes) > 1 or len({flow.axis for flow in sources}) > 1:
        return None
    for other in sources[1:]:
        trace.join(sources[0].numbers, other.numbers)
    return sources[0]


def _reshaped(node: fx.Node, source: _Flow) -> _Flow | None:
    """Channels with the positions after them folded in: each channel's number is repeated."""
    before, after = _shape(node.all_input_nodes[0]), _shape(node)
    if before is None or after is None or source.axis != 1 or _widths_written_out(node):
        return None
    if before[:2] == after[:2]:
        return source
    inner = int(np.prod(before[2:], dtype=int))
    if after == (before[0], before[1] * inner):
        return _Flow(np.repeat(source.numbers, inner), 1)
    return None


def _widths_written_out(node: fx.Node) -> bool:
    """Whether a view has a number for the channels in the code itself, which no cut could change."""
    sizes = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], (list, tuple)) else node.args[1:]
    return _called(node) in ("view", "reshape") and isinstance(sizes[1], int) and sizes[1] != -1  # type: ignore[index]


def _averaged(node: fx.Node, source: _Flow) -> _Flow | None:
    """A mean over positions behind the channels leaves these where they are."""
    before, after = _shape(node.all_input_nodes[0]), _shape(node)
    axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if before is None or after is None or source.axis != 1 or axes is None:
        return None
    listed: list[Any] = list(axes) if isinstance(axes, (list, tuple)) else [axes]
    return source if all(int(axis) % len(before) > 1 for axis in listed) else None


def _concatenated(trace: _Trace, node: fx.Node, sources: list[_Flow]) -> _Flow | None:
    axis, shape = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0), _shape(node)
    if shape is None or not isinstance(axis, int) or any(flow.axis != axis % len(shape) for flow in sources):
        return None
    return _Flow(np.concatenate([flow.numbers for flow in sources]), sources[0].axis)


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    found = node.meta.get("tensor_meta")
    shape = getattr(found, "shape", None)
    return None if shape is None else tuple(shape)


def _called(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
