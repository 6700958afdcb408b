"""Writes the golden artifact of the current format: run once for each, never again.

    python tests/make_golden_artifact.py

`tests/golden/artifact-v*/network.safetensors` is an artifact with all schemes, `expected.safetensors` its weights as
plain safetensors; `weights-v*` are the same of weights alone. A folder that exists is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mdlake.artifact import save_model, save_weights, unpack
from mdlake.artifact.layout import FORMAT
from mdlake.models.bundle import Model
from mdlake.models.images import ImageSpec
from mdlake.models.networks import build_network
from mdlake.models.schemes import Codebook, Kept, Linear
from mdlake.models.tasks import ClassTask

GOLDEN = Path(__file__).parent / "golden"
OPTIONS = {"size": 16, "filters": [4, 6], "hidden": 20, "outputs": 3}


def network() -> tuple[Model, dict[str, Kept]]:
    """A LeNet of which one layer is as it was trained, one linear, one linear by channel, one shares values."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    module = build_network("lenet_5", OPTIONS).eval()
    inputs = ImageSpec("image", (1, 16, 16), (0.1307,), (0.3081,))
    model = Model("lenet_5", OPTIONS, inputs, ClassTask("label", 3), module, {"accuracy": 0.5}, {"stages": "none"})
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    book = np.array([-0.7, -0.2, 0.15, 0.9], np.float16).astype(np.float32)

    def levels(name: str, low: int, high: int, density: float) -> np.ndarray:
        shape = shapes[name]
        return (random.integers(low, high, shape) * (random.random(shape) < density)).astype(np.int8)

    schemes: dict[str, Kept] = {
        "conv2.weight": Linear(levels("conv2.weight", -7, 8, 0.6), np.array([0.0123], np.float32), 4),
        "hidden.weight": Codebook(levels("hidden.weight", -2, 3, 0.2), book),
        "hidden.bias": Codebook(levels("hidden.bias", -2, 3, 0.5), book),
        "out.weight": Linear(
            levels("out.weight", -3, 4, 0.9), random.uniform(0.01, 0.1, shapes["out.weight"][0]).astype(np.float32), 3
        ),
    }
    return model, schemes


def weights() -> dict[str, torch.Tensor]:
    """Weights alone: many zeros, one tensor under two names, dtypes that numpy lacks, names that parts have."""
    random = torch.Generator().manual_seed(0)
    sparse = torch.randn(12, 20, generator=random) * (torch.rand(12, 20, generator=random) < 0.3)
    tied = torch.randn(8, 5, generator=random)
    return {
        "sparse": sparse,
        "a:b": tied,
        "again": tied,
        "levels": torch.randn(3, 4, generator=random).bfloat16(),
        "small": torch.randn(6, 6, generator=random).to(torch.float8_e4m3fn),
        "flags": torch.rand(9, generator=random) < 0.5,
        "bias": torch.randn(7, generator=random),
        "count": torch.tensor(41),
    }


def write(folder: Path, save: Callable[[str], object]) -> None:
    if folder.exists():
        print(f"{folder} exists: a golden artifact is never changed")
        return
    folder.mkdir()
    save(str(folder / "network.safetensors"))
    unpack(str(folder / "network.safetensors"), str(folder / "expected.safetensors"))
    print(f"wrote {folder}")


if __name__ == "__main__":
    write(GOLDEN / f"artifact-v{FORMAT}", lambda url: save_model(url, *network()))
    write(GOLDEN / f"weights-v{FORMAT}", lambda url: save_weights(url, weights(), effort="max"))
