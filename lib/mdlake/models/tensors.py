"""Named tensors and a JSON object beside them as one plain safetensors file in the store; no pickle.

Used for checkpoints and trained weights. (Artifacts, whose tensors are blocks, are `mdlake.artifact`.)
Files are the same byte for byte for the same content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from mdlake.errors import CorruptError, located
from mdlake.lake.store import Store

_KEY = "mdlake"  # one key: safetensors does not keep the order of several


def write_tensors(store: Store, path: str, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> int:
    """Writes one file, atomically, and returns its size in bytes."""
    data = tensor_bytes(tensors, about)
    store.put(path, data)
    return len(data)


def tensor_bytes(tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> bytes:
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata_of(about))


def metadata_of(about: Mapping[str, Any]) -> dict[str, str]:
    """The object as the metadata of a safetensors file."""
    return {_KEY: json.dumps(about, sort_keys=True, separators=(",", ":"), allow_nan=False)}


def read_tensors(store: Store, path: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and the JSON object of a file that `write_tensors` wrote."""
    data = store.get(path)
    with located(file=store.url_of(path)):
        try:
            return load(data), _about(data)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptError(f"not a file of weights: {error}") from error


def _about(data: bytes) -> dict[str, Any]:
    """safetensors checked the header when it loaded the tensors, but gives metadata for files only."""
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
    if not isinstance(about, dict):
        raise ValueError("its metadata is no JSON object")
    return about
