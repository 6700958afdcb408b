"""What the bytes of an artifact are spent on, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mdlake.artifact.arrays import LEVELS, SHARED, is_shared, part_name
from mdlake.artifact.layout import MAX_BYTES, REPAIR, open_parts, read_schemes
from mdlake.block import describe
from mdlake.errors import advised, located
from mdlake.lake.store import open_object
from mdlake.models.schemes import Codebook, Kept, Linear, Tied

_VOCABULARY, _HEADER = "vocabulary", "json"
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
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


def inspect(url: str, storage: Mapping[str, str] | None = None) -> list[PartReport]:
    """What every byte of an artifact is spent on; the bytes sum to the file's size."""
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)), advised(REPAIR):
        data = store.get(path)
        parts, about = open_parts(data)
        schemes = read_schemes(parts, about, MAX_BYTES)
        rows = [_tensor_report(name, scheme, parts) for name, scheme in schemes.items()]
        used = {part_name(name, role) for name, scheme in schemes.items() for role in scheme.arrays}
        for name, block in parts.items():
            if name not in used:
                found = describe(block)
                rows.append(PartReport(name, (found.length,), _kind(name), found.chain, found.length, 0, len(block)))
        rows.append(PartReport("header", (), _HEADER, "", 0, 0, len(data) - sum(row.bytes for row in rows)))
        return rows


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
        case Tied():
            fields = f"to {scheme.of}"
        case _:
            fields = scheme.about["dtype"]
    return PartReport(
        name=name,
        shape=tuple(weights.shape),
        scheme=f"{scheme.name} {fields}",
        chain=describe(blocks[0]).chain if blocks else "",
        parameters=weights.numel(),
        nonzero=_nonzero(weights),
        bytes=sum(map(len, blocks)),
    )


def _nonzero(weights: torch.Tensor) -> int:
    """Of dtypes too that torch does not count in."""
    if weights.dtype in _SIGNED:
        weights = weights.view(_SIGNED[weights.dtype])
    elif weights.dtype.is_floating_point and weights.dtype.itemsize == 1:
        weights = weights.half()
    return int(torch.count_nonzero(weights))
