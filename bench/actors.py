"""How the search over candidates grows with the actors that share it: the same search with 1, 2, 4 ... of them.

    python -m bench.actors [--epochs 6] [--actors 1,2]

LeNet-300-100 on MNIST, trained for two epochs, then pruned to as many sparsities as four times the most actors, each a
task. Prints seconds, how many times as fast as one actor that is, and whether the artifact is the same; on cores that
others use it says little. Starting Ray is not in the seconds: every run has a Ray that is warm.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import mnist
from bench.machine import machine
from ray_tasks.compress import ARTIFACT, CompressOptions, compress
from ray_tasks.score import ScoreOptions, score
from ray_tasks.session import connected
from ray_tasks.train import TrainOptions, train

BUILD = Path(__file__).parents[1] / "build" / "bench" / "actors"
RECIPE = """
label = "label"
classes = 10
[teacher]
network = "perceptron"
image = {{ column = "image", shape = [1, 28, 28] }}
training = {{ epochs = 2, batch_size = 256, learning_rate = 1e-3 }}
[compress]
max_drop = 0.5
training = {{ epochs = {epochs}, batch_size = 256, learning_rate = 1e-3 }}
stages = [{{ use = "prune", sparsity = {sparsities} }}, {{ use = "linear", bits = 8 }}]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6, help="of each of a candidate's two trainings")
    parser.add_argument("--actors", default="1,2", help="how many, in turn")
    options = parser.parse_args()
    actors = [int(count) for count in options.actors.split(",")]
    console = Console(width=110)
    console.print(machine())
    BUILD.mkdir(parents=True, exist_ok=True)
    shards, recipe = mnist.write_shards(BUILD / "mnist"), BUILD / "recipe.toml"
    sparsities = [round(float(share), 3) for share in np.linspace(0.5, 0.95, 4 * max(actors))]
    recipe.write_text(RECIPE.format(epochs=options.epochs, sparsities=sparsities))
    given: dict[str, Any] = {"shards": str(shards), "recipe": str(recipe)}
    whole = BUILD / "trained"
    train(TrainOptions(lake=str(whole), workers=1, **given))
    score(ScoreOptions(lake=str(whole), workers=1, **given))
    table = Table(title=f"{len(sparsities)} candidates", title_justify="left")
    for head in ("actors", "seconds", "as fast", "of ideal", "artifact"):
        table.add_column(head, justify="right")
    first = 0.0
    for count in actors:
        seconds, made = _measure(count, whole, given)
        first = first or seconds * count
        table.add_row(str(count), f"{seconds:.1f}", f"{first / seconds:.2f}", f"{first / seconds / count:.2f}", made)
    console.print(table)


def _measure(actors: int, whole: Path, given: dict[str, Any]) -> tuple[float, str]:
    """Seconds of a compress with so many actors in a lake of its own, and the digest of its artifact."""
    lake = BUILD / f"with-{actors}"
    shutil.rmtree(lake, ignore_errors=True)
    shutil.copytree(whole, lake)
    with connected("", actors):
        import ray  # whose settings are made now

        awake = ray.remote(_awake)
        ray.get([awake.remote() for _ in range(actors)])
        begun = time.perf_counter()
        compress(CompressOptions(lake=str(lake), workers=actors, **given))
        seconds = time.perf_counter() - begun
    return seconds, hashlib.sha256((lake / ARTIFACT).read_bytes()).hexdigest()[:12]


def _awake() -> None:
    """Starts a worker that has the libraries loaded."""
    import mdlake.shrink.compress  # noqa: F401


if __name__ == "__main__":
    main()
