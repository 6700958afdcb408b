"""An ONNX file beside the network that it was made of: both run on the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch

from mdlake.models.bundle import Model
from mdlake.models.metrics import Measures


@dataclass(frozen=True)
class Comparison:
    """`difference` is the largest of any two logits, `largest` the largest logit; measures are None without labels."""

    rows: int
    difference: float
    largest: float
    torch: Measures | None = None
    onnx: Measures | None = None


@torch.no_grad()
def compare(
    model: Model, data: bytes, batches: Iterable[tuple[tuple[torch.Tensor, ...], np.ndarray | None]]
) -> Comparison:
    """Runs the model and the ONNX file `data` on batches of inputs and, where there are any, labels."""
    session = _session(data)
    ours, theirs, labels = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for inputs, known in batches:
        ours.append(model.module(*inputs).float().numpy())
        feed = {name: tensor.numpy() for name, tensor in zip(model.features.names, inputs, strict=True)}
        theirs.append(np.asarray(session.run(None, feed)[0]))
        labels.extend([] if known is None else [known])
    if not ours:
        return Comparison(0, 0.0, 0.0)
    first, second = np.concatenate(ours), np.concatenate(theirs)
    difference, largest = (float(np.abs(values).max(initial=0.0)) for values in (first - second, first))
    measures = (
        [model.task.measure(logits, np.concatenate(labels)) for logits in (first, second)] if labels else [None] * 2
    )
    return Comparison(len(first), difference, largest, *measures)


def _session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
