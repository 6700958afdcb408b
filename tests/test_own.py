"""A user's own network and inputs: imported because the user gave their path, never because a file names it."""

from __future__ import annotations

import pickle
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from test_images import SHAPE, SPEC, TASK, TRAINING, source, table

import mdlake
from mdlake.artifact import artifact_bytes, container, inspect, load_artifact, parse_artifact, save_model, unpack
from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError
from mdlake.export import ExportOptions, export_onnx
from mdlake.lake.store import open_store
from mdlake.models.batches import Source
from mdlake.models.bundle import Model, load_bundle, save_bundle
from mdlake.models.images import ImageSpec
from mdlake.models.inputs import fit_inputs
from mdlake.models.networks import build_network, count_parameters
from mdlake.models.opening import open_shards
from mdlake.models.own import Own, OwnInputs, resolve
from mdlake.models.scoring import ScoreTask, score_file
from mdlake.models.training import Trainer, hard_loss, predict
from mdlake.models.trial import try_network
from mdlake.shrink.attempts import CompressOptions, attempts
from mdlake.shrink.compress import compress
from mdlake.shrink.distill.loss import DistillOptions
from mdlake.shrink.stages import Data
from ray_tasks.recipe import parse_recipe
from ray_tasks.students import chosen_way
from tests.own_networks import INPUTS, NETWORK, Halves, Lines, Tied, plain

GIVEN = Own(NETWORK, INPUTS)


def own_source(folder: Path, rows: int, seed: int = 0) -> Source:
    folder.mkdir(parents=True)
    pq.write_table(table(rows, seed), folder / "part-0.parquet", row_group_size=200)
    shards = open_shards(str(folder))
    return Source(shards, fit_inputs(shards, OwnInputs(INPUTS), map), TASK)


def own_model(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    module = build_network(NETWORK, {"hidden": 20}, own=GIVEN).eval()
    return Model(NETWORK, {"hidden": 20}, OwnInputs(INPUTS), TASK, module, {"accuracy": 0.5})


def test_it_is_trained_made_small_and_loaded_as_any_other(tmp_path: Path) -> None:
    """Taken apart and pruned: the file's layers are others than the factory makes."""
    train, validation = own_source(tmp_path / "train", 600), own_source(tmp_path / "validation", 300, 1)
    dense = own_model()
    dense.module.train()
    try_network(NETWORK, dense.module, validation)
    assert dense.module.training
    list(Trainer(dense.module, train, validation, replace(TRAINING, epochs=8), hard_loss).run())
    data = Data(train, validation, hard_loss)
    assert data.measure(dense.module) > 0.75
    stages = [{"use": "factorize", "share": 0.5, "training": {"epochs": 1}}, {"use": "prune", "sparsity": 0.2}]
    (found,) = compress(dense, attempts(CompressOptions(stages, training=TRAINING)), data)
    loaded = parse_artifact(found.data, model_class=NETWORK, inputs=INPUTS)
    assert count_parameters(loaded.module) < 0.8 * count_parameters(dense.module)
    assert data.measure(loaded.module) == found.score
    store = open_store(str(tmp_path))
    save_bundle(store, "model.safetensors", loaded)
    again = load_bundle(store, "model.safetensors", GIVEN)
    assert data.measure(again.module) == found.score
    logits, _ = predict(
        again.module, iter([Source(train.shards, again.features, TASK).batch(train.arrays(train.shards.units()[0]))])
    )
    assert logits.shape == (200, 3)


def test_what_a_file_names_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    sys.path.insert(0, str(tmp_path))
    try:
        trap = replace(own_model(), network="trap:Network")
        data = artifact_bytes(trap)
        for given in (None, NETWORK, "lenet_5"):
            with pytest.raises(InvalidArgumentError, match=r"'trap:Network'.*the recipe that it was trained with"):
                parse_artifact(data, model_class=given, inputs=INPUTS)
        with pytest.raises(InvalidArgumentError, match="pass model_class="):
            parse_artifact(data, inputs=INPUTS)
        inputs = artifact_bytes(replace(own_model(), features=OwnInputs("trap:halves", Halves())))
        with pytest.raises(InvalidArgumentError, match=r"inputs 'trap:halves': a user's own.*pass inputs="):
            parse_artifact(inputs, model_class=NETWORK)
        store = open_store(str(tmp_path))
        save_bundle(store, "model.safetensors", trap)
        with pytest.raises(InvalidArgumentError, match=r"model\.safetensors.*a user's own code is never imported"):
            load_bundle(store, "model.safetensors", Own(inputs=INPUTS))
    finally:
        sys.path.remove(str(tmp_path))
    assert "trap" not in sys.modules


@pytest.mark.parametrize("features", [{"own": 5}, {"own": "halves", "settings": {}}, {"own": None}, "own", ["own"]])
def test_a_file_whose_inputs_are_no_path_is_corrupt(features: Any) -> None:
    parts, about = container.unpack(artifact_bytes(own_model()))
    data = container.pack({name: bytes(part) for name, part in parts.items()}, {**about, "features": features})
    for inputs in (None, INPUTS):
        with pytest.raises((CorruptError, InvalidArgumentError)):
            parse_artifact(data, model_class=NETWORK, inputs=inputs)


@pytest.mark.parametrize("changes", [{"network": ["a"]}, {"network": None}, {"options": 5}, {"options": ["hidden"]}])
def test_a_file_whose_network_is_no_name_is_refused(changes: dict[str, Any]) -> None:
    parts, about = container.unpack(artifact_bytes(own_model()))
    data = container.pack({name: bytes(part) for name, part in parts.items()}, {**about, **changes})
    for network in (NETWORK, Lines, None):
        with pytest.raises(MdlakeError):
            parse_artifact(data, model_class=network, inputs=INPUTS)


def test_a_file_is_read_with_the_class_itself_or_its_path(tmp_path: Path) -> None:
    url, model = str(tmp_path / "model.safetensors"), own_model()
    save_model(url, model)
    batch = torch.rand(5, 16, 16), torch.rand(5)
    for network, inputs in ((NETWORK, INPUTS), (Lines, Halves())):
        assert torch.equal(mdlake.load_model(url, model_class=network, inputs=inputs)(*batch), model.module(*batch))
    assert load_artifact(url, model_class=NETWORK, inputs=Halves()).features.columns == ["image"]
    assert {row.name for row in inspect(url)} > {"first.weight"}  # needs no class
    unpack(url, str(tmp_path / "plain.safetensors"))
    registered = replace(model, network="perceptron", options={"inputs": 256, "hidden": [4], "outputs": 3})
    registered.module = build_network("perceptron", registered.options)
    with pytest.raises(InvalidArgumentError, match=r"made with the network 'perceptron', but .*:Lines' was given"):
        parse_artifact(artifact_bytes(registered), model_class=NETWORK, inputs=INPUTS)
    with pytest.raises(InvalidArgumentError, match=r"weights: first\.weight is \[20, 256\]|does not fit the weights"):
        load_artifact(url, model_class=lambda hidden: plain(hidden), inputs=INPUTS)


def test_inputs_travel_as_their_path_and_must_be_those_of_the_training() -> None:
    inputs = OwnInputs(INPUTS)
    assert pickle.loads(pickle.dumps(inputs)) == inputs and b"Halves" not in pickle.dumps(inputs)
    assert inputs.to_json() == {"own": INPUTS, "settings": {"column": "image", "scale": 255}}
    data = artifact_bytes(replace(own_model(), features=OwnInputs(INPUTS, Halves(scale=1))))
    with pytest.raises(InvalidArgumentError, match=r"were .*'scale': 1.* when the network was trained, and are .*255"):
        parse_artifact(data, model_class=NETWORK, inputs=INPUTS)
    for wrong, message in (
        ("tests.own_networks:Halves", "a class, not an object of it"),
        ("tests.own_networks:Lines", "a class"),
        ("tests.own_networks:number", "without columns, transform, tensors, to_json"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            _ = OwnInputs(wrong).columns


class _Lists(Halves):
    def transform(self, table: Any) -> Any:
        return ([1, 2, 3],)

    def to_json(self) -> dict[str, Any]:
        return {"column": self}


def test_what_inputs_give_is_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="gives NumPy arrays of 7 rows, not list"):
        OwnInputs("mine:lists", _Lists()).transform(table(7))
    with pytest.raises(InvalidArgumentError, match="to_json of the inputs 'mine:lists' is not JSON"):
        OwnInputs("mine:lists", _Lists()).to_json()


def test_a_path_that_leads_nowhere_says_where_it_ends() -> None:
    for path, message in (
        ("no_such_module:Network", r"cannot be imported \(ModuleNotFoundError.*runtime_env.*--working-dir"),
        ("tests.own_networks:Nothing", "no 'Nothing' in tests.own_networks"),
        (":Lines", "an import path is package.module:name"),
        ("tests/own_networks.py:Lines", "an import path is package.module:name"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            resolve(path)
    for path, options, message in (
        (NETWORK, {"depth": 3}, "cannot be made with the options .*depth"),
        ("tests.own_networks:number", {}, "made as int, not as a torch.nn.Module"),
        ("tests.own_networks:halves", {}, "is Halves, but a network is made by calling it"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            build_network(path, options, own=Own(path))
    with pytest.raises(InvalidArgumentError, match="never imported because a file names it"):
        build_network(NETWORK, {})


def test_a_network_that_does_not_fit_its_inputs_is_told_before_it_is_trained(tmp_path: Path) -> None:
    images = source(tmp_path / "images", 20)
    assert images.features == SPEC and SHAPE == (1, 16, 16)
    for network, message in (
        (Lines(), r"cannot take what the inputs give \(float32 \[2, 1, 16, 16\]\): TypeError"),
        (resolve("tests.own_networks:short")(), r"answers 2 rows with \[2, 2\], expected logits \[2, 3\]"),
        (Tied(), r"first\.weight and second\.weight are one tensor"),
    ):
        with pytest.raises(InvalidArgumentError, match=message) as raised:
            try_network("mine:network", network, images)
        assert raised.value.place["network"] == "mine:network"
    try_network("mine:network", plain(), images)


def test_a_recipe_may_leave_open_how_to_teach() -> None:
    """Options that are lists are combined; who has no student to choose by gives single values."""
    columns = {"network": "tabular_mlp", "numeric": ["a"]}
    tables = {"label": "a > 1", "teacher": columns, "distill": {"temperature": [1.0, 4.0], "soft": [0.5, 0.9]}}
    ways = parse_recipe({**tables, "student": columns}).distill
    assert [(way.temperature, way.soft) for way in ways] == [(1.0, 0.5), (1.0, 0.9), (4.0, 0.5), (4.0, 0.9)]
    with pytest.raises(InvalidArgumentError, match="without a student there is one way"):
        parse_recipe(tables)
    wrong: list[tuple[object, str]] = [
        ("soft", "options are a table, not 'soft'"),
        ({"temperature": []}, "temperature is an empty list"),
        ({"temperature": float("nan")}, "temperature must be positive"),
        ({"asked": True, "features": "hint"}, "features are a table"),
        ({"asked": True, "features": {"kind": "hint", "pairs": ["a", "b"]}}, "lists of two names"),
    ]
    assert parse_recipe({**tables, "student": columns, "compress": {"distill": {"soft": 0.2}}}).taught_on == (
        DistillOptions(soft=0.2)
    )
    for distill, message in wrong:
        with pytest.raises(InvalidArgumentError, match=message):
            parse_recipe({**tables, "distill": distill, "student": columns})
    recipe = parse_recipe({**tables, "student": columns})
    assert chosen_way(recipe, {"distill": asdict(ways[2])}) == ways[2]
    with pytest.raises(InvalidArgumentError, match="run distill again"):
        chosen_way(recipe, {"distill": asdict(replace(ways[2], soft=0.7))})


def test_a_recipe_names_them() -> None:
    teacher = {"network": NETWORK, "inputs": INPUTS, "options": {"hidden": 20}}
    plan = parse_recipe({"label": "label", "classes": 3, "teacher": teacher}).teacher
    assert plan.own == GIVEN and plan.seen == OwnInputs(INPUTS)
    assert plan.network_options(OwnInputs(INPUTS), 3) == {"hidden": 20}
    for wrong, message in (({"inputs": "halves"}, "package.module:name"), ({"numeric": ["x"]}, "leave the others out")):
        with pytest.raises(InvalidArgumentError, match=f"teacher.*{message}"):
            parse_recipe({"label": "label", "classes": 3, "teacher": {**teacher, **wrong}})


@pytest.mark.parametrize(("classes", "options"), [(4, {"outputs": 4}), (10, {})])
def test_the_library_s_networks_have_as_many_outputs_as_there_are_classes(classes: int, options: dict) -> None:
    teacher = {"network": "lenet_5", "image": {"column": "image", "shape": [1, 28, 28]}}
    recipe = parse_recipe({"label": "label", "classes": classes, "teacher": teacher})
    assert recipe.teacher.network_options(ImageSpec("image", (1, 28, 28)), classes) == options
    given = parse_recipe({"label": "label", "classes": classes, "teacher": {**teacher, "options": {"outputs": 7}}})
    assert given.teacher.network_options(ImageSpec("image", (1, 28, 28)), classes)["outputs"] == 7


def test_a_network_of_other_outputs_is_told_before_it_is_trained_and_not_scored(tmp_path: Path) -> None:
    images = source(tmp_path / "images", 20)
    network = build_network("lenet_5", {"size": 16, "filters": [4, 6], "hidden": 12, "outputs": 5})
    with pytest.raises(InvalidArgumentError, match=r"2 rows with \[2, 5\], expected logits \[2, 3\]"):
        try_network("lenet_5", network, images)
    scored = Model("lenet_5", {}, images.features, images.task, network, {}, {})
    task = ScoreTask(images.shards, 0, open_store(str(tmp_path)), "scores.parquet")
    with pytest.raises(InvalidArgumentError, match=r"gives logits \[\d+, 5\], the task has \[\d+, 3\]"):
        score_file(scored, task)
    assert not (tmp_path / "scores.parquet").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clases": 3}, "the recipe has no 'clases'; it has label, classes, teacher, student"),
        ({"compress": {"max_dropp": 0.1}}, "compress has no 'max_dropp'; it has stages, max_drop"),
        ({"distill": {"temprature": 2.0}}, "distill has no 'temprature'; it has temperature"),
        ({"compress": {"training": {"learning_rate": "x"}}}, "learning_rate of compress.training is a number, not 'x'"),
        ({"compress": {"stages": [{"use": "codebook", "entries": "8"}]}}, "entries of codebook is a whole number, not"),
        ({"compress": {"stages": [{"use": "prune", "biases": 1}]}}, "biases of prune is true or false, not 1"),
        ({"compress": {"stages": [{"use": ["prune"]}]}}, r"a stage uses one of prune, .*, not \['prune'\]"),
        ({"compress": {"stages": [{"use": "prune", "ramp_epoch": 3}]}}, "prune has no 'ramp_epoch'; it has sparsity"),
        ({"compress": {"refine": True}}, "refine of compress is a whole number, not True"),
    ],
)
def test_what_a_recipe_does_not_know_is_named(changes: dict, message: str) -> None:
    teacher = {"network": "lenet_5", "image": {"column": "image", "shape": [1, 28, 28]}}
    with pytest.raises(InvalidArgumentError, match=message):
        parse_recipe({"label": "label", "classes": 3, "teacher": teacher, **changes})


def test_inputs_that_make_nothing_up_are_traced_by_rows_of_the_shards(tmp_path: Path) -> None:
    source(tmp_path / "shards" / "validation", 40)
    artifact, target = str(tmp_path / "lines.safetensors"), str(tmp_path / "lines.onnx")
    save_model(artifact, Model(NETWORK, {}, OwnInputs(INPUTS), TASK, Lines().eval(), {}, {}))
    given: dict[str, Any] = {"model_class": NETWORK, "inputs": INPUTS}
    with pytest.raises(InvalidArgumentError, match="have no made_up"):
        export_onnx(artifact, target, **given)
    report = export_onnx(artifact, target, ExportOptions(shards=str(tmp_path / "shards")), **given)
    assert report.inputs == ("input_0", "input_1")
    assert report.comparison.rows == 40 and report.comparison.difference < 1e-4
