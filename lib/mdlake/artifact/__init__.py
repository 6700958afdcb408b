"""Artifacts: a model in as few bytes as it takes, as one safetensors file of blocks.

    container   named byte strings and a description in one file
    layout      which they are: weights under their schemes (`mdlake.models.schemes`), vocabularies, and the rest as
                JSON: the architecture by name with its options, label, metrics on the validation split, lineage

Byte for byte in `schemas/FORMAT.md`, section "Artifact". Nothing loaded runs code: the architecture comes from the
registry of networks, or the caller gives what makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mdlake.artifact import container
from mdlake.artifact.arrays import SHARED, is_shared, part_name
from mdlake.artifact.layout import FORMAT, LEVELS, READABLE, lay_out, read_inputs, read_schemes
from mdlake.block import describe
from mdlake.errors import (
    ConflictError,
    CorruptError,
    InvalidArgumentError,
    MdlakeError,
    UnsupportedVersionError,
    advised,
    located,
)
from mdlake.lake.store import open_object
from mdlake.models.bundle import Model, restore_network
from mdlake.models.compact import compact
from mdlake.models.own import Factory, Own
from mdlake.models.schemes import Codebook, Kept, Linear
from mdlake.models.tasks import task_from_json
from mdlake.models.tensors import tensor_bytes

MAX_BYTES = 1 << 32
"""The memory that decoding an artifact may take unless the caller says otherwise."""

_REPAIR = "restore a copy"
_VOCABULARY, _HEADER = "vocabulary", "json"
_BESIDE = LEVELS, SHARED, _VOCABULARY, _HEADER


@dataclass(frozen=True)
class PartReport:
    """One line of `inspect`: a tensor, a vocabulary, what tensors share, or the header. `bits` are per entry.

    `bytes` of a tensor are those of its own blocks; levels of all, and short vectors, are in lines of their own.
    """

    name: str
    shape: tuple[int, ...]
    scheme: str
    chain: str
    parameters: int
    nonzero: int
    bytes: int

    @property
    def is_tensor(self) -> bool:
        return self.scheme not in _BESIDE

    @property
    def bits(self) -> float:
        return 8 * self.bytes / self.parameters if self.parameters else 0.0


def artifact_bytes(model: Model, schemes: Mapping[str, Kept] | None = None, effort: str = "max") -> bytes:
    """The artifact of `model`. Tensors that `schemes` does not name are kept bit for bit.

    Deterministic: nothing but the arguments goes into the bytes.
    """
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
    model, kept = load_with_schemes(url, storage, model_class=model_class, inputs=inputs, max_bytes=max_bytes)
    return model.module if form == "dense" else compact(model.module, kept, form)


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
    with located(file=store.url_of(path)), advised(_REPAIR):
        return _parse(store.get(path), Own(model_class, inputs), max_bytes)


def parse_artifact(
    data: bytes, *, model_class: Factory | str | None = None, inputs: Any = None, max_bytes: int = MAX_BYTES
) -> Model:
    """As `load_artifact`, from bytes."""
    return _parse(data, Own(model_class, inputs), max_bytes)[0]


def _parse(data: bytes, own: Own, max_bytes: int) -> tuple[Model, dict[str, Kept]]:
    parts, about = _open(data)
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


def inspect(url: str, storage: Mapping[str, str] | None = None) -> list[PartReport]:
    """What every byte of an artifact is spent on; the bytes sum to the file's size."""
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)), advised(_REPAIR):
        data = store.get(path)
        parts, about = _open(data)
        schemes = read_schemes(parts, about, MAX_BYTES)
        rows = [_tensor_report(name, scheme, parts) for name, scheme in schemes.items()]
        used = {part_name(name, role) for name, scheme in schemes.items() for role in scheme.arrays}
        for name, block in parts.items():
            if name not in used:
                found = describe(block)
                rows.append(PartReport(name, (found.length,), _kind(name), found.chain, found.length, 0, len(block)))
        rows.append(PartReport("header", (), _HEADER, "", 0, 0, len(data) - sum(row.bytes for row in rows)))
        return rows


def unpack(url: str, target: str, storage: Mapping[str, str] | None = None) -> int:
    """Writes the weights as a plain safetensors file of floats that any tool reads; returns its size.

    Nothing is overwritten: `InvalidArgumentError` if there is a file at `target`.
    """
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)), advised(_REPAIR):
        parts, about = _open(store.get(path))
        tensors = {name: scheme.restore() for name, scheme in read_schemes(parts, about, MAX_BYTES).items()}
    kept = {key: about[key] for key in ("network", "options", "label", "classes", "metrics", "lineage") if key in about}
    data = tensor_bytes(tensors, kept)
    goal, name = open_object(target, storage)
    try:
        goal.put(name, data, create=True)
    except ConflictError as error:
        raise InvalidArgumentError(
            "there is a file already; delete it or choose another target", file=goal.url_of(name)
        ) from error
    return len(data)


def _open(data: bytes) -> tuple[dict[str, memoryview], dict[str, Any]]:
    parts, about = container.unpack(data)
    version = about.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise UnsupportedVersionError(
            f"artifact format {version}; this release reads up to {FORMAT}: install a newer mdlake"
        )
    if version not in READABLE:
        raise CorruptError(f"not an artifact: its format is {version!r}")
    return parts, about


def _kind(part: str) -> str:
    """Of a part that is no single tensor's."""
    return LEVELS if part == LEVELS else SHARED if is_shared(part) else _VOCABULARY


def _tensor_report(name: str, scheme: Kept, parts: Mapping[str, memoryview]) -> PartReport:
    weights = scheme.restore()
    blocks = [parts[own] for role in scheme.arrays if (own := part_name(name, role)) in parts]
    match scheme:
        case Linear():
            fields = f"{scheme.bits} bit"
        case Codebook():
            fields = f"{len(scheme.book)} entries"
        case _:
            fields = scheme.about["dtype"]
    return PartReport(
        name=name,
        shape=tuple(weights.shape),
        scheme=f"{scheme.name} {fields}",
        chain=describe(blocks[0]).chain if blocks else "",
        parameters=weights.numel(),
        nonzero=int(torch.count_nonzero(weights)),
        bytes=sum(map(len, blocks)),
    )
