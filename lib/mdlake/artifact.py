"""Artifacts: a model in as few bytes as it takes, as one safetensors file whose tensors are blocks.

Each weight tensor is one or two blocks under its scheme (`mdlake.models.schemes`), each vocabulary of the
feature specification is a block too, and the rest is JSON in the file's metadata: the architecture by name
with its options, label, shapes, metrics on the validation split, lineage. Byte for byte in
`schemas/FORMAT.md`, section "Artifact".

Nothing loaded runs code: the architecture comes from the registry of networks, or the caller passes a class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from mdlake import container
from mdlake.block import decode_array, decode_values, describe, encode_array, encode_values
from mdlake.errors import (
    ConflictError,
    CorruptError,
    InvalidArgumentError,
    MdlakeError,
    UnsupportedVersionError,
    located,
)
from mdlake.lake.store import open_object
from mdlake.models.bundle import Model, assign_weights
from mdlake.models.features import FeatureSpec
from mdlake.models.networks import NETWORKS, build_network
from mdlake.models.schemes import SCHEMES, Linear, Plain, Scheme
from mdlake.models.tasks import BinaryTask
from mdlake.models.tensors import tensor_bytes

FORMAT = 1
MAX_BYTES = 1 << 32
"""The memory that decoding an artifact may take unless the caller says otherwise."""

_VOCABULARY, _CROSS = "vocabulary:", "cross:"  # no parameter of a torch module has a colon in its name
_VOCABULARY_TYPES = {"int64": pa.int64(), "string": pa.string()}


@dataclass(frozen=True)
class PartReport:
    """One line of `inspect`: a tensor, a vocabulary, or the header. `bits` are per parameter or entry."""

    name: str
    shape: tuple[int, ...]
    scheme: str
    chain: str
    parameters: int
    nonzero: int
    bytes: int

    @property
    def bits(self) -> float:
        return 8 * self.bytes / self.parameters if self.parameters else 0.0


def artifact_bytes(model: Model, schemes: Mapping[str, Scheme] | None = None, effort: str = "max") -> bytes:
    """The artifact of `model`. Tensors that `schemes` does not name are kept bit for bit.

    Deterministic: nothing but the arguments goes into the bytes.
    """
    tensors = dict(model.module.state_dict())
    chosen: dict[str, Scheme] = {name: Plain(tensor) for name, tensor in tensors.items()}
    for name, scheme in (schemes or {}).items():
        if name not in tensors:
            raise InvalidArgumentError("the network has no such tensor", tensor=name)
        chosen[name] = scheme
    parts: dict[str, bytes] = {}
    described: dict[str, Any] = {}
    for name, scheme in chosen.items():
        described[name] = [scheme.name, list(tensors[name].shape), scheme.about]
        for role, array in scheme.arrays.items():
            parts[_part(name, role)] = encode_values(array, effort)
    features = _pack_features(model.features, parts, effort)
    about = {
        "format": FORMAT,
        "network": model.network,
        "options": model.options,
        "label": model.task.label,
        "features": features,
        "tensors": described,
        "metrics": model.metrics,
        "lineage": model.lineage,
    }
    return container.pack(parts, about)


def save_model(
    url: str,
    model: Model,
    schemes: Mapping[str, Scheme] | None = None,
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
    model_class: Callable[..., nn.Module] | None = None,
    max_bytes: int = MAX_BYTES,
) -> nn.Module:
    """The network in an artifact, in evaluation mode, with exactly the weights that were evaluated.

    Args:
        model_class: made with the artifact's options as keywords, instead of the registered network.
        max_bytes: the memory that the decoded weights may take.

    Raises:
        CorruptError, TruncatedError, UnsupportedVersionError: the file is not such an artifact.
        InvalidArgumentError: the class does not fit the weights, or they need more than `max_bytes`.
    """
    return load_artifact(url, storage, model_class=model_class, max_bytes=max_bytes).module


def load_artifact(
    url: str,
    storage: Mapping[str, str] | None = None,
    *,
    model_class: Callable[..., nn.Module] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Model:
    """As `load_model`, with the feature specification, the task, metrics and lineage."""
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)):
        return parse_artifact(store.get(path), model_class=model_class, max_bytes=max_bytes)


def parse_artifact(
    data: bytes, *, model_class: Callable[..., nn.Module] | None = None, max_bytes: int = MAX_BYTES
) -> Model:
    """As `load_artifact`, from bytes."""
    parts, about = _open(data)
    try:
        tensors = {name: scheme.restore() for name, scheme in _schemes(parts, about, max_bytes).items()}
        features = _unpack_features(parts, about["features"], max_bytes)
        name, options, label = about["network"], about["options"], about["label"]
        metrics, lineage = dict(about["metrics"]), dict(about["lineage"])
        task = BinaryTask(label)
    except MdlakeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptError(f"the metadata is not that of an artifact: {error!r}") from error
    module = _instantiate(name, options, tensors, model_class)
    return Model(name, options, features, task, module.eval(), metrics, lineage)


def inspect(url: str, storage: Mapping[str, str] | None = None) -> list[PartReport]:
    """What every byte of an artifact is spent on; the bytes sum to the file's size."""
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)):
        parts, about = _open(store.get(path))
        schemes = _schemes(parts, about, MAX_BYTES)
        rows = [_tensor_report(name, scheme, parts) for name, scheme in schemes.items()]
        used = {_part(name, role) for name, scheme in schemes.items() for role in scheme.arrays}
        for name, block in parts.items():
            if name not in used:
                found = describe(block)
                rows.append(PartReport(name, (found.length,), "vocabulary", found.chain, found.length, 0, len(block)))
        header = store.head(path).size - sum(row.bytes for row in rows)
        rows.append(PartReport("header", (), "json", "", 0, 0, header))
        return rows


def unpack(url: str, target: str, storage: Mapping[str, str] | None = None) -> int:
    """Writes the weights as a plain safetensors file of floats that any tool reads; returns its size.

    Nothing is overwritten: `InvalidArgumentError` if there is a file at `target`.
    """
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)):
        parts, about = _open(store.get(path))
        tensors = {name: scheme.restore() for name, scheme in _schemes(parts, about, MAX_BYTES).items()}
    kept = {key: about[key] for key in ("network", "options", "label", "metrics", "lineage") if key in about}
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
    if version != FORMAT:
        raise CorruptError(f"not an artifact: its format is {version!r}")
    return parts, about


def _schemes(parts: Mapping[str, memoryview], about: Mapping[str, Any], max_bytes: int) -> dict[str, Plain | Linear]:
    """Decodes all weight tensors, counting their memory before any is decoded."""
    try:
        rows = [(name, kind, tuple(shape), more) for name, (kind, shape, more) in about["tensors"].items()]
        for name, kind, shape, _ in rows:
            if kind not in SCHEMES:
                raise UnsupportedVersionError(f"scheme {kind!r}: install a newer mdlake", tensor=name)
            if not all(type(size) is int and size >= 0 for size in shape):
                raise CorruptError(f"no tensor has the shape {shape}", tensor=name)
        _check_memory(sum(8 * prod(shape) for _, _, shape, _ in rows), max_bytes)
        found = {}
        for name, kind, shape, more in rows:
            with located(tensor=name):
                found[name] = _read_scheme(SCHEMES[kind], name, shape, more, parts, max_bytes)
        return found
    except MdlakeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptError(f"the metadata does not describe the tensors: {error!r}") from error


def _read_scheme(
    kind: type[Plain] | type[Linear],
    name: str,
    shape: tuple[int, ...],
    about: Mapping[str, Any],
    parts: Mapping[str, memoryview],
    max_bytes: int,
) -> Plain | Linear:
    arrays: dict[str, np.ndarray] = {}
    for role, (dtype, length) in kind.roles(about, shape).items():
        block = parts.get(_part(name, role))
        if block is None:
            raise CorruptError(f"the part {_part(name, role)!r} is missing")
        arrays[role] = decode_values(block, dtype=dtype, length=length, max_bytes=max_bytes)
    return kind.read(about, shape, arrays)


def _pack_features(features: FeatureSpec, parts: dict[str, bytes], effort: str) -> dict[str, Any]:
    for name, values in features.vocabularies.items():
        parts[_VOCABULARY + name] = encode_array(values, effort)
    for name, codes in features.crosses.items():
        parts[_CROSS + name] = encode_values(codes, effort)
    return {
        "numeric": [[number.column, number.mean, number.deviation] for number in features.numeric],
        "vocabularies": {name: [str(v.type), len(v)] for name, v in features.vocabularies.items()},
        "categories": list(features.categories),
        "crosses": {name: len(codes) for name, codes in features.crosses.items()},
    }


def _unpack_features(parts: Mapping[str, memoryview], about: Mapping[str, Any], max_bytes: int) -> FeatureSpec:
    vocabularies = {
        name: decode_array(parts[_VOCABULARY + name], _VOCABULARY_TYPES[type_], length=length, max_bytes=max_bytes)
        for name, (type_, length) in about["vocabularies"].items()
    }
    crosses = {
        name: decode_values(parts[_CROSS + name], dtype=np.dtype(np.int64), length=length, max_bytes=max_bytes)
        for name, length in about["crosses"].items()
    }
    return FeatureSpec.from_parts(about["numeric"], vocabularies, about["categories"], crosses)


def _instantiate(
    name: Any,
    options: Any,
    tensors: Mapping[str, torch.Tensor],
    model_class: Callable[..., nn.Module] | None,
) -> nn.Module:
    """Makes the module without memory first, so that options which do not fit the weights cost none."""
    if model_class is None and name not in NETWORKS:
        raise UnsupportedVersionError(
            f"no network is called {name!r}; there are {', '.join(sorted(NETWORKS))}. "
            "Install a newer mdlake, or pass model_class"
        )

    def make(device: str) -> nn.Module:
        try:
            if model_class is None:
                return build_network(name, options, device=device)
            with torch.device(device):
                return model_class(**options)
        except (TypeError, RuntimeError) as error:
            raise InvalidArgumentError(f"the network cannot be made with the options {options}: {error}") from error

    module = make("meta")
    assign_weights(module, tensors)
    if any(buffer.is_meta for buffer in module.buffers()):  # buffers that are computed, not stored
        module = make("cpu")
        assign_weights(module, tensors)
    return module


def _tensor_report(name: str, scheme: Plain | Linear, parts: Mapping[str, memoryview]) -> PartReport:
    weights = scheme.restore()
    blocks = [parts[_part(name, role)] for role in scheme.arrays]
    bits = f" {scheme.bits} bit" if isinstance(scheme, Linear) else f" {scheme.about['dtype']}"
    return PartReport(
        name=name,
        shape=tuple(weights.shape),
        scheme=scheme.name + bits,
        chain=describe(blocks[0]).chain,
        parameters=weights.numel(),
        nonzero=int(torch.count_nonzero(weights)),
        bytes=sum(map(len, blocks)),
    )


def _part(tensor: str, role: str) -> str:
    return f"{tensor}:{role}" if role else tensor


def _check_memory(needed: int, max_bytes: int) -> None:
    if needed > max_bytes:
        raise InvalidArgumentError(
            f"the weights may take {needed} bytes of memory, more than the {max_bytes} allowed: raise max_bytes"
        )
