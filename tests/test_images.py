"""Images and classes: what a network sees is what the files hold, and what is neither is refused by name."""

from __future__ import annotations

import pickle
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from reference.artifact import read_weights

import mdlake
from mdlake.artifact import artifact_bytes, parse_artifact
from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.lake.store import open_store
from mdlake.models.batches import Share, Source, ordered_batches, training_batches
from mdlake.models.bundle import Model, load_bundle, save_bundle
from mdlake.models.checkpoints import load_checkpoint, save_checkpoint
from mdlake.models.images import ImageOptions, ImageSpec
from mdlake.models.inputs import fit_inputs, inputs_from_json
from mdlake.models.networks import build_network, count_parameters
from mdlake.models.opening import open_shards
from mdlake.models.schemes import Codebook
from mdlake.models.scoring import ScoreTask, logits_of, score_file
from mdlake.models.tasks import ClassTask, task_from_json
from mdlake.models.training import Trainer, TrainingOptions, hard_loss, predict
from mdlake.shrink.attempts import CompressOptions, attempts
from mdlake.shrink.compress import compress
from mdlake.shrink.distill.loss import DistillLoss, DistillOptions
from mdlake.shrink.stages import Data
from mdlake.shrink.structured.macs import macs

SHAPE = (1, 16, 16)
SPEC, TASK = ImageSpec("image", SHAPE), ClassTask("label", 3)
TRAINING = TrainingOptions(epochs=4, batch_size=32, learning_rate=5e-3, warmup_steps=5)


def stripes(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [rows, 1, 16, 16] of noise with a light row, column or diagonal, and which it is."""
    random = np.random.default_rng(seed)
    images, labels = random.integers(0, 90, (rows, *SHAPE)).astype(np.uint8), random.integers(0, 3, rows)
    for image, label, at in zip(images[:, 0], labels, random.integers(0, 16, rows), strict=True):
        if label == 2:
            image[np.arange(16), (np.arange(16) + at) % 16] += 160
        else:
            image[(at, slice(None)) if label else (slice(None), at)] += 160
    return images, labels


def table(rows: int, seed: int = 0) -> pa.Table:
    images, labels = stripes(rows, seed)
    return pa.table({"image": pa.array([image.tobytes() for image in images]), "label": pa.array(labels, pa.int8())})


def source(folder: Path, rows: int, seed: int = 0) -> Source:
    folder.mkdir(parents=True)
    pq.write_table(table(rows, seed), folder / "part-0.parquet", row_group_size=200)
    return Source(open_shards(str(folder)), SPEC, TASK)


def lenet(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network("lenet_5", {"size": 16, "filters": [4, 6], "hidden": 12, "outputs": 3})


def model(seed: int = 0) -> Model:
    options = {"size": 16, "filters": [4, 6], "hidden": 12, "outputs": 3}
    return Model("lenet_5", options, SPEC, TASK, lenet(seed).eval(), {"accuracy": 0.5})


def encoded(image: np.ndarray, format: str) -> bytes:
    sink = BytesIO()
    Image.fromarray(image).save(sink, format)
    return sink.getvalue()


def test_channels_last_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    store, split = open_store(tmp_path / "lake"), source(tmp_path / "split", 200)
    whole, killed, continued = (
        Trainer(lenet(), split, split, TRAINING, hard_loss, channels_last=True) for _ in range(3)
    )
    list(whole.run())
    next(killed.run())
    save_checkpoint(store, "model", killed, "f")
    assert load_checkpoint(store, "model", continued, "f")
    list(continued.run())
    weight, other = (trainer.network.get_parameter("conv2.weight") for trainer in (continued, whole))
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    assert continued.optimizer.state[weight]["exp_avg"].stride() == weight.stride()
    assert torch.equal(weight, other)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_raw_bytes_are_pixels_in_their_order(kind: pa.DataType) -> None:
    images, _ = stripes(7)
    cells = pa.table({"image": pa.array([image.tobytes() for image in images], kind)})
    for part, expected in ((cells, images), (cells.slice(2, 3), images[2:5]), (cells.slice(0, 0), images[:0])):
        (found,) = SPEC.transform(part)
        assert found.dtype == np.uint8 and np.array_equal(found, expected)
    (pixels,) = SPEC.tensors(SPEC.transform(cells))
    assert pixels.dtype == torch.float32 and torch.equal(pixels, torch.from_numpy(images).float() / 255)


def test_encoded_images_are_decoded() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    cells = pa.table({"image": pa.array([encoded(image, "PNG") for image in pixels])})
    (found,) = ImageSpec("image", (3, 16, 16)).transform(cells)
    assert np.array_equal(found, pixels.transpose(0, 3, 1, 2))
    smooth = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[None, :], 16, axis=0)
    (jpeg,) = SPEC.transform(pa.table({"image": pa.array([encoded(smooth, "JPEG")])}))
    assert np.abs(jpeg[0, 0].astype(int) - smooth).max() < 20


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1, 2]), "images are binary, but the column is int64"),
        (pa.array([b"\0" * 256, None]), "rows without an image"),
        (pa.array([b"\0" * 256, b"\0" * 255]), "row 0 has 256 bytes, which are neither 1x16x16 pixels nor"),
        (pa.array([encoded(np.zeros((16, 15), np.uint8), "PNG")]), "row 0 is 16 x 15 pixels, expected 16 x 16"),
        (pa.array([encoded(stripes(1)[0][0, 0], "PNG")[:150]]), "row 0 has 150 bytes"),
    ],
)
def test_what_is_no_image_is_refused_by_name(column: pa.Array, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"column 'image': .*{message}"):
        SPEC.transform(pa.table({"image": column}))


def test_pixels_are_standardised_by_the_train_split(tmp_path: Path) -> None:
    shards = source(tmp_path / "train", 500).shards
    spec = fit_inputs(shards, ImageOptions("image", SHAPE, normalize=True), map)
    assert isinstance(spec, ImageSpec) and inputs_from_json(spec.to_json()) == spec
    (pixels,) = spec.tensors(spec.transform(table(500)))
    assert abs(float(pixels.mean())) < 1e-3 and abs(float(pixels.std(correction=0)) - 1) < 1e-3
    assert fit_inputs(shards, ImageOptions("image", SHAPE), map) == SPEC


def test_specifications_that_make_no_sense_are_refused() -> None:
    for data in (
        {"image": "x"},
        {"image": "x", "shape": [1, 2]},
        {"image": "x", "shape": [1, 2, 3], "mean": [0, 0]},
        3,
    ):
        with pytest.raises(CorruptError):
            inputs_from_json(data)  # type: ignore[arg-type]
    for classes in (1, -3, 1 << 21, 2.5):
        with pytest.raises(InvalidArgumentError, match="classes"):
            ClassTask("label", classes)  # type: ignore[arg-type]
    assert task_from_json(TASK.to_json()) == TASK


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([0, 3]), "classes are 0 to 2, but there is 3"),
        (pa.array([-1, 0]), "classes are 0 to 2, but there is -1"),
        (pa.array([0.0, 1.0]), "classes are integers, but the column is double"),
    ],
)
def test_labels_out_of_range_are_refused(column: pa.Array, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"column 'label': {message}"):
        TASK.labels(pa.table({"label": column}))
    with pytest.raises(InvalidArgumentError, match="there is no such column to make the label 'label' of; there are x"):
        TASK.labels(pa.table({"x": column}))


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    images, labels = stripes(40)
    holes = np.arange(40) % 4 == 0
    cells = {"image": [image.tobytes() for image in images], "label": pa.array(labels, mask=holes)}
    (tmp_path / "t").mkdir()
    pq.write_table(pa.table(cells), tmp_path / "t" / "a.parquet")
    (batch,) = ordered_batches(Source(open_shards(str(tmp_path / "t")), SPEC, TASK))
    assert batch.labels.tolist() == labels[~holes].tolist() and len(batch.inputs[0]) == 30


def test_a_measure_of_classes_is_loss_and_accuracy() -> None:
    logits = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0], [800.0, -800.0, 0.0]], np.float32)
    labels = np.array([0, 1, 0])
    found = TASK.measure(logits, labels)
    assert found.auc is None and found.accuracy == found.score == pytest.approx(2 / 3)
    assert found.loss == pytest.approx(float(TASK.loss(torch.from_numpy(logits), torch.from_numpy(labels))), rel=1e-6)


def test_a_teacher_of_other_classes_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"the teacher has \[4\] outputs a row"):
        loss = DistillLoss(DistillOptions(), torch.nn.Linear(2, 4))
        loss(TASK, torch.zeros(5, 3), type("B", (), {"scores": None, "inputs": (torch.zeros(5, 2),)}))  # type: ignore[arg-type]


def test_a_network_of_images_is_trained_scored_pruned_shared_and_packed(tmp_path: Path) -> None:
    """From Parquet to an artifact that is exactly the network that was measured, the same bytes each time."""
    train, validation = source(tmp_path / "train", 900), source(tmp_path / "validation", 300, 1)
    dense = model()
    list(Trainer(dense.module, train, validation, TRAINING, hard_loss).run())
    store = open_store(str(tmp_path))
    save_bundle(store, "dense.safetensors", dense)
    assert load_bundle(store, "dense.safetensors").task == TASK
    data = Data(train, validation, DistillLoss(DistillOptions(), dense.module))
    assert data.measure(dense.module) > 0.85
    stages = [
        {"use": "prune", "sparsity": 0.7, "score": "lamp", "biases": True, "ramp_epochs": 2},
        {"use": "codebook", "entries": 6, "more": 0.0},
    ]
    (attempt,) = attempts(CompressOptions(stages, training=TRAINING))
    (found,) = compress(dense, [attempt], data)
    loaded = parse_artifact(found.data)
    assert loaded.features == SPEC and loaded.task == TASK
    assert data.measure(loaded.module) == found.score > 0.8
    zeros = [float((p == 0).float().mean()) for p in loaded.module.parameters()]
    total = sum(p.numel() for p in loaded.module.parameters())
    assert sum(z * p.numel() for z, p in zip(zeros, loaded.module.parameters(), strict=True)) >= 0.7 * total - 1
    assert all(len(p.unique()) <= 7 for p in loaded.module.parameters())
    assert len(found.data) < 4 * total / 6
    assert compress(dense, [attempt], data)[0].data == found.data


def test_rounding_by_rate_needs_no_training_and_finds_the_price(tmp_path: Path) -> None:
    """The price of a bit is searched so that the score stays at the floor; a lower floor gives fewer bytes."""
    train, validation = source(tmp_path / "train", 900), source(tmp_path / "validation", 300, 1)
    dense = model()
    list(Trainer(dense.module, train, validation, TRAINING, hard_loss).run())
    before = {name: tensor.clone() for name, tensor in dense.module.state_dict().items()}
    data = Data(train, validation, hard_loss)
    whole, sizes = data.measure(dense.module), []
    (attempt,) = attempts(CompressOptions([{"use": "rate", "rows": 800}]))
    for drop in (0.005, 0.1):
        (found,) = compress(dense, [attempt], replace(data, floor=whole - drop))
        loaded = parse_artifact(found.data)
        assert data.measure(loaded.module) == found.score >= whole - drop and not found.history
        sizes.append(len(found.data))
    assert sizes[1] < sizes[0] < 4 * count_parameters(dense.module) / 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in dense.module.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options", "stage"),
    [
        ("lenet_5", {"size": 16, "filters": [8, 12], "hidden": 24, "outputs": 3}, {"use": "cut", "share": 0.4}),
        ("resnet", {"channels": 1, "widths": [8, 12], "blocks": 2, "outputs": 3}, {"use": "cut", "share": 0.5}),
        ("mobilenet", {"channels": 1, "first": 8, "widths": [12, 16], "outputs": 3}, {"use": "cut", "share": 0.5}),
        ("perceptron", {"inputs": 256, "hidden": [32, 16], "outputs": 3}, {"use": "factorize", "share": 0.8}),
        ("lenet_5", {"size": 16, "filters": [8, 12], "hidden": 24, "outputs": 3}, {"use": "factorize", "share": 0.8}),
    ],
)
def test_a_network_that_was_cut_or_taken_apart_is_loaded_so(
    name: str, options: dict, stage: dict, tmp_path: Path
) -> None:
    train, validation = source(tmp_path / "train", 400), source(tmp_path / "validation", 200, 1)
    torch.manual_seed(0)
    whole = Model(name, options, SPEC, TASK, build_network(name, options), {"accuracy": 0.5})
    data = Data(train, validation, hard_loss)
    list(Trainer(whole.module, train, validation, TRAINING, hard_loss).run())
    stages = [{**stage, "training": {"epochs": 1}}, {"use": "prune", "sparsity": 0.2}]
    (found,) = compress(whole, attempts(CompressOptions(stages, training=TRAINING)), data)
    loaded = parse_artifact(found.data)
    assert count_parameters(loaded.module) < 0.9 * count_parameters(whole.module)
    example = data.held[0].inputs
    assert macs(loaded.module, example) < 0.9 * macs(whole.module, example)
    assert data.measure(loaded.module) == found.score
    save_bundle(open_store(str(tmp_path)), "cut.safetensors", loaded)
    assert data.measure(load_bundle(open_store(str(tmp_path)), "cut.safetensors").module) == found.score
    with pytest.raises(InvalidArgumentError, match="put it before the others"):
        compress(whole, attempts(CompressOptions(list(reversed(stages)), training=TRAINING)), data)


def test_an_archive_is_trained_from_as_its_parquet_is(tmp_path: Path) -> None:
    plain = source(tmp_path / "plain", 450)
    mdlake.encode(tmp_path / "plain", tmp_path / "archive", "fast", rows_per_block=200)
    archived = replace(plain, shards=open_shards(str(tmp_path / "archive"), columns=["image", "label"]))
    assert archived.shards.row_groups == ((200, 200, 50),) and archived.shards.rows == 450
    given = {"batch_size": 32, "steps": 20, "seed": 1, "epoch": 0, "buffer_rows": 128}
    sent = pickle.loads(pickle.dumps(archived))
    for read in (archived, sent):
        for one, other in zip(
            training_batches(plain, Share(), **given), training_batches(read, Share(), **given), strict=True
        ):
            assert torch.equal(one.inputs[0], other.inputs[0]) and torch.equal(one.labels, other.labels)
    teacher, store = model(), open_store(str(tmp_path))
    score_file(teacher, ScoreTask(archived.shards, 0, store, f"scores/{archived.shards.files[0]}"))
    scored = replace(archived, scores=open_shards(str(tmp_path / "scores")))
    for batch in ordered_batches(scored):
        assert batch.scores is not None and torch.allclose(batch.scores, teacher.module(*batch.inputs), atol=1e-5)
    with pytest.raises(
        InvalidArgumentError, match=r"column 'nix'.*this archive has no such column; it has image, label"
    ):
        open_shards(str(tmp_path / "archive"), columns=["nix"])


def test_scores_of_classes_lie_beside_the_shards(tmp_path: Path) -> None:
    given, teacher, store = source(tmp_path / "train", 450), model(), open_store(str(tmp_path))
    assert score_file(teacher, ScoreTask(given.shards, 0, store, "scores/part-0.parquet")) == 450
    scored = Source(given.shards, SPEC, TASK, open_shards(str(tmp_path / "scores")))
    alone = replace(scored, scores=None)
    for batch in ordered_batches(scored):
        assert batch.scores is not None
        assert torch.allclose(batch.scores, teacher.module(*batch.inputs), atol=1e-5)
    sent, held = pickle.loads(pickle.dumps([alone, scored]))  # two trainings in one worker
    assert sent.held is not held.held and alone.held is not scored.held
    assert all(batch.scores is None and batch.labels.dtype == torch.int64 for batch in ordered_batches(alone))
    logits, labels = predict(teacher.module, ordered_batches(given))
    assert logits.shape == (450, 3) and labels.dtype == np.int64
    assert torch.allclose(logits_of(teacher, table(450)), torch.from_numpy(logits), atol=1e-5)


def test_codebooks_and_their_biases_come_back_from_one_block() -> None:
    given = model()
    random = np.random.default_rng(0)
    schemes, books = {}, {}
    for name, weight in given.module.state_dict().items():
        layer = name.rpartition(".")[0]
        book = books.setdefault(layer, random.normal(0, 1, 5).astype(np.float16))
        places = random.integers(0, 6, tuple(weight.shape))
        schemes[name] = Codebook.of(places, book)
        values = np.concatenate([np.zeros(1, np.float32), book.astype(np.float32)])
        assert np.array_equal(schemes[name].restore().numpy(), values[places])
    loaded = parse_artifact(artifact_bytes(given, schemes))
    assert all(torch.equal(tensor, schemes[name].restore()) for name, tensor in loaded.module.state_dict().items())
    shapes = [(name, tuple(weight.shape)) for name, weight in given.module.state_dict().items()]
    read = read_weights(artifact_bytes(given, schemes), shapes)  # by a decoder written from FORMAT.md
    assert all(read[name] == scheme.restore().reshape(-1).tolist() for name, scheme in schemes.items())
    part = {name: scheme for name, scheme in schemes.items() if name != "hidden.bias"}  # one bias kept as it is
    loaded = parse_artifact(artifact_bytes(given, part))
    assert torch.equal(loaded.module.state_dict()["hidden.bias"], given.module.state_dict()["hidden.bias"])
    assert all(torch.equal(loaded.module.state_dict()[name], scheme.restore()) for name, scheme in part.items())
