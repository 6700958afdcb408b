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
from mdlake.artifact import container
from mdlake.artifact.layout import MAX_BYTES, lay_out_weights, open_parts, read_schemes
from mdlake.models.schemes.dtypes import values_of


@dataclass(frozen=True)
class Tensor:
    """`values`: 1-D, bfloat16 as uint16 patterns."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Weights:
    """A model's tensors of floats, all of one dtype, and their bytes one after another."""

    dtype: str
    tensors: tuple[Tensor, ...]
    raw: bytes


def torch_tensors(weights: Weights) -> dict[str, Any]:
    torch = importlib.import_module("torch")
    dtype = getattr(torch, weights.dtype)
    return {t.name: torch.from_numpy(t.values.copy()).view(dtype).reshape(t.shape) for t in weights.tensors}


class Codec(Protocol):
    """What `encode` gives has `size` bytes; `same` says whether what `decode` gives is what there was."""

    def prepare(self, weights: Weights) -> None:
        """What is not measured."""

    def encode(self, weights: Weights) -> Any: ...

    def size(self, encoded: Any) -> int: ...

    def decode(self, encoded: Any, weights: Weights) -> Any: ...

    def same(self, decoded: Any, weights: Weights) -> bool: ...


class Mdlake(Codec):
    """An artifact of weights alone, from torch tensors and to them."""

    def prepare(self, weights: Weights) -> None:
        self._tensors = torch_tensors(weights)

    def encode(self, weights: Weights) -> bytes:
        return container.pack(*lay_out_weights(self._tensors, {}, "default"))

    def size(self, encoded: bytes) -> int:
        return len(encoded)

    def decode(self, encoded: bytes, weights: Weights) -> dict[str, Any]:
        schemes = read_schemes(*open_parts(encoded), MAX_BYTES)
        return {name: scheme.restore() for name, scheme in schemes.items()}

    def same(self, decoded: dict[str, Any], weights: Weights) -> bool:
        return b"".join(values_of(tensor).tobytes() for tensor in decoded.values()) == weights.raw


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
        importlib.import_module("safetensors.torch").save_file(torch_tensors(weights), self._plain)

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
