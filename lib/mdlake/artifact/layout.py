"""What the parts of an artifact are: a model as blocks and a description, and back.

The description lists the tensors in the order of the network's state, each with its scheme. The small integers of all
tensors that have some are one block, `levels`: a tensor after the other as matrices of [rows, the rest], a bias as one
more column of its weight where both have the same codebook. Names and shapes are those of the registered network; only
for one that is none are they in the description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

from mdlake.block import decode_array, decode_values, encode_array, encode_values
from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError, UnsupportedVersionError, located
from mdlake.models.bundle import Model
from mdlake.models.features import FeatureSpec
from mdlake.models.inputs import Inputs, inputs_from_json
from mdlake.models.networks import NETWORKS, build_network
from mdlake.models.schemes import SCHEMES, Codebook, Kept, Plain, Shape
from mdlake.weights import encode_weights

FORMAT = 2
LEVELS = "levels"
_VOCABULARY, _CROSS = "vocabulary:", "cross:"  # no parameter of a torch module has a colon in its name
_VOCABULARY_TYPES = {"int64": pa.int64(), "string": pa.string()}
Parts = Mapping[str, bytes | memoryview]


@dataclass(frozen=True)
class Matrix:
    """A weight tensor as rows of levels, its bias, if it has its book, as their last column."""

    weight: str
    bias: str | None
    rows: int
    columns: int  # with the bias

    @property
    def size(self) -> int:
        return self.rows * self.columns


def lay_out(model: Model, schemes: Mapping[str, Kept], effort: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The parts and the description of a model. Tensors that `schemes` does not name are kept bit for bit."""
    tensors = dict(model.module.state_dict())
    for name in schemes:
        if name not in tensors:
            raise InvalidArgumentError("the network has no such tensor", tensor=name)
    chosen: dict[str, Kept] = {name: schemes.get(name) or Plain(tensor) for name, tensor in tensors.items()}
    parts: dict[str, bytes] = {}
    for name, scheme in chosen.items():
        for role, array in scheme.arrays.items():
            parts[part_name(name, role)] = _block(scheme, array, effort)
    levels = {name: scheme.levels for name, scheme in chosen.items() if not isinstance(scheme, Plain)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if levels:
        order = matrices({name: shapes[name] for name in levels}, _books(chosen))
        parts[LEVELS] = encode_values(np.concatenate([_joined(matrix, levels) for matrix in order]), effort)
    about = {
        "format": FORMAT,
        "network": model.network,
        "options": model.options,
        **model.task.to_json(),
        "features": _pack_inputs(model.features, parts, effort),
        "tensors": _described(chosen),
        "metrics": model.metrics,
        "lineage": model.lineage,
    }
    if _registered_shapes(model.network, model.options) != shapes:
        about["shapes"] = [[name, list(shape)] for name, shape in shapes.items()]
    return parts, about


def read_schemes(parts: Parts, about: Mapping[str, Any], max_bytes: int) -> dict[str, Kept]:
    """Decodes all weight tensors, counting their memory before any is decoded."""
    try:
        shapes = _shapes(about)
        described = _tensors(about, shapes)
        check_memory(sum(8 * prod(shape) for shape in shapes.values()), max_bytes)
        books = {name: tuple(fields["book"]) for name, (kind, fields) in described.items() if kind is Codebook}
        having = {name for name, (kind, _) in described.items() if kind.has_levels}
        order = matrices({name: shape for name, shape in shapes.items() if name in having}, books)
        levels = _read_levels(parts, order, shapes, max_bytes)
        found = {}
        for name, (kind, fields) in described.items():
            with located(tensor=name):
                arrays = {LEVELS: levels[name]} if kind.has_levels else {}
                for role, (dtype, length) in kind.roles(fields, shapes[name]).items():
                    block = _part(parts, part_name(name, role))
                    arrays[role] = decode_values(block, dtype=dtype, length=length, max_bytes=max_bytes)
                found[name] = kind.read(fields, shapes[name], arrays)
        return found
    except MdlakeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptError(f"the description is not that of tensors: {error!r}") from error


def read_inputs(parts: Parts, about: Mapping[str, Any], max_bytes: int) -> Inputs:
    """What the network sees, vocabularies decoded."""
    if "numeric" not in about:
        return inputs_from_json(about)
    vocabularies = {
        name: decode_array(
            _part(parts, _VOCABULARY + name), _VOCABULARY_TYPES[type_], length=length, max_bytes=max_bytes
        )
        for name, (type_, length) in about["vocabularies"].items()
    }
    crosses = {
        name: decode_values(_part(parts, _CROSS + name), dtype=np.dtype(np.int64), length=length, max_bytes=max_bytes)
        for name, length in about["crosses"].items()
    }
    return FeatureSpec.from_parts(about["numeric"], vocabularies, about["categories"], crosses)


def matrices(shapes: Mapping[str, Shape], books: Mapping[str, Sequence[float]]) -> list[Matrix]:
    """How levels are laid out. `shapes`: of the tensors that have some, in order; `books`: of those with codebooks."""
    found, taken = [], set()
    for name, shape in shapes.items():
        if name in taken:
            continue
        bias = f"{name.removesuffix('.weight')}.bias"
        rows = shape[0] if len(shape) > 1 else 1
        together = len(shape) > 1 and shapes.get(bias) == (rows,) and name in books and books.get(bias) == books[name]
        taken.add(bias if together else name)
        size = prod(shape)
        columns = size // rows if rows else 0
        found.append(Matrix(name, bias if together else None, rows, columns + together))
    return found


def part_name(tensor: str, role: str) -> str:
    return f"{tensor}:{role}" if role else tensor


def check_memory(needed: int, max_bytes: int) -> None:
    if needed > max_bytes:
        raise InvalidArgumentError(
            f"the weights may take {needed} bytes of memory, more than the {max_bytes} allowed: raise max_bytes"
        )


def _block(scheme: Kept, array: np.ndarray, effort: str) -> bytes:
    if isinstance(scheme, Plain) and scheme.row is not None:
        return encode_weights(array, scheme.row, effort)
    return encode_values(array, effort)


def _described(chosen: Mapping[str, Kept]) -> list[list[Any]]:
    """Scheme and fields of each tensor; a codebook's are empty where they are those of the tensor before."""
    rows: list[list[Any]] = [[scheme.name, scheme.about] for scheme in chosen.values()]
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


def _books(schemes: Mapping[str, Kept]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(scheme.about["book"]) for name, scheme in schemes.items() if isinstance(scheme, Codebook)}


def _joined(matrix: Matrix, levels: Mapping[str, np.ndarray]) -> np.ndarray:
    weight = levels[matrix.weight].reshape(matrix.rows, -1)
    parts = [weight] if matrix.bias is None else [weight, levels[matrix.bias][:, None]]
    return np.concatenate(parts, axis=1).astype(np.int8).reshape(-1)


def _read_levels(
    parts: Parts, order: Sequence[Matrix], shapes: Mapping[str, Shape], max_bytes: int
) -> dict[str, np.ndarray]:
    """The levels of each tensor, int8 of its shape."""
    if not order:
        return {}
    total = sum(matrix.size for matrix in order)
    flat = decode_values(_part(parts, LEVELS), dtype=np.dtype(np.int8), length=total, max_bytes=max_bytes)
    found = {}
    for matrix, values in zip(order, _cut(flat, order), strict=True):
        rows = values.reshape(matrix.rows, matrix.columns)
        if matrix.bias is not None:
            found[matrix.bias], rows = rows[:, -1].copy(), rows[:, :-1]
        found[matrix.weight] = np.ascontiguousarray(rows).reshape(shapes[matrix.weight])
    return found


def _cut(flat: np.ndarray, order: Sequence[Matrix]) -> Iterator[np.ndarray]:
    at = 0
    for matrix in order:
        yield flat[at : at + matrix.size]
        at += matrix.size


def _part(parts: Parts, name: str) -> bytes | memoryview:
    if name not in parts:
        raise CorruptError(f"the part {name!r} is missing")
    return parts[name]


def _pack_inputs(inputs: Inputs, parts: dict[str, bytes], effort: str) -> dict[str, Any]:
    if not isinstance(inputs, FeatureSpec):
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
