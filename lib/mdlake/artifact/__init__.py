"""Artifacts: a model in as few bytes as it takes, as one safetensors file of blocks.

    container   named byte strings and a description in one file
    layout      which they are: weights under their schemes (`mdlake.models.schemes`), vocabularies, and the rest as
                JSON: the architecture by name with its options, label, metrics on the validation split, lineage
    arrays      the arrays of tensors as blocks
    plain       from and to plain safetensors files
    inspection  what the bytes are spent on

Byte for byte in `schemas/FORMAT.md`, section "Artifact". Nothing loaded runs code: the architecture comes from the
registry of networks, or the caller gives what makes it. An artifact of weights alone has no architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mdlake.artifact import container
from mdlake.artifact.arrays import LEVELS, SHARED, Parts
from mdlake.artifact.inspection import PartReport, inspect
from mdlake.artifact.layout import (
    MAX_BYTES,
    REPAIR,
    lay_out,
    lay_out_weights,
    open_parts,
    read_inputs,
    read_schemes,
)
from mdlake.artifact.plain import pack, unpack
from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError, advised, located
from mdlake.lake.store import open_object
from mdlake.models.bundle import Model, restore_network
from mdlake.models.compact import compact
from mdlake.models.own import Factory, Own, made_by
from mdlake.models.schemes import Kept
from mdlake.models.tasks import task_from_json

__all__ = [
    "LEVELS",
    "MAX_BYTES",
    "SHARED",
    "PartReport",
    "artifact_bytes",
    "inspect",
    "load_artifact",
    "load_model",
    "load_weights",
    "load_with_schemes",
    "pack",
    "parse_artifact",
    "save_model",
    "save_weights",
    "unpack",
]


def artifact_bytes(model: Model, schemes: Mapping[str, Kept] | None = None, effort: str = "max") -> bytes:
    """The artifact of `model`. Tensors that `schemes` does not name are kept bit for bit.

    Deterministic: nothing but the arguments goes into the bytes.
    """
    if not isinstance(model, Model):
        raise InvalidArgumentError(
            f"save_model takes a Model; save_weights takes any module, as {type(model).__name__}"
        )
    _check_schemes(model.module.state_dict(), schemes or {})
    return container.pack(*lay_out(model, schemes or {}, effort))


def save_model(
    url: str,
    model: Model,
    schemes: Mapping[str, Kept] | None = None,
    storage: Mapping[str, str] | None = None,
    effort: str = "max",
) -> int:
    """Writes the artifact at `url`, atomically, and returns its size in bytes."""
    store, path = open_object(url, storage)
    data = artifact_bytes(model, schemes, effort)
    store.put(path, data)
    return len(data)


def save_weights(
    url: str,
    weights: nn.Module | Mapping[str, torch.Tensor],
    schemes: Mapping[str, Kept] | None = None,
    storage: Mapping[str, str] | None = None,
    effort: str = "default",
) -> int:
    """Writes weights alone, those of a module or tensors by name, at `url`, atomically; returns the size in bytes.

    Args:
        schemes: how tensors are kept, as `mdlake.shrink.quantize.quantize_linear` gives it; the others are kept bit for
            bit, zeros as what they are.
        effort: of the search, as in `mdlake.encode`.

    Raises:
        InvalidArgumentError: a scheme is of no tensor there is, or of another shape; or none keeps a tensor's dtype.
    """
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    _check_schemes(tensors, schemes or {})
    store, path = open_object(url, storage)
    data = container.pack(*lay_out_weights(tensors, schemes or {}, effort))
    store.put(path, data)
    return len(data)


def load_weights(
    url: str, storage: Mapping[str, str] | None = None, *, max_bytes: int = MAX_BYTES
) -> dict[str, torch.Tensor]:
    """The tensors of any artifact by name, as they were kept, for a module's `load_state_dict`.

    Raises:
        CorruptError, TruncatedError, UnsupportedVersionError: the file is not such an artifact.
        InvalidArgumentError: they take more memory than `max_bytes`.
    """
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)), advised(REPAIR):
        parts, about = open_parts(store.get(path))
        return {name: scheme.restore() for name, scheme in read_schemes(parts, about, max_bytes).items()}


def load_model(
    url: str,
    storage: Mapping[str, str] | None = None,
    *,
    form: str = "dense",
    model_class: Factory | str | None = None,
    inputs: Any = None,
    max_bytes: int = MAX_BYTES,
) -> nn.Module:
    """The network in an artifact, in evaluation mode, with exactly the weights that were evaluated.

    Args:
        form: "dense", or "sparse" or "int8" for layers that torch has such kernels for (`mdlake.models.compact`).
        model_class: called with the artifact's options as keywords, instead of the registered network; or the import
            path of that, `package.module:name`, which must be the one that the artifact names.
        inputs: an object with the protocol of `mdlake.models.inputs.Inputs`, or its import path, for an artifact that
            was trained with a user's own.
        max_bytes: the memory that the decoded weights may take.

    Raises:
        CorruptError, TruncatedError, UnsupportedVersionError: the file is not such an artifact.
        InvalidArgumentError: the class does not fit the weights, or they need more than `max_bytes`; or the artifact
            names a user's own network or inputs, which are not imported unless they are given; or no layer can be in
            this form.
    """
    store, path = open_object(url, storage)
    own = Own(model_class, inputs)
    with located(file=store.url_of(path)), advised(REPAIR):
        parts, about = open_parts(store.get(path))
        if "network" in about:
            model, kept = _model(parts, about, own, max_bytes)
            module = model.module
        else:
            module, kept = _bare(parts, about, own, max_bytes)
    return module if form == "dense" else compact(module, kept, form)


def load_artifact(
    url: str,
    storage: Mapping[str, str] | None = None,
    *,
    model_class: Factory | str | None = None,
    inputs: Any = None,
    max_bytes: int = MAX_BYTES,
) -> Model:
    """As `load_model`, with the feature specification, the task, metrics and lineage."""
    return load_with_schemes(url, storage, model_class=model_class, inputs=inputs, max_bytes=max_bytes)[0]


def load_with_schemes(
    url: str,
    storage: Mapping[str, str] | None = None,
    *,
    model_class: Factory | str | None = None,
    inputs: Any = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[Model, dict[str, Kept]]:
    """As `load_artifact`, with how each tensor is kept: levels and scales, where it has some."""
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)), advised(REPAIR):
        return _model(*open_parts(store.get(path)), Own(model_class, inputs), max_bytes)


def parse_artifact(
    data: bytes, *, model_class: Factory | str | None = None, inputs: Any = None, max_bytes: int = MAX_BYTES
) -> Model:
    """As `load_artifact`, from bytes."""
    return _model(*open_parts(data), Own(model_class, inputs), max_bytes)[0]


def _check_schemes(tensors: Mapping[str, torch.Tensor], schemes: Mapping[str, Kept]) -> None:
    for name, scheme in schemes.items():
        if name not in tensors:
            raise InvalidArgumentError("there is no such tensor to be kept so", tensor=name)
        if (shape := scheme.restore().shape) != tensors[name].shape:
            told = f"it is kept as {list(shape)}, but is {list(tensors[name].shape)}"
            raise InvalidArgumentError(told, tensor=name)


def _model(parts: Parts, about: Mapping[str, Any], own: Own, max_bytes: int) -> tuple[Model, dict[str, Kept]]:
    if "network" not in about:
        raise InvalidArgumentError("these are weights alone: give load_model a model_class, or use load_weights")
    try:
        schemes = read_schemes(parts, about, max_bytes)
        tensors = {name: scheme.restore() for name, scheme in schemes.items()}
        features = read_inputs(parts, about["features"], max_bytes, own)
        name, options = about["network"], about["options"]
        metrics, lineage = dict(about["metrics"]), dict(about["lineage"])
        task = task_from_json(about)
    except MdlakeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptError(f"the description is not that of an artifact: {error!r}") from error
    module = restore_network(name, options, tensors, own)
    return Model(name, options, features, task, module.eval(), metrics, lineage), schemes


def _bare(parts: Parts, about: Mapping[str, Any], own: Own, max_bytes: int) -> tuple[nn.Module, dict[str, Kept]]:
    """A network around weights alone, made by what the caller gives."""
    if own.network is None:
        raise InvalidArgumentError(
            "these are weights alone: give a model_class, called without options, or use load_weights"
        )
    schemes = read_schemes(parts, about, max_bytes)
    tensors = {name: scheme.restore() for name, scheme in schemes.items()}
    return restore_network("", {}, tensors, Own(made_by(own.network))).eval(), schemes
