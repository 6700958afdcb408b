"""ONNX files: every network runs there as it runs here, int8 levels are the artifact's own, nothing is overwritten."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
import torch
from torch import nn

import mdlake
from mdlake.artifact import load_with_schemes, save_model
from mdlake.errors import InvalidArgumentError, StoreError, UnsupportedVersionError
from mdlake.export import ExportOptions, export_onnx, quantized
from mdlake.export.graph import onnx_graph
from mdlake.models.batches import Batch
from mdlake.models.bundle import Model
from mdlake.models.features import FeatureSpec
from mdlake.models.fitting import fit_features
from mdlake.models.images import ImageSpec
from mdlake.models.networks import NETWORKS, build_network
from mdlake.models.schemes import Codebook, Kept, Linear
from mdlake.models.tasks import ClassTask
from mdlake.models.tokens import TokenSpec
from mdlake.shrink.factorize.network import factorize
from mdlake.shrink.factorize.ranks import by_weights
from mdlake.shrink.quantize import quantize_all
from mdlake.shrink.quantize.activations import ActivationOptions, quantize_activations
from mdlake.shrink.structured.cut import prune_to_share
from mdlake.shrink.structured.importance import norm_scores
from mdlake.shrink.structured.macs import macs_per_row
from tests.test_cli import mdlake_command, ok
from tests.tiny_models import FEATURES, TASK, network_options, shards_of, write_lake, write_split

CLASSES = 3
IMAGES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "convnet": ({"size": 12, "stages": [[4, 6]], "hidden": [8], "dropout": 0.2}, (1, 12, 12)),
    "lenet_5": ({"size": 16, "filters": [4, 6], "hidden": 10}, (1, 16, 16)),
    "mobilenet": ({"channels": 2, "first": 4, "widths": [6, 8]}, (2, 8, 8)),
    "perceptron": ({"inputs": 32, "hidden": [12, 8]}, (2, 4, 4)),
    "resnet": ({"channels": 2, "widths": [4, 6], "blocks": 1}, (2, 8, 8)),
}
TOKENS = {"vocabulary": 9, "length": 5, "width": 8, "heads": 2, "layers": 1, "hidden": 12, "outputs": CLASSES}
TABULAR = {"tabular_ensemble": {"members": 3}, "tabular_mlp": {"category_dropout": 0.1}}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"), 1200)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of images of 1 x 16 x 16 pixels; the class is how bright they are."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, split in enumerate(("train", "validation")):
        random = np.random.default_rng(seed)
        labels = random.integers(0, CLASSES, 300)
        pixels = random.integers(0, 60, (300, 256), np.uint8) + (labels * 90).astype(np.uint8)[:, None]
        table = pa.table({"image": pa.array([row.tobytes() for row in pixels]), "label": labels})
        write_split(folder / split, table)
    return folder


@pytest.fixture(scope="module")
def features(lake: Path) -> FeatureSpec:
    return fit_features(shards_of(lake / "shards" / "train"), FEATURES, map)


def model_called(name: str, features: FeatureSpec) -> Model:
    """A network of this name, untrained; its batch statistics are as if it had seen data."""
    torch.manual_seed(0)
    metrics, lineage = {"accuracy": 0.5}, {"train": "00ff"}
    if name in TABULAR:
        options = {**network_options(features), **TABULAR[name]}
        return Model(name, options, features, TASK, build_network(name, options).eval(), metrics, lineage)
    if name == "encoder":
        module, seen = build_network(name, TOKENS).eval(), TokenSpec("ids", 5, 9)
        return Model(name, TOKENS, seen, ClassTask("label", CLASSES), module, metrics, lineage)
    options, shape = {**IMAGES[name][0], "outputs": CLASSES}, IMAGES[name][1]
    module = build_network(name, options).eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.running_var):
                nn.init.uniform_(tensor, 0.5, 2.0)  # type: ignore[arg-type]
            for tensor in (norm.bias, norm.running_mean):
                nn.init.normal_(tensor)  # type: ignore[arg-type]
    return Model(name, options, ImageSpec("image", shape), ClassTask("label", CLASSES), module, metrics, lineage)


def exported(
    tmp_path: Path, model: Model, schemes: dict[str, Kept] | None = None, **options: Any
) -> tuple[Any, Any, Model]:
    """The ONNX file of the model's artifact as protobuf, the report, the model that the artifact holds."""
    artifact, target = str(tmp_path / "model.safetensors"), tmp_path / "model.onnx"
    save_model(artifact, model, schemes, effort="fast")
    report = export_onnx(artifact, str(target), ExportOptions(**options))
    assert report.bytes == target.stat().st_size
    onnx.checker.check_model(str(target), full_check=True)
    return onnx.load(str(target)), report, load_with_schemes(artifact)[0]


def run(proto: Any, model: Model, rows: int, seed: int = 1, options: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Logits of made-up rows: those of the file, those of the network."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = model.features.tensors(model.features.made_up(rows, seed))
    with torch.no_grad():
        expected = model.module(*inputs).numpy()
    feed = {name: tensor.numpy() for name, tensor in zip(model.features.names, inputs, strict=True)}
    return np.asarray(session.run(["logits"], feed)[0]), expected


def linear_schemes(model: Model, bits: int = 4, granularity: str = "tensor") -> dict[str, Kept]:
    weights = dict(model.module.named_parameters())
    return dict(quantize_all(weights, {name: bits if w.dim() > 1 else 8 for name, w in weights.items()}, granularity))


def stored(proto: Any) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def operators(proto: Any) -> list[str]:
    return [node.op_type for node in proto.graph.node]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_runs_for_any_number_of_rows(tmp_path: Path, features: FeatureSpec, name: str) -> None:
    proto, report, model = exported(tmp_path, model_called(name, features))
    for rows in (1, 2, 7):
        found, expected = run(proto, model, rows)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [value.name for value in proto.graph.input] == list(report.inputs) == list(model.features.names)
    assert [value.name for value in proto.graph.output] == ["logits"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "rows"
    assert report.comparison.rows == 64 and report.comparison.difference < 1e-5
    assert report.opset == proto.opset_import[0].version
    state = model.module.state_dict()
    for tensor, values in stored(proto).items():
        assert tensor not in state or np.array_equal(values, state[tensor].numpy())


@pytest.mark.parametrize("name", ["lenet_5", "mobilenet", "resnet"])
def test_networks_that_were_cut(tmp_path: Path, features: FeatureSpec, name: str) -> None:
    model = model_called(name, features)
    prune_to_share(model.module, model.features.tensors(model.features.made_up(1)), norm_scores, 0.5)
    proto, _, model = exported(tmp_path, model)
    np.testing.assert_allclose(*run(proto, model, 5), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "convolutions"), [("convnet", "space"), ("resnet", "channel"), ("tabular_mlp", "channel")]
)
def test_networks_that_were_factorised(tmp_path: Path, features: FeatureSpec, name: str, convolutions: str) -> None:
    model = model_called(name, features)
    assert factorize(model.module, by_weights(0.5), convolutions=convolutions)
    proto, report, model = exported(tmp_path, model, linear_schemes(model), int8=True)
    np.testing.assert_allclose(*run(proto, model, 5), atol=1e-4)
    assert any(".0.weight" in weight for weight in report.int8_weights)


@pytest.mark.parametrize("kind", ["numeric", "categories"])
def test_tables_of_numbers_alone_and_of_categories_alone(tmp_path: Path, features: FeatureSpec, kind: str) -> None:
    alone = replace(features, numeric=()) if kind == "categories" else replace(features, categories=(), crosses={})
    options = {"numeric": len(alone.numeric), "cardinalities": list(alone.cardinalities), "hidden": [8]}
    options["widths"] = [3] * len(alone.categories)
    for name in TABULAR:
        folder = tmp_path / name
        folder.mkdir()
        model = Model(name, options, alone, TASK, build_network(name, options).eval())
        proto, _, model = exported(folder, model)
        assert [value.name for value in proto.graph.input] == ["numeric", "categories"]
        np.testing.assert_allclose(*run(proto, model, 5), atol=1e-5)


def test_the_description_goes_with_it_and_nothing_of_this_machine(tmp_path: Path, features: FeatureSpec) -> None:
    proto, _, model = exported(tmp_path, model_called("tabular_mlp", features))
    about = {entry.key: entry.value for entry in proto.metadata_props}
    assert (about["mdlake.network"], about["mdlake.label"]) == ("tabular_mlp", TASK.label)
    assert json.loads(about["mdlake.metrics"]) == model.metrics
    assert int(about["mdlake.macs"]) == macs_per_row(model)
    assert json.loads(about["mdlake.features"]) == model.features.to_json()
    data = (tmp_path / "model.onnx").read_bytes()
    assert b".py" not in data and b"torch" not in data and str(Path.home()).encode() not in data


@pytest.mark.parametrize("int8", [False, True])
def test_the_same_artifact_gives_the_same_bytes(
    tmp_path: Path, pictures: Path, features: FeatureSpec, int8: bool
) -> None:
    model, artifact = model_called("lenet_5", features), str(tmp_path / "model.safetensors")
    save_model(artifact, model, linear_schemes(model))
    options = ExportOptions(int8=int8, shards=str(pictures))
    for target in ("first.onnx", "second.onnx"):
        export_onnx(artifact, str(tmp_path / target), options)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


@pytest.mark.parametrize(
    ("name", "granularity"),
    [*((name, "tensor") for name in sorted(NETWORKS)), ("lenet_5", "channel"), ("mobilenet", "channel")]
    + [(name, "channel") for name in TABULAR],
)
def test_int8_levels_are_those_of_the_artifact(
    tmp_path: Path, features: FeatureSpec, name: str, granularity: str
) -> None:
    model = model_called(name, features)
    schemes = linear_schemes(model, granularity=granularity)
    proto, report, model = exported(tmp_path, model, schemes, int8=True)
    values, matrices = stored(proto), {name for name, p in model.module.named_parameters() if p.dim() > 1}
    assert set(report.int8_weights) == matrices and report.activations == 0
    for weight in matrices:
        scheme = schemes[weight]
        assert isinstance(scheme, Linear)
        levels = values[f"{weight}_quantized"]
        assert levels.dtype == np.int8 and np.array_equal(levels, scheme.levels)
        assert weight not in values
    assert "BatchNormalization" not in operators(proto)
    for rows in (1, 6):  # ONNX Runtime rounds what goes into matrix products of three dimensions itself
        np.testing.assert_allclose(*run(proto, model, rows), atol=1e-3 if name == "encoder" else 1e-4)


def test_a_normalisation_that_turns_signs_stays_a_node(tmp_path: Path, features: FeatureSpec) -> None:
    model = model_called("mobilenet", features)
    norms = [module for module in model.module.modules() if isinstance(module, nn.BatchNorm2d)]
    for place, gain in ((0, -1.0), (2, 0.0)):
        norms[place].weight.data[0] = gain
    weights = {name: p for name, p in model.module.named_parameters() if p.dim() > 1}
    proto, _, model = exported(
        tmp_path, model, dict(quantize_all(weights, dict.fromkeys(weights, 6), "tensor")), int8=True
    )
    assert operators(proto).count("BatchNormalization") == 2 and len(norms) == 5
    np.testing.assert_allclose(*run(proto, model, 5), atol=1e-4)


def test_weights_kept_otherwise_stay_float_unless_asked_for(tmp_path: Path, features: FeatureSpec) -> None:
    model = model_called("lenet_5", features)
    book = np.array([-0.1, 0.05, 0.1], np.float32)
    shape = model.module.get_parameter("hidden.weight").shape
    places = np.random.default_rng(0).integers(0, 4, shape)
    schemes: dict[str, Kept] = {
        "hidden.weight": Codebook.of(places, book),
        "out.weight": linear_schemes(model)["out.weight"],
    }
    for round_weights, expected in ((False, {"out.weight"}), (True, None)):
        folder = tmp_path / str(round_weights)
        folder.mkdir()
        proto, report, restored = exported(folder, model, schemes, int8=True, round_weights=round_weights)
        matrices = {name for name, p in restored.module.named_parameters() if p.dim() > 1}
        assert set(report.int8_weights) == (expected or matrices)
        if round_weights:
            assert stored(proto)["conv1.weight_scale"].shape == (4,)
        np.testing.assert_allclose(*run(proto, restored, 5), atol=1e-2 if round_weights else 1e-5)


def test_calibrated_activations_are_those_of_torch(tmp_path: Path, pictures: Path, features: FeatureSpec) -> None:
    """Rounding of inputs of layers costs a few per cent of the largest logit at most, and is as torch does it."""
    model = model_called("lenet_5", features)
    proto, report, model = exported(tmp_path, model, linear_schemes(model, 8), int8=True, shards=str(pictures))
    assert report.activations == operators(proto).count("QuantizeLinear") == 4
    comparison = report.comparison
    assert comparison.rows == 300 and 0 < comparison.difference < 0.05 * comparison.largest
    assert comparison.torch and comparison.onnx
    assert abs(comparison.torch.accuracy - comparison.onnx.accuracy) < 0.03


@pytest.mark.parametrize("name", ["mobilenet", "resnet", "convnet", "perceptron"])
def test_every_layer_of_images_gets_its_range(tmp_path: Path, features: FeatureSpec, name: str) -> None:
    model = model_called(name, features)
    random = np.random.default_rng(0)
    for split in ("train", "validation"):
        cells = [row.tobytes() for row in model.features.made_up(200, int(random.integers(99)))[0]]
        table = pa.table({"image": pa.array(cells), "label": random.integers(0, CLASSES, 200)})
        write_split(tmp_path / "shards" / split, table)
    options = {"int8": True, "shards": str(tmp_path / "shards")}
    proto, report, _ = exported(tmp_path, model, linear_schemes(model, 8), **options)
    layers = sum(operator in ("Conv", "Gemm") for operator in operators(proto))
    assert 0 < report.activations <= layers  # layers may share what they read
    assert report.comparison.difference < 0.1 * report.comparison.largest


def test_tables_get_ranges_too(tmp_path: Path, lake: Path, features: FeatureSpec) -> None:
    model = model_called("tabular_mlp", features)
    shards = lake / "shards"
    proto, report, _ = exported(tmp_path, model, linear_schemes(model, 8), int8=True, shards=str(shards), split="test")
    assert report.activations == 3 and report.comparison.torch and report.comparison.torch.auc is not None
    assert 0 < report.comparison.difference < 0.05 * report.comparison.largest
    assert operators(proto).count("DequantizeLinear") == 3 + len(report.int8_weights)


def test_inputs_of_layers_are_rounded_as_torch_rounds_them(features: FeatureSpec) -> None:
    model = model_called("resnet", features)
    schemes = linear_schemes(model, 8)
    model.module.load_state_dict({name: scheme.restore() for name, scheme in schemes.items()}, strict=False)
    inputs = model.features.tensors(model.features.made_up(100, 5))
    rounded = replace(model, module=copy.deepcopy(model.module))
    found = quantize_activations(rounded.module, [Batch(inputs, torch.zeros(100))], ActivationOptions())
    proto = onnx_graph(model)
    assert quantized.quantize_activations(proto, found) == len(found) - 1  # two layers read one tensor
    quantized.quantize_weights(proto, quantized.int8_levels(proto, schemes, False))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    logits, expected = run(proto, rounded, 50, options=options)
    steps = np.abs(logits - expected) / np.abs(expected).max()
    assert np.median(steps) < 1e-5 and steps.max() < 0.02  # here and there a value is rounded the other way


def test_onnx_runtime_computes_in_integers(tmp_path: Path, pictures: Path, features: FeatureSpec) -> None:
    model = model_called("lenet_5", features)
    proto, _, _ = exported(tmp_path, model, linear_schemes(model, 8), int8=True, shards=str(pictures))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    used = operators(onnx.load(str(tmp_path / "optimised.onnx")))
    assert used.count("QLinearConv") == 2 and "QGemm" in used and "Conv" not in used


def test_nothing_is_overwritten(tmp_path: Path, features: FeatureSpec) -> None:
    artifact, target = str(tmp_path / "model.safetensors"), tmp_path / "model.onnx"
    save_model(artifact, model_called("perceptron", features))
    target.write_bytes(b"mine")
    with pytest.raises(InvalidArgumentError, match=r"model\.onnx.*there is a file already"):
        export_onnx(artifact, str(target))
    assert target.read_bytes() == b"mine"


def test_what_cannot_be_exported_is_told(tmp_path: Path, lake: Path, features: FeatureSpec) -> None:
    artifact, target = str(tmp_path / "model.safetensors"), str(tmp_path / "model.onnx")
    model = model_called("perceptron", features)
    save_model(artifact, model)
    with pytest.raises(InvalidArgumentError, match=r"model\.safetensors.*--round-weights"):
        export_onnx(artifact, target, ExportOptions(int8=True))
    with pytest.raises(InvalidArgumentError, match="goes with int8"):
        ExportOptions(round_weights=True)
    with pytest.raises(InvalidArgumentError, match="no such column"):
        export_onnx(artifact, target, ExportOptions(shards=str(lake / "shards")))
    with pytest.raises(StoreError):
        export_onnx(str(tmp_path / "nowhere.safetensors"), target)
    assert not Path(target).exists()


def test_a_missing_package_is_told_with_its_extra(
    tmp_path: Path, features: FeatureSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InvalidArgumentError, match=r'onnxscript.*pip install "mdlake\[onnx\]"'):
        export_onnx(str(tmp_path / "model.safetensors"), str(tmp_path / "model.onnx"))


class Doubled(nn.Module):
    """A user's own class: a layer applied to lists of rows, and a buffer that is not stored."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, CLASSES)
        self.register_buffer("factor", torch.tensor(2.0), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(2)).sum(1) * self.factor


class Branching(Doubled):
    """What no graph can say: its way depends on its values."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) if float(images.sum()) > 0 else super().forward(-images)


def test_a_users_own_class(tmp_path: Path, features: FeatureSpec) -> None:
    spec, task = ImageSpec("image", (2, 4, 4)), ClassTask("label", CLASSES)
    model = Model("doubled", {"width": 16}, spec, task, Doubled(16).eval())
    artifact, target = str(tmp_path / "model.safetensors"), str(tmp_path / "model.onnx")
    save_model(artifact, model, linear_schemes(model))
    with pytest.raises(UnsupportedVersionError, match=r"no network is called 'doubled'.*model_class"):
        export_onnx(artifact, target)
    with pytest.raises(InvalidArgumentError, match="cannot export the network 'doubled'"):
        export_onnx(artifact, target, model_class=Branching)
    report = mdlake.export_onnx(artifact, target, int8=True, model_class=Doubled)
    assert report.int8_weights == ("layer.weight",)
    assert report.comparison.difference < 0.02 * report.comparison.largest  # ONNX Runtime rounds what a MatMul reads


def test_the_command_says_what_it_measured(tmp_path: Path, lake: Path, features: FeatureSpec) -> None:
    model = model_called("tabular_mlp", features)
    artifact, target = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    save_model(str(artifact), model, linear_schemes(model, 8))
    said = ok("model", "export", artifact, target, "--int8", "--shards", lake / "shards", "--split", "test")
    assert f"{target.stat().st_size / 1e3:.2f} kB" in said
    assert all(text in said for text in ("opset", "int8", "largest difference of logits", "AUC", "accuracy"))
    again = mdlake_command("export", artifact, target)
    assert again.returncode == 1 and "there is a file already" in again.stderr and "Traceback" not in again.stderr
