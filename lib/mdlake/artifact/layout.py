"""What the parts of an artifact are: a model as blocks and a description, and back.

The description lists the tensors in the order of the network's state, each with its scheme. The small integers of all
tensors that have some are one block, `levels` (`mdlake.models.levels`). Names and shapes are those of the registered
network; only where they are others are they in the description.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mdlake.artifact.arrays import LEVELS, Array, Parts, Wanted, decode_arrays, encode_arrays, part
from mdlake.artifact.container import unpack
from mdlake.block import decode_array, decode_values, encode_array, encode_values
from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError, UnsupportedVersionError, located
from mdlake.models.bundle import Model
from mdlake.models.features import FeatureSpec
from mdlake.models.images import ImageSpec
from mdlake.models.inputs import Inputs, inputs_from_json
from mdlake.models.levels import decode_levels, encode_levels
from mdlake.models.networks import NETWORKS, build_network
from mdlake.models.own import LIBRARY, Own, OwnInputs
from mdlake.models.schemes import SCHEMES, Codebook, Kept, Linear, Plain, Shape, Tied, kept_whole
from mdlake.models.tokens import TokenSpec

MAX_BYTES = 1 << 32
"""The memory that decoding an artifact may take unless the caller says otherwise."""
REPAIR = "restore a copy"
FORMAT = 3
READABLE = 2, 3
_VOCABULARY, _CROSS = "vocabulary:", "cross:"  # no parameter of a torch module has a colon in its name
_VOCABULARY_TYPES = {"int64": pa.int64(), "string": pa.string()}


def lay_out(model: Model, schemes: Mapping[str, Kept], effort: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The parts and the description of a model. Tensors that `schemes` does not name are kept bit for bit."""
    parts, about = lay_out_weights(model.module.state_dict(), schemes, effort)
    about |= {
        "network": model.network,
        "options": model.options,
        **model.task.to_json(),
        "features": _pack_inputs(model.features, parts, effort),
        "metrics": model.metrics,
        "lineage": model.lineage,
    }
    if _registered_shapes(model.network, model.options) == _shapes(about):
        del about["shapes"]
    return parts, about


def lay_out_weights(
    tensors: Mapping[str, torch.Tensor], schemes: Mapping[str, Kept], effort: str
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The parts and the description of weights alone."""
    chosen = _chosen(tensors, schemes)
    about = {
        "format": FORMAT,
        "tensors": _described(chosen),
        "shapes": [[name, list(tensor.shape)] for name, tensor in tensors.items()],
    }
    return tensor_blocks(chosen, effort), about


def _chosen(tensors: Mapping[str, torch.Tensor], schemes: Mapping[str, Kept]) -> dict[str, Kept]:
    """How each tensor is kept: as its scheme says, or as the tensor that it is under another name, or bit for bit."""
    chosen: dict[str, Kept] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        other = first.setdefault(place, name) if tensor.numel() else name
        kept = chosen.get(other)
        tied = Tied(other, kept) if kept is not None and not isinstance(kept, Tied) else None
        with located(tensor=name):
            chosen[name] = schemes.get(name) or tied or kept_whole(tensor)
    return chosen


def open_parts(data: bytes) -> tuple[dict[str, memoryview], dict[str, Any]]:
    """The parts and the description of an artifact of any format that this release reads."""
    parts, about = unpack(data)
    version = about.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise UnsupportedVersionError(
            f"artifact format {version}; this release reads up to {FORMAT}: install a newer mdlake"
        )
    if version not in READABLE:
        raise CorruptError(f"not an artifact: its format is {version!r}")
    return parts, about


def tensor_blocks(chosen: Mapping[str, Kept], effort: str) -> dict[str, bytes]:
    """The parts of these tensors, by their names; one for the levels of all that have some."""
    parts = encode_arrays(
        (
            Array(name, role, values, scheme.row)
            for name, scheme in chosen.items()
            for role, values in scheme.arrays.items()
        ),
        effort,
    )
    levels = {name: scheme.levels for name, scheme in chosen.items() if isinstance(scheme, Linear | Codebook)}
    if filled := {name: values for name, values in levels.items() if values.size}:
        parts[LEVELS] = encode_levels(filled)
    return parts


def read_schemes(parts: Parts, about: Mapping[str, Any], max_bytes: int) -> dict[str, Kept]:
    """Decodes all weight tensors, counting their memory before any is decoded: what is kept as it is takes its own
    bytes, the others 8 a value.
    """
    try:
        shapes = _shapes(about)
        described = _tensors(about, shapes)
        wanted = _wanted(described, shapes)
        having = {name: shapes[name] for name, (kind, _) in described.items() if kind.has_levels}
        whole = sum(8 * prod(shapes[name]) for name in shapes if described[name][0] is not Plain or not wanted[name])
        check_memory(whole + sum(d.itemsize * n for of in wanted.values() for d, n in of.values()), max_bytes)
        levels = _read_levels(parts, having)
        arrays = decode_arrays(parts, wanted, max_bytes)
        found: dict[str, Kept] = {}
        for name, (kind, fields) in described.items():
            with located(tensor=name):
                if issubclass(kind, Tied):
                    found[name] = _tied(fields["of"], shapes[name], shapes, found)
                    continue
                beside = {LEVELS: levels[name]} if kind.has_levels else {}
                found[name] = kind.read(fields, shapes[name], arrays[name] | beside)
        return found
    except MdlakeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptError(f"the description is not that of tensors: {error!r}") from error


def _tied(of: Any, shape: Shape, shapes: Mapping[str, Shape], found: Mapping[str, Kept]) -> Tied:
    kept = found.get(of) if isinstance(of, str) else None
    if kept is None or isinstance(kept, Tied) or shapes[of] != shape:
        raise CorruptError(f"it is tied to {of!r}, which is no tensor before it of its shape")
    return Tied(of, kept)


def read_inputs(parts: Parts, about: Mapping[str, Any], max_bytes: int, own: Own = LIBRARY) -> Inputs:
    """What the network sees, vocabularies decoded; a user's own must be given."""
    if "numeric" not in about:
        return inputs_from_json(about, own)
    vocabularies = {
        name: decode_array(
            part(parts, _VOCABULARY + name), _VOCABULARY_TYPES[type_], length=length, max_bytes=max_bytes
        )
        for name, (type_, length) in about["vocabularies"].items()
    }
    crosses = {
        name: decode_values(part(parts, _CROSS + name), dtype=np.dtype(np.int64), length=length, max_bytes=max_bytes)
        for name, length in about["crosses"].items()
    }
    return FeatureSpec.from_parts(about["numeric"], vocabularies, about["categories"], crosses)


def check_memory(needed: int, max_bytes: int) -> None:
    if needed > max_bytes:
        raise InvalidArgumentError(
            f"the weights may take {needed} bytes of memory, more than the {max_bytes} allowed: raise max_bytes"
        )


def _described(chosen: Mapping[str, Kept]) -> list[list[Any]]:
    """Scheme and fields of each tensor; a codebook's are empty where they are those of the tensor before."""
    rows: list[list[Any]] = []
    for name, scheme in chosen.items():
        with located(tensor=name):
            rows.append([scheme.name, scheme.about])
    same = [first == second and first[0] == Codebook.name for first, second in pairwise(rows)]
    return [[name, {} if again else fields] for (name, fields), again in zip(rows, [False, *same], strict=True)]


def _tensors(about: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, tuple[type[Kept], dict[str, Any]]]:
    rows = about["tensors"]
    if len(rows) != len(shapes):
        raise CorruptError(f"{len(rows)} tensors are described, the network has {len(shapes)}")
    found, fields = {}, {}
    for name, (kind, given) in zip(shapes, rows, strict=True):
        if kind not in SCHEMES:
            raise UnsupportedVersionError(f"scheme {kind!r}: install a newer mdlake", tensor=name)
        fields = fields if kind == Codebook.name and not given else dict(given)
        found[name] = SCHEMES[kind], fields
    return found


def _shapes(about: Mapping[str, Any]) -> dict[str, Shape]:
    """Name and shape of each tensor, in order."""
    if "shapes" not in about:
        shapes = _registered_shapes(about["network"], about["options"])
        if shapes is None:
            raise UnsupportedVersionError(
                f"no network is called {about['network']!r}, and the description has no shapes: install a newer mdlake"
            )
        return shapes
    found = {str(name): tuple(shape) for name, shape in about["shapes"]}
    for name, shape in found.items():
        if not all(type(size) is int and size >= 0 for size in shape):
            raise CorruptError(f"no tensor has the shape {shape}", tensor=name)
    return found


def _registered_shapes(network: str, options: Mapping[str, Any]) -> dict[str, Shape] | None:
    if network not in NETWORKS:
        return None
    module = build_network(network, options, device="meta")
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _wanted(described: Mapping[str, tuple[type[Kept], dict[str, Any]]], shapes: Mapping[str, Shape]) -> Wanted:
    """For each tensor its arrays by role."""
    roles = {}
    for name, (kind, fields) in described.items():
        with located(tensor=name):
            roles[name] = kind.roles(fields, shapes[name])
    return roles


def _read_levels(parts: Parts, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """int8 of these shapes."""
    filled = {name: shape for name, shape in shapes.items() if prod(shape)}
    found = {name: np.zeros(shape, np.int8) for name, shape in shapes.items() if not prod(shape)}
    return found | (decode_levels(part(parts, LEVELS), filled, np.int8) if filled else {})


def _pack_inputs(inputs: Inputs, parts: dict[str, bytes], effort: str) -> dict[str, Any]:
    if not isinstance(inputs, FeatureSpec):
        if not isinstance(inputs, ImageSpec | TokenSpec | OwnInputs):
            told = f"inputs of your own go as OwnInputs('package.module:name', object), not as {type(inputs).__name__}"
            raise InvalidArgumentError(told)
        return inputs.to_json()
    for name, values in inputs.vocabularies.items():
        parts[_VOCABULARY + name] = encode_array(values, effort)
    for name, codes in inputs.crosses.items():
        parts[_CROSS + name] = encode_values(codes, effort)
    return {
        "numeric": [[number.column, number.mean, number.deviation] for number in inputs.numeric],
        "vocabularies": {name: [str(v.type), len(v)] for name, v in inputs.vocabularies.items()},
        "categories": list(inputs.categories),
        "crosses": {name: len(codes) for name, codes in inputs.crosses.items()},
    }
