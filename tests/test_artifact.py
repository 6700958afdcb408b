"""Artifacts: every weight comes back, every byte is accounted for, and damage is never mistaken for a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from reference.artifact import read_weights
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import mdlake
from mdlake.artifact import (
    artifact_bytes,
    container,
    inspect,
    load_artifact,
    load_model,
    parse_artifact,
    save_model,
    unpack,
)
from mdlake.block import encode_values
from mdlake.errors import (
    CorruptError,
    InvalidArgumentError,
    MdlakeError,
    StoreError,
    TruncatedError,
    UnsupportedVersionError,
)
from mdlake.models.bundle import Model
from mdlake.models.fitting import fit_features
from mdlake.models.networks.tabular_mlp import TabularMlp, TabularMlpOptions
from mdlake.models.schemes import Linear, Plain
from mdlake.shrink.prune import PruneOptions, apply_masks, magnitude_masks, prunable
from mdlake.shrink.quantize import quantize_all
from tests.make_golden_artifact import GOLDEN
from tests.make_golden_artifact import network as golden_network
from tests.tiny_models import FEATURES, delays, model_of, shards_of, write_split


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = write_split(tmp_path_factory.mktemp("train"), delays(800))
    found = model_of(fit_features(shards_of(folder), FEATURES, map))
    apply_masks(found.module, magnitude_masks(prunable(found.module), PruneOptions(0.5)))
    return found


@pytest.fixture(scope="module")
def schemes(model: Model) -> dict[str, Linear]:
    weights = model.module.state_dict()
    return quantize_all(weights, {name: 4 if w.dim() > 1 else 8 for name, w in weights.items()}, "tensor")


@pytest.fixture(scope="module")
def data(model: Model, schemes: dict[str, Linear]) -> bytes:
    return artifact_bytes(model, schemes)


def same_model(first: Model, second: Model) -> bool:
    weights, others = first.module.state_dict(), second.module.state_dict()
    return (
        weights.keys() == others.keys()
        and all(torch.equal(weights[name], others[name]) for name in weights)
        and first.features.to_json() == second.features.to_json()
        and (first.network, first.options, first.task) == (second.network, second.options, second.task)
        and (first.metrics, first.lineage) == (second.metrics, second.lineage)
    )


def rewritten(data: bytes, **changes: object) -> bytes:
    """An artifact with other metadata and a right checksum, as one who means harm would write it."""
    parts, about = container.unpack(data)
    return container.pack({name: bytes(part) for name, part in parts.items()}, {**about, **changes})


def test_it_loads_the_weights_that_were_quantised(tmp_path: Path, model: Model, schemes: dict[str, Linear]) -> None:
    url = str(tmp_path / "model.safetensors")
    size = save_model(url, model, schemes)
    assert size == Path(url).stat().st_size
    module = mdlake.load_model(url)
    assert not module.training
    assert {name: tuple(t.shape) for name, t in module.state_dict().items()} == {
        name: tuple(t.shape) for name, t in model.module.state_dict().items()
    }
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, schemes[name].restore()), name
    found = load_artifact(url)
    assert found.features.to_json() == model.features.to_json()
    assert (found.task, found.metrics, found.lineage) == (model.task, model.metrics, model.lineage)
    numbers, categories = found.features.transform(delays(20, 5))
    assert found.module(torch.from_numpy(numbers), torch.from_numpy(categories)).shape == (20,)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8],
)
def test_tensors_without_a_scheme_come_back_bit_for_bit(tmp_path: Path, model: Model, dtype: torch.dtype) -> None:
    values = (torch.randn(7, 11, generator=torch.Generator().manual_seed(1)) * 50).to(dtype)
    if dtype.is_floating_point:
        values[0, :4] = torch.tensor([-0.0, float("nan"), float("inf"), 1e-7]).to(dtype)
    shell = _Shell(values)
    other = Model("shell", {"rows": 7}, model.features, model.task, shell)
    url = str(tmp_path / "model.safetensors")
    save_model(url, other)
    found = load_model(url, model_class=lambda rows: _Shell(torch.zeros(rows, 11, dtype=dtype)))
    kept = found.state_dict()["values"]
    assert kept.dtype == dtype
    assert kept.numpy(force=True).tobytes() == values.numpy().tobytes() if dtype != torch.bfloat16 else True
    assert torch.equal(kept.view(torch.uint8), values.view(torch.uint8))


class _Shell(nn.Module):
    """A user's own class, with a buffer that is computed and not stored."""

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)
        self.register_buffer("steps", torch.arange(5), persistent=False)


def test_a_computed_buffer_of_a_users_class_is_there(tmp_path: Path, model: Model) -> None:
    url = str(tmp_path / "model.safetensors")
    save_model(url, Model("shell", {}, model.features, model.task, _Shell(torch.randn(3))))
    found = load_model(url, model_class=lambda: _Shell(torch.zeros(3)))
    assert found.get_buffer("steps").tolist() == [0, 1, 2, 3, 4]


def test_scales_per_channel_come_back(tmp_path: Path, model: Model) -> None:
    weights = {name: w for name, w in model.module.state_dict().items() if w.dim() > 1}
    chosen = quantize_all(weights, dict.fromkeys(weights, 5), "channel")
    found = parse_artifact(artifact_bytes(model, chosen))
    for name, scheme in chosen.items():
        assert len(scheme.scale) == len(weights[name])
        assert torch.equal(found.module.state_dict()[name], scheme.restore())


def test_the_same_model_gives_the_same_bytes(model: Model, schemes: dict[str, Linear], data: bytes) -> None:
    assert artifact_bytes(model, dict(reversed(schemes.items()))) == data


def test_any_safetensors_reader_lists_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert list(file.keys()) == ["mdlake"]
        assert bytes(file.get_tensor("mdlake").numpy()) == data[8 + int.from_bytes(data[:8], "little") :]


def test_inspect_accounts_for_every_byte(tmp_path: Path, model: Model, data: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    rows = inspect(str(tmp_path / "model.safetensors"))
    assert sum(row.bytes for row in rows) == len(data)
    by_name = {row.name: row for row in rows}
    for name, tensor in model.module.state_dict().items():
        row = by_name[name]
        assert (row.shape, row.parameters) == (tuple(tensor.shape), tensor.numel())
        assert row.scheme == ("linear 4 bit" if tensor.dim() > 1 else "linear 8 bit")
        assert row.bits == 8 * row.bytes / tensor.numel()
    levels = by_name["levels"]
    assert levels.parameters == sum(tensor.numel() for tensor in model.module.state_dict().values())
    assert by_name["vocabulary:carrier"].parameters == 4


def test_unpack_writes_plain_safetensors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    size = unpack(str(tmp_path / "model.safetensors"), str(tmp_path / "plain.safetensors"))
    assert size == (tmp_path / "plain.safetensors").stat().st_size
    plain = load_file(tmp_path / "plain.safetensors")
    weights = load_model(str(tmp_path / "model.safetensors")).state_dict()
    assert plain.keys() == weights.keys()
    assert all(torch.equal(plain[name], weights[name]) for name in weights)


def test_other_safetensors_files_are_told_as_that(tmp_path: Path) -> None:
    plain = sorted(GOLDEN.glob("artifact-*"))[0] / "expected.safetensors"
    with pytest.raises(InvalidArgumentError, match=r"safetensors file of \d+ entries, no artifact") as caught:
        load_model(str(plain))
    assert "restore" not in str(caught.value)
    with pytest.raises(StoreError, match="this is a folder; name a file"):
        load_model(str(tmp_path))


def test_every_truncation_raises(data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises((CorruptError, TruncatedError)):
            parse_artifact(data[:size])


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_raises(data: bytes, mask: int) -> None:
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= mask
        with pytest.raises((CorruptError, TruncatedError, UnsupportedVersionError, InvalidArgumentError)):
            parse_artifact(bytes(damaged))


def test_bytes_that_follow_raise(data: bytes) -> None:
    with pytest.raises(CorruptError, match="bytes behind it"):
        parse_artifact(data + b"\0")


def test_random_damage_raises_or_leaves_the_model_as_it_was(data: bytes) -> None:
    random, good = np.random.default_rng(0), parse_artifact(data)
    for _ in range(300):
        damaged = bytearray(data)
        for at in random.integers(0, len(data), random.integers(1, 9)):
            damaged[at] = random.integers(0, 256)
        try:
            found = parse_artifact(bytes(damaged))
        except MdlakeError:
            continue
        assert same_model(found, good)


def test_parts_that_change_places_do_not_decode(data: bytes) -> None:
    parts, about = container.unpack(data)
    swapped = {**parts, "levels": parts["vocabulary:carrier"]}
    with pytest.raises(CorruptError, match=r"values, expected|cannot be decoded as"):
        parse_artifact(container.pack({name: bytes(part) for name, part in swapped.items()}, about))


def test_shapes_larger_than_memory_are_refused_before_they_are_allocated(data: bytes) -> None:
    _, about = container.unpack(data)
    for shape in ([1 << 40, 1 << 20], [1 << 62]):
        shapes = [["x", shape], *([f"y{i}", []] for i in range(len(about["tensors"]) - 1))]
        with pytest.raises(InvalidArgumentError, match="more than the 4294967296 allowed"):
            parse_artifact(rewritten(data, shapes=shapes))
    with pytest.raises(InvalidArgumentError, match="raise max_bytes"):
        parse_artifact(data, max_bytes=100)


def test_options_larger_than_memory_are_refused_before_they_are_allocated(data: bytes) -> None:
    _, about = container.unpack(data)
    for sizes in ([1 << 30, 1 << 30], [1 << 31, 1]):
        with pytest.raises(InvalidArgumentError):
            parse_artifact(rewritten(data, options={**about["options"], "hidden": sizes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"tensors": None},
        {"tensors": [["linear"]]},
        {"tensors": [["linear", {}]], "shapes": [["x", [-1]]]},
        {"tensors": [["plain", {"dtype": "object"}]], "shapes": [["x", [16, 8]]]},
        {"tensors": [["plain", {"dtype": "int8"}]], "shapes": [["none", [2]]]},
        {"tensors": [["codebook", {"book": [0.5]}]], "shapes": [["none", [2]]]},
        {"tensors": [["codebook", {}]], "shapes": [["none", [2]]]},
        {"shapes": 5},
        {"features": {}},
        {"features": {"numeric": [], "vocabularies": {"x": ["int64", 3]}, "categories": [], "crosses": {}}},
        {"features": {"numeric": [["a", "b", "c"]], "vocabularies": {}, "categories": [], "crosses": {}}},
        {"metrics": 3},
        {"format": "1"},
        {"format": None},
    ],
)
def test_metadata_that_makes_no_sense_is_corrupt(data: bytes, changes: dict) -> None:
    with pytest.raises(CorruptError):
        parse_artifact(rewritten(data, **changes))


def test_newer_formats_schemes_and_networks_ask_for_a_newer_release(data: bytes) -> None:
    _, about = container.unpack(data)
    for changes in (
        {"format": 4},
        {"network": "mystery"},
        {"tensors": [["wavelet", {}], *about["tensors"][1:]]},
    ):
        with pytest.raises(UnsupportedVersionError, match="newer mdlake"):
            parse_artifact(rewritten(data, **changes))


def test_a_class_that_does_not_fit_the_weights_is_named(data: bytes) -> None:
    def smaller(**options: object) -> nn.Module:
        return TabularMlp(TabularMlpOptions(**{**options, "hidden": (4,)}))  # type: ignore[arg-type]

    with pytest.raises(InvalidArgumentError, match=r"TabularMlp does not fit the weights: .*is not part of the class"):
        parse_artifact(data, model_class=smaller)
    with pytest.raises(InvalidArgumentError, match="cannot be made with the options"):
        parse_artifact(data, model_class=lambda depth: nn.Linear(depth, 1))


def test_a_header_with_a_name_twice_is_corrupt(data: bytes) -> None:
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].replace(b'{"mdlake"', b'{"mdlake":{},"mdlake"', 1)
    with pytest.raises(CorruptError, match="occurs twice"):
        parse_artifact(len(header).to_bytes(8, "little") + header + data[8 + size :])


def test_a_header_that_claims_more_than_there_is_allocates_nothing() -> None:
    for size in (1 << 62, 101 << 20):
        with pytest.raises(CorruptError, match="claims"):
            parse_artifact(size.to_bytes(8, "little") + b"{}")
    with pytest.raises(TruncatedError):
        parse_artifact((50 << 20).to_bytes(8, "little") + b"{}")


def test_a_scheme_for_a_tensor_that_is_not_there_is_refused(model: Model) -> None:
    with pytest.raises(InvalidArgumentError, match="no such tensor"):
        artifact_bytes(model, {"layers.99.weight": Plain(torch.zeros(2))})


def test_a_constant_block_does_not_expand_without_bound(data: bytes) -> None:
    """A few bytes can stand for many equal values: the declared shape bounds them."""
    parts, about = container.unpack(data)
    packed = {name: bytes(part) for name, part in parts.items()}
    packed["levels"] = encode_values(np.zeros(1 << 20, np.int8))
    with pytest.raises(CorruptError, match=r"1048576 values, expected"):
        parse_artifact(container.pack(packed, about))


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("artifact-*")), ids=lambda folder: folder.name)
def test_golden_artifacts_still_decode(folder: Path) -> None:
    expected = load_file(folder / "expected.safetensors")
    found = load_artifact(str(folder / "network.safetensors"))
    assert found.module.state_dict().keys() == expected.keys()
    for name, tensor in found.module.state_dict().items():
        assert torch.equal(tensor.view(torch.uint8), expected[name].view(torch.uint8)), name
    given, schemes = golden_network()
    shapes = [(name, tuple(tensor.shape)) for name, tensor in given.module.state_dict().items()]
    read = read_weights((folder / "network.safetensors").read_bytes(), shapes)  # by a decoder written from FORMAT.md
    assert read == {name: expected[name].reshape(-1).tolist() for name, _ in shapes}
    assert (found.features, found.task, found.metrics) == (given.features, given.task, given.metrics)
    assert all(torch.equal(expected[name], scheme.restore()) for name, scheme in schemes.items())
