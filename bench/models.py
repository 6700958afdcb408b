"""Models: networks made small by the recipes, beside what others store the same networks in.

    make bench-models ARGS="--cases lenet_300_100 --seeds 1 --quick"

For each case and seed the Ray verbs run the recipe in a folder of its own under `build/bench/models`: a run that was
stopped goes on where it was. Students on MNIST share one teacher and one scoring. Choices are made on the validation
split; the test split is opened at the end, by evaluate and for the peers' accuracy. Prints bytes of the whole file, "x"
(float32 bytes of all parameters over these) and accuracy, over seeds the mean and the worst, and writes a dated CSV
and a plot.
`--quick` divides all epochs by five, to see that everything runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console

from bench import cifar, mnist
from bench.machine import machine
from bench.model_figures import show, show_distilled
from bench.model_peers import DENSE, SPARSE, Packed, Weights, missing
from bench.model_plot import plot
from bench.model_rows import Row, write
from mdlake.artifact import load_artifact
from mdlake.export import ExportOptions, export_onnx
from mdlake.lake.store import open_store
from mdlake.models.batches import Source, ordered_batches
from mdlake.models.bundle import Model, load_bundle
from mdlake.models.opening import open_shards
from mdlake.models.training import predict
from mdlake.shrink.search import BudgetError
from ray_tasks.compress import ARTIFACT, CompressOptions, compress
from ray_tasks.distill import DistillOptions, distill
from ray_tasks.evaluate import EvaluateOptions, evaluate
from ray_tasks.recipe import load_recipe
from ray_tasks.score import ScoreOptions, score
from ray_tasks.train import TrainOptions, train

RESULTS = Path(__file__).parent / "results"
BUILD = RESULTS.parents[1] / "build" / "bench" / "models"
RECIPES = RESULTS.parents[1] / "ray_tasks" / "recipes"
_TEACHER = "mnist_convnet"
CASES = {  # whose teacher they use: their own, if none is named
    "lenet_300_100": _TEACHER,
    "lenet_5": _TEACHER,
    "lenet_300_100_rounded": "",
    "lenet_5_rounded": "",
    "lenet_60k": "",
    "mnist_convnet": _TEACHER,
    "mnist_convnet_cut": _TEACHER,
    "mnist_convnet_low_rank": _TEACHER,
    "cifar_mobilenet": "",
}
_INT8 = ("cifar_mobilenet",)
_QUICK = 5
_LOST = 0.002


def main() -> None:
    options = parse()
    console = Console(width=140)
    today = datetime.date.today().isoformat()
    console.print(f"{machine()}; torch {torch.__version__}; {today}")
    build = options.build / "quick" if options.quick else options.build
    rows: list[Row] = []
    for case in options.cases.split(","):
        if case.startswith("cifar") and not options.cifar:
            console.print(f"{case} is left out: say where CIFAR-10 is (--cifar)")
            continue
        if case.startswith("cifar"):
            shards = cifar.write_shards(build / "cifar", options.cifar)
        else:
            shards = mnist.write_shards(build / "mnist")
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            try:
                rows += list(run(case, seed, shards, build, options, console))
            except BudgetError as error:
                console.print(f"{case}, seed {seed}: {error}")
    if not rows:
        return
    show(rows, console)
    show_distilled(rows, console)
    target = options.out or (build if options.quick else RESULTS) / f"models-{today}.csv"
    write(rows, target)
    plot(rows, target.with_suffix(".svg"))
    console.print(f"written: {target}, and a plot beside it")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help=f"some of {', '.join(CASES)}")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0, help="others may be on another machine (model_figures)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the epochs")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="candidates at once")
    parser.add_argument("--cifar", type=Path, help="folder with cifar10_jpeg_train.parquet and the same of test")
    parser.add_argument("--build", type=Path, default=BUILD, help="where runs are kept, and go on")
    parser.add_argument("--out", type=Path, help="the CSV")
    return parser.parse_args()


def run(
    case: str, seed: int, shards: Path, build: Path, options: argparse.Namespace, console: Console
) -> Iterator[Row]:
    """The recipe's models and its artifact, and the peers, of the dense network and of ours."""
    recipe = _recipe(case, build, options.quick)
    lake = build / f"{case}-{seed}"
    teacher = teacher_of(case, seed, shards, build, options)
    given = {"lake": str(lake), "shards": str(shards), "recipe": str(recipe), "seed": seed, "teacher": str(teacher)}
    student = load_recipe(str(recipe)).student
    if student:
        distill(DistillOptions(**given, workers=1))
    compress(CompressOptions(**given, workers=options.workers))
    measured = {row["model"]: row for row in evaluate(EvaluateOptions(**given, workers=1))["models"]}
    whole = "student alone" if student else "teacher"
    place = lake if student else teacher
    dense = load_bundle(open_store(str(place)), f"checkpoints/{whole.replace(' ', '_')}/model.safetensors")
    ours = load_artifact(str(lake / ARTIFACT))
    splits = {
        name: Source(open_shards(str(shards / name)), dense.features, dense.task) for name in ("validation", "test")
    }
    raw = 4 * sum(parameter.numel() for parameter in dense.module.parameters())

    def row(codec: str, size: int, accuracy: float, of: str = "artifact") -> Row:
        facts = [measured[of][name] for name in ("parameters", "nonzero", "macs")]
        return Row(case, seed, codec, size, round(raw / size, 2), accuracy, measured[whole]["accuracy"], *facts)

    for name, found in measured.items():
        yield row("mdlake" if name == "artifact" else name, found["bytes"], found["accuracy"], name)
    if case in _INT8:
        yield row("mdlake, as ONNX with int8 weights and activations", *int8_onnx(lake, shards))
    for name, model, peers in ((whole, dense, DENSE), ("artifact", ours, SPARSE)):
        floor = accuracy(model, splits["validation"]) - _LOST * (model is dense)
        for peer, pack in peers.items():
            if why := missing(peer):
                console.print(f"{peer} is left out: {why}")
                continue
            best = smallest(pack(weights_of(model)), model, splits["validation"], floor)
            if best:
                restored = accuracy(model, splits["test"], best.weights)
                told = f"{peer} {best.how}, of {'ours' if model is ours else 'dense'}".replace(" ,", ",")
                yield row(told, best.bytes, restored, name)


def teacher_of(case: str, seed: int, shards: Path, build: Path, options: argparse.Namespace) -> Path:
    """The lake with the trained and scored teacher of a case: its own, or the one that students share."""
    shared = CASES[case]
    recipe = _recipe(shared or case, build, options.quick)
    lake = build / (f"{shared}-teacher" if shared else f"{case}-{seed}")
    given = {"lake": str(lake), "shards": str(shards), "recipe": str(recipe), "seed": 0 if shared else seed}
    train(TrainOptions(**given, workers=1))
    score(ScoreOptions(**given, workers=1))
    return lake


def int8_onnx(lake: Path, shards: Path) -> tuple[int, float]:
    """Bytes of the artifact as an ONNX file of 8 bits throughout, and its accuracy on the test split when run."""
    target = lake / "artifacts" / "int8.onnx"
    target.unlink(missing_ok=True)
    report = export_onnx(str(lake / ARTIFACT), str(target), ExportOptions(int8=True, shards=str(shards), split="test"))
    assert report.comparison.onnx is not None and report.activations
    return report.bytes, report.comparison.onnx.accuracy


def smallest(found: Iterator[Packed], model: Model, validation: Source, floor: float) -> Packed | None:
    """The fewest bytes of those whose accuracy on the validation split is at the floor or above."""
    fitting = [packed for packed in found if accuracy(model, validation, packed.weights) >= floor]
    return min(fitting, key=lambda packed: packed.bytes, default=None)


def weights_of(model: Model) -> Weights:
    return {name: tensor.detach().numpy() for name, tensor in model.module.named_parameters()}


def accuracy(model: Model, source: Source, weights: Weights | None = None) -> float:
    """Of the model, or of its network with these weights."""
    kept = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    if weights is not None:
        given = {name: torch.from_numpy(values.copy()) for name, values in weights.items()}
        model.module.load_state_dict({**kept, **given})
    found = model.task.measure(*predict(model.module, ordered_batches(source))).accuracy
    model.module.load_state_dict(kept)
    return found


def _recipe(case: str, build: Path, quick: bool) -> Path:
    """The recipe's file; of a quick run a copy with a fifth of the epochs."""
    path = RECIPES / f"{case}.toml"
    if not quick:
        return path
    text = re.sub(r"(epochs = )(\d+)", lambda found: f"{found[1]}{max(1, int(found[2]) // _QUICK)}", path.read_text())
    copy = build / f"{case}-quick.toml"
    build.mkdir(parents=True, exist_ok=True)
    copy.write_text(text)
    return copy


if __name__ == "__main__":
    main()
