"""What keeps weights bit for bit: our blocks, and the peers as their users would call them, on one thread.

A peer's package is imported when it is used, so a missing one costs only its own row.
"""

from __future__ import annotations

import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zstandard

from bench.packages import why_missing
from mdlake.artifact import MAX_BYTES
from mdlake.artifact.arrays import Array, decode_arrays, encode_arrays


@dataclass(frozen=True)
class Tensor:
    """`values`: 1-D, bfloat16 as uint16 patterns; `row`: values that belong to one place of the first dimension."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray
    row: int


@dataclass(frozen=True)
class Weights:
    """A model's tensors of floats, all of one dtype, and their bytes one after another."""

    dtype: str
    tensors: tuple[Tensor, ...]
    raw: bytes


class Codec(Protocol):
    """What `encode` gives has `size` bytes; `same` says whether what `decode` gives is what there was."""

    def prepare(self, weights: Weights) -> None:
        """What is not measured."""

    def encode(self, weights: Weights) -> Any: ...

    def size(self, encoded: Any) -> int: ...

    def decode(self, encoded: Any, weights: Weights) -> Any: ...

    def same(self, decoded: Any, weights: Weights) -> bool: ...


class Mdlake(Codec):
    """The parts of an artifact, at the effort of a first write."""

    def encode(self, weights: Weights) -> dict[str, bytes]:
        return encode_arrays((Array(t.name, "", t.values, t.row) for t in weights.tensors), "default")

    def size(self, encoded: dict[str, bytes]) -> int:
        return sum(map(len, encoded.values()))

    def decode(self, encoded: dict[str, bytes], weights: Weights) -> list[np.ndarray]:
        wanted = {tensor.name: {"": (tensor.values.dtype, len(tensor.values))} for tensor in weights.tensors}
        return [of[""] for of in decode_arrays(encoded, wanted, MAX_BYTES).values()]

    def same(self, decoded: list[np.ndarray], weights: Weights) -> bool:
        return b"".join(values.tobytes() for values in decoded) == weights.raw


class OfBytes(Codec):
    """A codec of the bytes of all tensors, one after another."""

    def size(self, encoded: Any) -> int:
        return len(encoded)

    def same(self, decoded: Any, weights: Weights) -> bool:
        return bytes(decoded) == weights.raw


class ZipNN(OfBytes):
    def encode(self, weights: Weights) -> bytes:
        return self._made(weights).compress(bytearray(weights.raw))

    def decode(self, encoded: bytes, weights: Weights) -> bytes:
        return self._made(weights).decompress(encoded)

    def _made(self, weights: Weights) -> Any:
        package = importlib.import_module("zipnn")
        return package.ZipNN(bytearray_dtype=weights.dtype, input_format="byte", threads=1)


@dataclass
class Zstd(OfBytes):
    level: int

    def encode(self, weights: Weights) -> bytes:
        return zstandard.ZstdCompressor(level=self.level).compress(weights.raw)

    def decode(self, encoded: bytes, weights: Weights) -> bytes:
        return zstandard.ZstdDecompressor().decompress(encoded)


class Lmzip(Codec):
    """Works on files: a safetensors file in, an archive out; both lie in memory where the system has such a folder."""

    def prepare(self, weights: Weights) -> None:
        memory = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self._plain, self._archive, self._back = (Path(self._folder.name, name) for name in ("a.safetensors", "b", "c"))
        torch, saving = importlib.import_module("torch"), importlib.import_module("safetensors.torch")
        dtype = getattr(torch, weights.dtype)
        saving.save_file(
            {t.name: torch.from_numpy(t.values.copy()).view(dtype).reshape(t.shape) for t in weights.tensors},
            self._plain,
        )

    def encode(self, weights: Weights) -> Path:
        importlib.import_module("lmz.api").compress(str(self._plain), str(self._archive), workers=1)
        return self._archive

    def size(self, encoded: Path) -> int:
        return encoded.stat().st_size

    def decode(self, encoded: Path, weights: Weights) -> Path:
        self._back.unlink(missing_ok=True)
        importlib.import_module("lmz.api").decompress(str(encoded), str(self._back), workers=1)
        return self._back

    def same(self, decoded: Path, weights: Weights) -> bool:
        return decoded.read_bytes() == self._plain.read_bytes()


CODECS: dict[str, Codec] = {
    "mdlake": Mdlake(),
    "zipnn": ZipNN(),
    "lmzip": Lmzip(),
    "zstd-3": Zstd(3),
    "zstd-19": Zstd(19),
}
PACKAGES = {"zipnn": "zipnn", "lmzip": "lmz.api"}


def missing(codec: str) -> str | None:
    """Why a codec cannot be used here, if so."""
    return why_missing(PACKAGES.get(codec, "mdlake"))
