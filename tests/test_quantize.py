"""Quantising to codebooks, signs and uniform levels: what comes back is what each paper's formula gives."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.prune import prunable
from mdlake.shrink.quantize import quantize_linear
from mdlake.shrink.quantize.codebook import TrainedCentroids, build_codebook, k_means, shared_codebook
from mdlake.shrink.quantize.sharing import SharingAware
from mdlake.shrink.quantize.signs import binarize, ternarize
from mdlake.shrink.quantize.uniform import UniformOptions, quantize_uniform
from tests.tiny_networks import accuracy, convolutional, dense, images, points, trained

floats = st.lists(st.floats(-1e3, 1e3, width=32), max_size=80)


@given(values=floats, count=st.integers(1, 20))
def test_every_weight_goes_to_its_nearest_centroid_and_zero_to_zero(values: list[float], count: int) -> None:
    weights = torch.tensor([values, [0.0] * len(values)])
    book = build_codebook(weights, count)
    assert len(book.centroids) <= count and book.centroids.dtype == np.float16
    restored = book.restore()
    assert restored.shape == weights.shape and not restored[weights == 0].any()
    used = weights[weights != 0].numpy().astype(np.float64)
    found = restored[weights != 0].numpy().astype(np.float64)
    best = np.abs(used[:, None] - book.centroids[None].astype(np.float64)).min(1, initial=np.inf)
    assert np.allclose(np.abs(found - used), best)


def test_clusters_apart_are_found() -> None:
    random = np.random.default_rng(0)
    middles = np.array([-3.0, -1.0, 0.5, 4.0])
    values = random.normal(np.repeat(middles, 200), 0.02)
    assert k_means(random.permutation(values), 4) == pytest.approx(middles, abs=0.01)


def test_k_means_stops_where_lloyd_has_nothing_to_move() -> None:
    values = np.random.default_rng(1).normal(size=3000)
    centroids = k_means(values, 9)
    nearest = np.abs(values[:, None] - centroids).argmin(1)
    means = [values[nearest == i].mean() for i in range(9)]
    spread = np.linspace(values.min(), values.max(), 9)
    assert centroids == pytest.approx(means, abs=0.01)
    assert np.square(values - centroids[nearest]).mean() < np.square(values[:, None] - spread).min(1).mean()


def test_importance_pulls_a_centroid() -> None:
    values = np.array([0.0, 1.0])
    assert k_means(values, 1, np.array([1.0, 3.0])) == pytest.approx([0.75])
    assert k_means(values, 1, np.zeros(2)) == pytest.approx([0.5])


def test_one_codebook_for_all_is_shared() -> None:
    weights = {"a": torch.randn(10, 10), "b": torch.randn(900)}
    books = shared_codebook(weights, 800)
    assert books["a"].centroids is books["b"].centroids and books["a"].indices.dtype == np.uint16
    assert books["b"].indices.shape == (900,)
    assert float((books["a"].restore() - weights["a"]).abs().max()) < 0.5


def test_trained_centroids_beat_those_found_and_the_books_restore_what_was_trained() -> None:
    batches = points()
    network = trained(dense(), batches)
    network.get_parameter("0.weight").data[:, :6] = 0
    books = {name: build_codebook(weight, 3) for name, weight in prunable(network).items()}
    wrapped = TrainedCentroids(copy.deepcopy(network), books)
    before, loss = accuracy(wrapped, batches), cross_entropy(wrapped(*batches[0].inputs), batches[0].labels)
    loss.backward()
    first = wrapped.get_parameter("network.0.weight")
    assert first.grad is None and wrapped.centroids[0].grad is not None
    trained(wrapped, batches, 40)
    found = wrapped.finish()
    assert accuracy(wrapped.network, batches) == pytest.approx(accuracy(wrapped, batches), abs=0.011)
    assert accuracy(wrapped.network, batches) > before
    for name, book in found.items():
        assert np.array_equal(book.indices, books[name].indices)
        assert torch.equal(wrapped.network.get_parameter(name), book.restore())
    assert not wrapped.network.get_parameter("0.weight")[:, :6].any()


def test_a_centroid_s_gradient_is_the_sum_of_those_of_its_weights() -> None:
    network, (batch, *_) = dense(), points()
    books = shared_codebook(prunable(network), 4)
    wrapped = TrainedCentroids(network, books)
    assert len(wrapped.centroids) == 1
    cross_entropy(wrapped(*batch.inputs), batch.labels).backward()
    wrapped.finish()
    cross_entropy(network(*batch.inputs), batch.labels).backward()
    for i in range(4):
        expected = sum(
            float(network.get_parameter(n).grad[torch.from_numpy(b.indices == i + 1)].sum())  # type: ignore[index]
            for n, b in books.items()
        )
        assert float(wrapped.centroids[0].grad[i]) == pytest.approx(expected, rel=1e-2, abs=1e-5)  # type: ignore[index]


def test_codebooks_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="from 1 to 65535"):
        build_codebook(torch.ones(3), 0)
    with pytest.raises(InvalidArgumentError, match="not finite"):
        build_codebook(torch.tensor([1.0, np.inf]), 2)
    with pytest.raises(InvalidArgumentError, match="65504"):
        build_codebook(torch.tensor([1e6]), 2)
    with pytest.raises(InvalidArgumentError, match="no parameter 'x'"):
        TrainedCentroids(dense(), {"x": build_codebook(torch.ones(3), 1)})


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_signs_have_the_scale_of_least_error(granularity: str) -> None:
    weights = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)[:, None]
    for linear in (binarize(weights, granularity), ternarize(weights, granularity)):
        assert len(linear.scale) == (6 if granularity == "channel" else 1)
        error = float((linear.restore() - weights).square().sum())
        for factor in (0.98, 1.02):
            assert error < float((linear.restore() * factor - weights).square().sum())
    assert set(np.unique(binarize(weights).levels)) == {-1, 1}
    assert set(np.unique(ternarize(weights).levels)) == {-1, 0, 1}
    assert 0.35 < float((ternarize(weights).levels == 0).mean()) < 0.5  # of a normal distribution, 42 %


@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=8, max_size=8),
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
    granularity=st.sampled_from(["tensor", "channel", "group"]),
    over=st.sampled_from(["max", "error"]),
)
def test_levels_fit_their_bits_and_zero_is_one_of_them(
    values: list[float], bits: int, symmetric: bool, granularity: str, over: str
) -> None:
    weights = torch.tensor([values, [0.0] * 8, values[::-1]])
    found = quantize_uniform(weights, UniformOptions(bits, symmetric, granularity, over, group=4))
    assert int(np.ptp(found.levels)) <= 2**bits - 1 - symmetric
    assert len(found.scale) == {"tensor": 1, "channel": 3, "group": 6}[granularity]
    restored = found.restore()
    assert not restored[weights == 0].any()
    if over == "max":
        step = np.repeat(found.scale, found.run).reshape(3, 8)
        assert (np.abs(restored.numpy() - weights.numpy()) <= step * 0.501 + 1e-4 * np.abs(weights.numpy())).all()


def test_finer_scales_and_zero_points_lose_less() -> None:
    weights = torch.rand(8, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 0, 8)[:, None]
    weights[:, 32:] *= 0.1

    def error(**options: object) -> float:
        found = quantize_uniform(weights, UniformOptions(4, **{"group": 32, **options}))  # type: ignore[arg-type]
        return float((found.restore() - weights).square().sum())

    assert error(granularity="group") < error(granularity="channel") < error(granularity="tensor")
    assert error(symmetric=False) < error(symmetric=True) / 2
    assert error(range="error") <= error(range="max")


def test_groups_must_fit_the_rows() -> None:
    with pytest.raises(InvalidArgumentError, match="rows of 5 weights"):
        quantize_uniform(torch.ones(2, 5), UniformOptions(granularity="group", group=4))
    with pytest.raises(InvalidArgumentError, match="bits are from 2 to 8"):
        UniformOptions(1)


def test_convolutions_keep_their_shape() -> None:
    batches = images()
    network = trained(convolutional(), batches, 12)
    before = accuracy(network, batches)
    for weight in prunable(network).values():
        weight.copy_(quantize_uniform(weight, UniformOptions(6, granularity="channel")).restore())
    assert accuracy(network, batches) >= before - 0.05


def test_training_that_sees_shared_values_ends_with_the_values_it_saw() -> None:
    torch.manual_seed(0)
    first = torch.nn.Linear(12, 9)
    network = torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Linear(9, 3))
    with torch.no_grad():
        first.weight[torch.rand(9, 12) < 0.5] = 0.0
    groups = [(["0.weight", "0.bias"], 5), (["2.weight", "2.bias"], 7)]
    sharing = SharingAware(network, groups).train()
    optimizer, rows = torch.optim.SGD(network.parameters(), 0.5), torch.randn(64, 12)
    target = rows[:, :3].argmax(1)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(sharing(rows), target)
        optimizer.zero_grad()
        loss.backward()
        assert first.weight.grad is not None and bool(first.weight.grad.any())
        with torch.no_grad():
            first.weight.grad[first.weight == 0] = 0.0
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    seen, books = sharing.eval()(rows), sharing.codebooks()
    for names, entries in groups:
        assert all(len(books[name].centroids) == entries for name in names)
    zero = first.weight == 0
    assert bool((books["0.weight"].restore() == 0)[zero].all()) and not bool(
        (books["0.weight"].restore() == 0)[~zero].any()
    )
    network.load_state_dict({name: book.restore() for name, book in books.items()})
    assert torch.allclose(network(rows), seen, atol=2e-3)  # centroids are rounded to float16


@pytest.mark.parametrize(
    ("bits", "granularity"), [(1, "tensor"), (9, "tensor"), (1.5, "tensor"), ("4", "tensor"), (8, "row")]
)
def test_what_integers_cannot_hold_is_refused(bits: Any, granularity: str) -> None:
    with pytest.raises(InvalidArgumentError):
        quantize_linear(torch.randn(4, 4), bits, granularity)
