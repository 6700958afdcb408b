"""Promise: each coder's size is what theory says, by facts that do not come from the coder itself."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mdlake.coding import HuffmanCoder, Lz77Coder, LzwCoder, RangeCoder, RansCoder, RansOrder1Coder
from mdlake.coding.coder import symbol_dtype
from mdlake.coding.frequencies import FrequencyTable, table_bits
from mdlake.coding.huffman import LONGEST, HuffmanCode

DISTRIBUTIONS = {
    "uniform 256": np.ones(256),
    "geometric 64": 0.9 ** np.arange(64),
    "steep 16": 0.4 ** np.arange(16),
    "fair bits": np.ones(2),
    "biased bits": np.array([0.95, 0.05]),
    "zipf 1000": 1 / np.arange(1, 1001),
}


def sample(weights: np.ndarray, count: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    return rng.choice(weights.size, size=count, p=weights / weights.sum()).astype(symbol_dtype(weights.size))


def entropy_bits(counts: np.ndarray) -> float:
    """Of the whole sequence, from its own counts."""
    present = counts[counts > 0]
    return float((present * np.log2(present.sum() / present)).sum())


counts_strategy = st.lists(st.integers(1, 10_000), min_size=2, max_size=300).map(np.array)


@settings(max_examples=100, deadline=None)
@given(counts=counts_strategy)
def test_huffman_is_within_a_bit_of_the_entropy(counts: np.ndarray) -> None:
    lengths = HuffmanCode.of_counts(counts).lengths
    mean, entropy = (counts * lengths).sum() / counts.sum(), entropy_bits(counts) / counts.sum()
    assert entropy - 1e-9 <= mean < entropy + 1
    assert sum(2 ** (LONGEST - int(length)) for length in lengths) == 2**LONGEST  # Kraft's equality
    order = np.argsort(counts, kind="stable")
    for rarer, commoner in itertools.pairwise(order):
        assert lengths[rarer] >= lengths[commoner] or counts[rarer] == counts[commoner]


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=2, max_size=6).map(np.array), limit=st.integers(3, 5))
def test_huffman_is_optimal_among_all_codes(counts: np.ndarray, limit: int) -> None:
    """Every assignment of lengths that a prefix code can have (Kraft's inequality) is tried."""
    best = min(
        sum(int(c) * length for c, length in zip(counts, lengths, strict=True))
        for lengths in itertools.product(range(1, limit + 1), repeat=counts.size)
        if sum(2 ** (limit - length) for length in lengths) <= 2**limit
    )
    lengths = HuffmanCode.of_counts(counts, limit).lengths
    assert lengths.max() <= limit
    assert (counts * lengths).sum() == best


def test_huffman_keeps_its_limit_on_fibonacci_counts() -> None:
    """Unlimited, the longest code would have 39 bits."""
    counts = [1, 1]
    while len(counts) < 40:
        counts.append(counts[-1] + counts[-2])
    lengths = HuffmanCode.of_counts(np.array(counts)).lengths
    assert lengths.max() == LONGEST
    assert (np.diff(lengths) <= 0).all()
    assert sum(2 ** (LONGEST - int(length)) for length in lengths) == 2**LONGEST


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_huffman_payload_is_the_code_and_a_small_table(name: str) -> None:
    symbols = sample(DISTRIBUTIONS[name], 100_000)
    counts = np.bincount(symbols, minlength=DISTRIBUTIONS[name].size)
    code = HuffmanCode.of_counts(counts)
    bits = int((counts[code.symbols] * code.lengths).sum())
    payload = HuffmanCoder().encode(symbols, counts.size)
    assert bits <= 8 * len(payload) <= bits + 8 * (32 + counts.size)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_range_coder_is_within_a_thousandth_of_the_entropy(name: str) -> None:
    """Beside what its models must learn: about half a logarithm of the count for each."""
    weights = DISTRIBUTIONS[name]
    symbols = sample(weights, 1_000_000)
    entropy = entropy_bits(np.bincount(symbols))
    payload = RangeCoder(orders=(0,)).encode(symbols, weights.size)
    assert 8 * len(payload) <= entropy * 1.001 + 10 * weights.size + 64
    assert 8 * len(payload) >= entropy * 0.999


def test_range_coder_finds_order_one() -> None:
    """Of a Markov chain it comes within a hundredth of the conditional entropy."""
    rng = np.random.default_rng(5)
    steps = np.minimum(rng.geometric(0.5, 300_000), 8)
    symbols = (np.cumsum(steps) % 64).astype(np.uint8)
    conditional = entropy_bits(np.bincount(steps))
    assert len(RangeCoder().encode(symbols, 64)) * 8 < conditional * 1.01 + 64 * 100
    assert len(RangeCoder(orders=(0,)).encode(symbols, 64)) * 8 > conditional * 2


def test_range_coder_follows_a_source_that_changes() -> None:
    rng = np.random.default_rng(6)
    parts = [rng.random(2000) < p for p in (0.02, 0.98) * 50]
    bits = np.concatenate(parts).astype(np.uint8)
    local = sum(entropy_bits(np.bincount(part, minlength=2)) for part in parts)
    assert len(RangeCoder(orders=(0,)).encode(bits, 2)) * 8 < local * 1.5


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_rans_is_within_half_a_per_cent_of_the_entropy(name: str) -> None:
    weights = DISTRIBUTIONS[name]
    symbols = sample(weights, 1_000_000)
    entropy = entropy_bits(np.bincount(symbols))
    table = 12 * weights.size
    assert entropy <= 8 * len(RansCoder().encode(symbols, weights.size)) <= entropy * 1.004 + table + 64


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(0, 1 << 31), min_size=2, max_size=600).map(np.array))
def test_frequencies_sum_up_and_lose_little(counts: np.ndarray) -> None:
    if np.count_nonzero(counts) < 2:
        counts[:2] = 1, 2
    table = FrequencyTable.of_counts(counts, table_bits(counts))
    assert table.frequencies.min() >= 1
    assert table.frequencies.sum() == 1 << table.bits
    kept = FrequencyTable.of_integers(table.to_integers(), table.bits, counts.size)
    np.testing.assert_array_equal(kept.symbols, np.flatnonzero(counts))
    np.testing.assert_array_equal(kept.frequencies, table.frequencies)
    cost = (counts[table.symbols] * (table.bits - np.log2(table.frequencies))).sum()
    assert cost <= entropy_bits(counts) * 1.02 + 0.01 * counts.sum() + 8  # a few symbols get a short table instead


def tiff_of(image: np.ndarray) -> tuple[bytes, int, int]:
    """A TIFF that Pillow wrote through libtiff, and where its one LZW strip lies."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "tiff", compression="tiff_lzw", tiffinfo={278: image.shape[0]})
    with Image.open(buffer) as opened:
        tags = opened.tag_v2  # type: ignore[attr-defined]
        (offset,), (size,) = tags[273], tags[279]
    return buffer.getvalue(), offset, size


IMAGES = {
    "noise": np.random.default_rng(1).integers(0, 256, (150, 200)),
    "slope": np.add.outer(np.arange(300), np.arange(400)) // 7,
    "black": np.zeros((300, 400)),
    "three greys": np.random.default_rng(2).integers(0, 3, (300, 400)),
    "one pixel": np.full((1, 1), 9),
}


@pytest.mark.parametrize("name", IMAGES)
def test_lzw_reads_and_writes_as_libtiff_does(name: str) -> None:
    image = (IMAGES[name] % 256).astype(np.uint8)
    tiff, offset, size = tiff_of(image)
    strip = tiff[offset : offset + size]
    np.testing.assert_array_equal(LzwCoder().decode(strip, image.size, 256), image.reshape(-1))
    ours = LzwCoder().encode(image.reshape(-1), 256)
    assert ours == strip
    with Image.open(io.BytesIO(tiff[:offset] + ours + tiff[offset + size :])) as opened:
        np.testing.assert_array_equal(np.asarray(opened), image)


@pytest.mark.parametrize("count", range(3830, 3850))
def test_lzw_at_the_edge_of_a_full_table(count: int) -> None:
    """All pairs differ, so each byte is a code: the table fills and clears around here."""
    rng = np.random.default_rng(4)
    symbols = rng.integers(0, 256, count).astype(np.uint8)
    tiff, offset, size = tiff_of(symbols.reshape(1, -1))
    assert LzwCoder().encode(symbols, 256) == tiff[offset : offset + size]


def test_lz77_finds_repeats_at_any_distance() -> None:
    block = np.random.default_rng(3).integers(0, 256, 50_000).astype(np.uint8)
    assert len(Lz77Coder().encode(np.tile(block, 10), 256)) < 50_000 * 1.002
    assert len(Lz77Coder().encode(np.tile(block[:5], 10_000), 256)) < 30


@pytest.mark.parametrize("alphabet", [2, 40, 300])
def test_rans_order1_is_within_two_per_cent_of_what_the_symbol_before_leaves(alphabet: int) -> None:
    """Each symbol has three successors, of probability 0.7, 0.2 and 0.1."""
    rng = np.random.default_rng(5)
    successors = rng.integers(0, alphabet, (alphabet, 3))
    symbols = np.zeros(500_000, symbol_dtype(alphabet))
    for i, choice in enumerate(rng.choice(3, symbols.size - 1, p=[0.7, 0.2, 0.1]).tolist()):
        symbols[i + 1] = successors[symbols[i], choice]
    pairs = np.unique(symbols[:-1].astype(np.int64) * alphabet + symbols[1:], return_counts=True)[1]
    needed = entropy_bits(pairs) - entropy_bits(np.bincount(symbols))
    assert 8 * len(RansOrder1Coder().encode(symbols, alphabet)) < 1.02 * needed + 8 * 4 * len(pairs)


def test_rans_order1_of_unrelated_symbols_costs_no_tables() -> None:
    symbols = sample(DISTRIBUTIONS["zipf 1000"], 100_000)
    assert len(RansOrder1Coder().encode(symbols, 1000)) <= 1.002 * len(RansCoder().encode(symbols, 1000))
