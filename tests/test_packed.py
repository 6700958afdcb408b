"""Promise: any weights become an artifact and come back bit for bit, with a network or alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.artifact import read_weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import mdlake
from mdlake.artifact import artifact_bytes, inspect, load_artifact, load_weights, pack, save_model, save_weights, unpack
from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError, StoreError
from mdlake.lake.store import open_store
from mdlake.shrink.factorize import by_weights, factorize
from mdlake.shrink.prune import apply_masks, magnitude_scores, prunable, top_masks
from mdlake.shrink.quantize import quantize_linear
from tests.make_golden_artifact import GOLDEN
from tests.make_golden_artifact import network as golden_network
from tests.make_golden_artifact import weights as golden_weights

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2),
]
NAMES = ["levels", "vectors", "vectors:float32", "a:b", "a::b", "a:", "x.weight", "x.bias", "vocabulary:y", "mdlake"]


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        flat = [one.contiguous().reshape(-1).view(torch.uint8) for one in (found[name], tensor)]
        assert torch.equal(*flat), name


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    found = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        shape = draw(st.lists(st.integers(0, 6), max_size=3))
        dtype = draw(st.sampled_from(DTYPES))
        count = torch.Size(shape).numel() * dtype.itemsize
        data = draw(st.binary(min_size=count, max_size=count))
        patterns = torch.frombuffer(bytearray(data), dtype=torch.uint8) if count else torch.zeros(0, dtype=torch.uint8)
        patterns = patterns & 1 if dtype is torch.bool else patterns
        found[name] = patterns.view(dtype).reshape(shape)
    return found


@given(tensors())
@settings(max_examples=60, deadline=None)
def test_any_tensors_come_back(given: dict[str, torch.Tensor]) -> None:
    url = "memory://packed/any"
    save_weights(url, given, effort="fast")
    assert_same(load_weights(url), given)


def test_a_file_is_packed_and_unpacked_with_its_metadata(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain, small, back = (
        str(tmp_path / name) for name in ("plain.safetensors", "small.safetensors", "back.safetensors")
    )
    given = {f"{i}.weight": torch.randn(200, 100).bfloat16() for i in range(3)} | {"0.bias": torch.randn(200)}
    save_file(given, plain, {"format": "pt", "author": "someone"})
    before, after = pack(plain, small)
    assert before == Path(plain).stat().st_size and after == Path(small).stat().st_size < 0.72 * before
    assert sum(row.bytes for row in inspect(small)) == after
    unpack(small, back)
    assert_same(load_file(back), given)
    with safe_open(back, "pt") as file:
        assert file.metadata() == {"format": "pt", "author": "someone"}


def test_files_in_an_object_store_are_packed(tmp_path: Path, s3) -> None:
    bucket = s3.bucket()
    save_file({"w": torch.arange(1000.0)}, tmp_path / "plain.safetensors")
    open_store(bucket, s3.options).put("plain.safetensors", (tmp_path / "plain.safetensors").read_bytes())
    pack(f"{bucket}/plain.safetensors", f"{bucket}/small.safetensors", s3.options)
    assert_same(load_weights(f"{bucket}/small.safetensors", s3.options), {"w": torch.arange(1000.0)})


def test_the_commands_pack_and_unpack(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(100, 100)}, tmp_path / "net.safetensors")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "mdlake.cli", "model", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert "packed 40.07 kB to net.mdlake.safetensors: " in run("pack", "net.safetensors")
    assert "unpacked 40.07 kB of weights to net.unpacked.safetensors" in run("unpack", "net.mdlake.safetensors")
    assert_same(load_file(tmp_path / "net.unpacked.safetensors"), {"w": torch.zeros(100, 100)})


def test_what_cannot_be_packed_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    target, source = tmp_path / "small.safetensors", tmp_path / "plain.safetensors"
    with pytest.raises(StoreError, match="does not exist"):
        pack(str(source), str(target))
    save_file({"w": torch.ones(50)}, source)
    whole = source.read_bytes()
    for data in (b"", whole[:-3], whole[:20], b"\xff" * 40):
        source.write_bytes(data)
        with pytest.raises(CorruptError, match="not a sound safetensors file"):
            pack(str(source), str(target))
    source.write_bytes(artifact_bytes(*golden_network(), "fast"))
    with pytest.raises(InvalidArgumentError, match="an artifact already"):
        pack(str(source), str(target))
    save_file({"w": torch.ones(2, dtype=torch.complex64)}, source)
    with pytest.raises(InvalidArgumentError, match="tensor 'w': no artifact keeps complex64"):
        pack(str(source), str(target))
    with pytest.raises(InvalidArgumentError, match="tensor 'w': no artifact keeps complex128"):
        save_weights(str(target), {"w": torch.zeros(9, 9, dtype=torch.complex128) + torch.eye(9)})
    assert not target.exists()
    source.write_bytes(whole)
    pack(str(source), str(target))
    with pytest.raises(InvalidArgumentError, match="there is a file already"):
        pack(str(source), str(target))


class Words(nn.Module):
    """An embedding that is the last layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(300, 32)
        self.body = nn.Linear(32, 32)
        self.last = nn.Linear(32, 300, bias=False)
        self.last.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.body(self.table(ids))))


def test_tied_tensors_are_kept_once_and_tied_again(tmp_path: Path) -> None:
    url, plain = str(tmp_path / "words.safetensors"), str(tmp_path / "plain.safetensors")
    network = Words().eval()
    size = save_weights(url, network)
    assert size < 4 * (300 * 32 + 32 * 32 + 32)
    found = load_weights(url)
    assert found["last.weight"].data_ptr() == found["table.weight"].data_ptr()
    ids = torch.arange(10)
    loaded = mdlake.load_model(url, model_class=Words)
    assert torch.equal(loaded(ids), network(ids))
    unpack(url, plain)
    assert_same(load_file(plain), dict(network.state_dict()))
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    read = read_weights(Path(url).read_bytes(), shapes)
    assert all(read[name] == tensor.reshape(-1).tolist() for name, tensor in network.state_dict().items())


def test_a_network_made_small_in_python_is_a_small_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    url = str(tmp_path / "small.safetensors")

    def made() -> nn.Module:
        return nn.Sequential(nn.Linear(100, 200), nn.ReLU(), nn.Linear(200, 100), nn.ReLU(), nn.Linear(100, 10))

    network = made().eval()
    raw = 4 * sum(parameter.numel() for parameter in network.parameters())
    factorize(network, by_weights(0.5), names=["0.weight"])
    apply_masks(network, top_masks(magnitude_scores(prunable(network)), 0.9))
    pruned = mdlake.save_weights(url, network)
    assert pruned < raw / 8
    kept = {name: quantize_linear(weight, 4, "channel") for name, weight in prunable(network).items()}
    assert mdlake.save_weights(url, network, kept) < raw / 20
    loaded = mdlake.load_model(url, model_class=made)
    expected = network.state_dict() | {name: scheme.restore() for name, scheme in kept.items()}
    assert_same(dict(loaded.state_dict()), dict(expected))
    assert_same(mdlake.load_weights(url), dict(expected))


def test_weights_alone_need_a_class(tmp_path: Path) -> None:
    url = str(tmp_path / "w.safetensors")
    save_weights(url, {"weight": torch.ones(2, 3), "bias": torch.ones(2)})
    with pytest.raises(InvalidArgumentError, match="weights alone: give a model_class"):
        mdlake.load_model(url)
    with pytest.raises(InvalidArgumentError, match="weights alone"):
        load_artifact(url)
    with pytest.raises(InvalidArgumentError, match=r"does not fit the weights: 0\.weight is missing"):
        mdlake.load_model(url, model_class=lambda: nn.Sequential(nn.Linear(3, 2)))
    assert mdlake.load_model(url, model_class=lambda: nn.Linear(3, 2))(torch.ones(1, 3)).tolist() == [[4.0, 4.0]]


def test_schemes_of_other_tensors_are_told(tmp_path: Path) -> None:
    kept = quantize_linear(torch.randn(4, 4), 4)
    with pytest.raises(InvalidArgumentError, match=r"tensor 'w': it is kept as \[4, 4\], but is \[2, 8\]"):
        save_weights(str(tmp_path / "w"), {"w": torch.randn(2, 8)}, {"w": kept})
    with pytest.raises(InvalidArgumentError, match="tensor 'v': there is no such tensor"):
        save_weights(str(tmp_path / "w"), {"w": torch.randn(2, 8)}, {"v": kept})
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("weights-*")), ids=lambda folder: folder.name)
def test_golden_weights_still_decode(folder: Path) -> None:
    found = load_weights(str(folder / "network.safetensors"))
    assert_same(found, load_file(folder / "expected.safetensors"))
    assert_same(found, golden_weights())
    kinds = {row.name: row.scheme for row in inspect(str(folder / "network.safetensors"))}
    assert (kinds["sparse"], kinds["again"]) == ("sparse float32", "tied to a:b")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2, torch.int16])
def test_zeros_cost_little_and_those_with_a_sign_stay(dtype: torch.dtype) -> None:
    url = "memory://packed/sparse"
    random = torch.Generator().manual_seed(0)
    there = torch.rand(300, 300, generator=random) < 0.1
    values = torch.randn(300, 300, generator=random).masked_fill(~there, 0.0)
    values = (100 * values).to(dtype) if dtype is torch.int16 else values.to(dtype)
    values[5, :7] = -0.0
    kept = {"w": values, "dead": (torch.eye(40) * 3).to(dtype)}
    size = save_weights(url, kept)
    assert_same(load_weights(url), kept)
    assert size < 90000 * (0.48 + 0.1 * 8 * dtype.itemsize) / 8
    save_weights(url, {"w": torch.randn(300, 300, generator=random).to(dtype) * there.to(dtype)})  # half -0.0


def test_what_comes_after_pruning_is_read_by_the_reference() -> None:
    random = torch.Generator().manual_seed(0)
    some = torch.rand(2, 30, 20, generator=random)
    given = {"long": torch.where(some[0] < 0.2, some[1], 0.0), "short": torch.where(some[0, :4] < 0.2, 1.5, 0.0)}
    url = "memory://packed/reference"
    save_weights(url, given)
    store = open_store("memory://packed")
    assert read_weights(store.get("reference"), []) == {name: t.reshape(-1).tolist() for name, t in given.items()}


def test_models_that_could_not_be_loaded_are_not_saved(tmp_path: Path) -> None:
    model, schemes = golden_network()
    target = str(tmp_path / "model.safetensors")
    with pytest.raises(InvalidArgumentError, match=r"tensor 'out\.bias': it is kept as \[3, 20\], but is \[3\]"):
        save_model(target, model, {"out.bias": schemes["out.weight"]})
    with pytest.raises(InvalidArgumentError, match="OwnInputs"):
        save_model(target, replace(model, features=object()))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="save_weights takes any module"):
        save_model(target, model.module)  # type: ignore[arg-type]
    assert not Path(target).exists()
    with pytest.raises(StoreError, match="this is a folder"):
        unpack(str(GOLDEN / "artifact-v2" / "network.safetensors"), str(tmp_path))


def test_more_memory_than_allowed_is_refused(tmp_path: Path) -> None:
    url = str(tmp_path / "w")
    save_weights(url, {"w": torch.zeros(1000, 1000), "v": torch.randn(3, 3)})
    with pytest.raises(InvalidArgumentError, match="raise max_bytes"):
        load_weights(url, max_bytes=1 << 20)


def test_no_flipped_byte_goes_unseen(tmp_path: Path) -> None:
    path = tmp_path / "w"
    tied = torch.randn(5, 5)
    save_weights(str(path), {"a": tied, "b": tied, "c": torch.randn(9)}, effort="fast")
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(MdlakeError):
            load_weights(str(path))
