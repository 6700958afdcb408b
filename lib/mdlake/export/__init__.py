"""Artifacts for other runtimes: a model as one ONNX file, in float32 or with int8 weights.

    graph       network -> ONNX graph, weights under their names
    quantized   the same in QDQ form: the artifact's own levels as int8, calibrated activations as uint8
    folding     batch normalisation into the scales of int8 convolutions
    check       the file in ONNX Runtime beside the network in torch

What goes in are the tensors that `Model.features` makes of a table, under their names, any number of rows; what comes
out are logits. All else that is known of the model is in the metadata, under `mdlake.*`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mdlake.artifact import load_with_schemes
from mdlake.errors import InvalidArgumentError, located
from mdlake.lake.store import TAKEN, open_object, put_new
from mdlake.lake.url import join_url
from mdlake.models.batches import Source, ordered_batches, sample
from mdlake.models.bundle import Model
from mdlake.models.opening import open_shards
from mdlake.models.own import Factory, OwnInputs
from mdlake.models.schemes import Kept

if TYPE_CHECKING:
    import onnx

    from mdlake.export.check import Comparison
    from mdlake.shrink.quantize.activations import QuantizedInput

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_TRAIN = "train"
_CALIBRATION_ROWS, _CALIBRATION_BATCHES = 512, 4
_MADE_UP_ROWS = 64


@dataclass(frozen=True)
class ExportOptions:
    """`int8`: weights that the artifact keeps as levels of up to 8 bits are these levels in the file.

    `round_weights`: the other matrices get 8 bits too, with a scale per channel. `shards`: URL of the folder of
    splits; the file is compared on `split` and, with `int8`, what goes into Linear and Conv2d of int8 weights is
    rounded to 8 bits, in ranges calibrated on `train`.
    """

    int8: bool = False
    round_weights: bool = False
    shards: str = ""
    split: str = "validation"

    def __post_init__(self) -> None:
        if self.round_weights and not self.int8:
            raise InvalidArgumentError("round_weights goes with int8")


@dataclass(frozen=True)
class ExportReport:
    """`int8_weights` by name, and how many `activations` are rounded; `comparison` with the artifact in torch.

    It is on the rows of a split, or on made-up ones where no shards were given.
    """

    bytes: int
    opset: int
    inputs: tuple[str, ...]
    int8_weights: tuple[str, ...]
    activations: int
    comparison: Comparison


def export_onnx(
    url: str,
    target: str,
    options: ExportOptions | None = None,
    storage: Mapping[str, str] | None = None,
    *,
    model_class: Factory | str | None = None,
    inputs: Any = None,
) -> ExportReport:
    """Writes the artifact at `url` as an ONNX file at `target`, atomically, once it has run in ONNX Runtime.

    Deterministic: the same artifact, options, shards and packages give the same bytes.

    Args:
        model_class, inputs: as for `load_artifact`, for those that are not the library's.

    Raises:
        InvalidArgumentError: a package is missing, there is a file at `target`, no weight would be int8 though that was
            asked for, or the network cannot be exported.
        CorruptError, TruncatedError, UnsupportedVersionError: what `load_artifact` raises.
    """
    chosen = options or ExportOptions()
    _need_packages()
    goal, name = open_object(target, storage)
    with located(file=goal.url_of(name)):
        if (here := goal.local_path(name)) and here.is_dir():
            raise InvalidArgumentError("this is a folder; name a file")
        if goal.exists(name):
            raise InvalidArgumentError(TAKEN)
    model, schemes = load_with_schemes(url, storage, model_class=model_class, inputs=inputs)
    if chosen.shards and isinstance(model.features, OwnInputs):
        model = replace(model, features=_shown(model, model.features, chosen, storage))
    with located(file=url):
        proto, weights, activations = _converted(model, schemes, chosen, storage)
    data = proto.SerializeToString(deterministic=True)
    comparison = _compared(model, data, chosen, storage)
    put_new(goal, name, data)
    opset = next(opset.version for opset in proto.opset_import if opset.domain in ("", "ai.onnx"))
    return ExportReport(len(data), opset, model.features.names, weights, activations, comparison)


def _shown(model: Model, inputs: OwnInputs, options: ExportOptions, storage: Mapping[str, str] | None) -> OwnInputs:
    """The inputs with rows to trace the network by."""
    shards = _source(model, options.shards, options.split, storage).shards
    for unit in shards.units():
        table = shards.read(unit, inputs.columns).slice(0, _MADE_UP_ROWS)
        if table.num_rows:
            return replace(inputs, seen=inputs.transform(table))
    return inputs


def _converted(
    model: Model, schemes: Mapping[str, Kept], options: ExportOptions, storage: Mapping[str, str] | None
) -> tuple[onnx.ModelProto, tuple[str, ...], int]:
    """The file, which weights are int8 in it, how many activations are rounded."""
    from mdlake.export.folding import fold_batch_norms
    from mdlake.export.graph import onnx_graph
    from mdlake.export.quantized import int8_levels, quantize_activations, quantize_weights

    proto = onnx_graph(model)
    if not options.int8:
        return proto, (), 0
    levels = int8_levels(proto, schemes, options.round_weights)
    if not levels:
        raise InvalidArgumentError(
            "no matrix of this artifact is kept as linear levels of up to 8 bits: ask for its weights to be rounded "
            "(round_weights, --round-weights), or export it in float32"
        )
    inputs = _calibrated(model, options.shards, storage) if options.shards else {}
    fold_batch_norms(proto, levels)
    activations = quantize_activations(proto, {name: found for name, found in inputs.items() if name in levels})
    quantize_weights(proto, levels)
    return proto, tuple(levels), activations


def _calibrated(model: Model, shards: str, storage: Mapping[str, str] | None) -> dict[str, QuantizedInput]:
    """Ranges of the inputs of layers over some rows of the train split, by the layers' weights."""
    from mdlake.shrink.quantize.activations import ActivationOptions, quantize_activations

    rows = sample(_source(model, shards, _TRAIN, storage), _CALIBRATION_BATCHES, 0, _CALIBRATION_ROWS)
    return quantize_activations(copy.deepcopy(model.module), rows, ActivationOptions())


def _compared(model: Model, data: bytes, options: ExportOptions, storage: Mapping[str, str] | None) -> Comparison:
    from mdlake.export.check import compare

    if not options.shards:
        return compare(model, data, [(model.features.tensors(model.features.made_up(_MADE_UP_ROWS)), None)])
    source = _source(model, options.shards, options.split, storage)
    return compare(model, data, ((batch.inputs, batch.labels.numpy()) for batch in ordered_batches(source)))


def _source(model: Model, shards: str, split: str, storage: Mapping[str, str] | None) -> Source:
    columns = [*dict.fromkeys([*model.features.columns, model.task.column])]
    return Source(open_shards(join_url(shards, split), storage, columns), model.features, model.task)


def _need_packages() -> None:
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise InvalidArgumentError(
            f'ONNX files need {", ".join(missing)}, not installed here: pip install "mdlake[onnx]"'
        )
