"""Promises of the adaptive parts of `max`: the mixing coder, formulas, predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from columns import Beside, known_codes, known_numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import numeric_streams, streams

from mdlake.coding.mixing import Mixing, knowledge_levels, leaf_depths, logistic_tables
from mdlake.coding.predicting import Predictor, predictors
from mdlake.encodings.formula import HOW, Formula
from mdlake.encodings.known import Known
from mdlake.encodings.lookup import Lookup
from mdlake.encodings.predicted import Predicted
from mdlake.encodings.protocol import Shape
from mdlake.errors import CorruptError, TruncatedError
from mdlake.expressions import Expression
from mdlake.kernels import code_tree
from mdlake.search.formulas import Formulas
from mdlake.streams import Kind, Stream, numbers, same
from mdlake.wire import Reader, Writer

NOTHING = np.zeros((0, 0), np.int64)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=400))
def test_trees_are_full_and_in_order(counts: list[int]) -> None:
    depths = leaf_depths(np.array(counts, np.int64))
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return
    assert (depths > 0).tolist() == [count > 0 for count in counts]
    assert int(depths.max()) <= code_tree.DEEPEST
    assert sum(1 << (code_tree.DEEPEST - int(d)) for d in depths if d) == 1 << code_tree.DEEPEST
    weights = np.array(counts, float)[present]
    entropy = -(weights * np.log2(weights / weights.sum())).sum() / weights.sum()
    assert (weights * depths[present]).sum() / weights.sum() <= entropy + 2  # of a weight-balanced tree (Horibe 1977)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint16, st.integers(1, 400), elements=st.integers(0, 40)),
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4).map(tuple), min_size=1, max_size=6),
    st.sampled_from([1, 255, 1023]),
)
def test_symbols_come_back_under_any_contexts(symbols: np.ndarray, contexts: list, limit: int) -> None:
    symbols[0] = 41
    parents = np.stack([symbols // 3, np.arange(len(symbols)) % 5], 1).astype(np.uint32)
    depths = leaf_depths(np.bincount(symbols).astype(np.int64))
    if np.count_nonzero(depths) < 2:
        return
    model = Mixing(tuple(contexts), limit)
    data = model.encode(symbols, depths, parents)
    np.testing.assert_array_equal(model.decode(data, len(symbols), depths, parents), symbols)
    for cut in range(len(data)):
        with pytest.raises((CorruptError, TruncatedError)):
            model.decode(data[:cut], len(symbols), depths, parents)


def test_a_symbol_that_its_context_decides_costs_almost_nothing() -> None:
    random = np.random.default_rng(1)
    parents = random.integers(0, 50, (20_000, 1)).astype(np.uint32)
    symbols = (parents[:, 0] * 7 % 31).astype(np.uint16)
    noise = random.integers(0, 31, 20_000).astype(np.uint16)
    contexts = ((), ((2, 0),))

    def bits(stream: np.ndarray) -> float:
        depths = leaf_depths(np.bincount(stream).astype(np.int64))
        return 8 * len(Mixing(contexts).encode(stream, depths, parents)) / len(stream)

    assert bits(symbols) < 0.15
    assert bits(noise) < math.log2(31) * 1.02  # and a context that says nothing costs next to nothing


def test_depths_of_no_tree_are_refused() -> None:
    for depths in ([1, 2], [1, 1, 1], [0, 0, 3], [41] * 2, [2, 1, 1]):
        with pytest.raises(CorruptError):
            Mixing(((),)).decode(b"\x00", 3, np.array(depths, np.uint8), np.zeros((3, 0), np.uint32))


def test_the_logistic_tables_are_those_of_the_format() -> None:
    squash, stretch = logistic_tables()
    assert len(squash) == 6144 and (np.diff(squash) >= 0).all() and squash.min() == 2 and squash.max() == 65534
    assert all(abs(squash[z + 3072] - 65536 / (1 + math.exp(-z / 256))) <= 0.51 for z in range(-2500, 2500))
    assert stretch[32768] == 0 and all(squash[stretch[q] + 3072] <= q for q in range(2, 65536, 97))
    assert knowledge_levels()[[0, 1, 2, 4, 8, 24, 99, 100]].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@settings(max_examples=60, deadline=None)
@given(numeric_streams(kinds=[k for k in Kind if k.is_integer], min_size=1), st.data())
def test_any_formula_gives_any_stream_back(stream: np.ndarray, data: st.DataObject) -> None:
    columns = [data.draw(hnp.arrays(np.int64, len(stream), elements=INT64)) for _ in range(2)]
    x, y = Expression.parent(0), Expression.parent(1)
    choices = [x, x("-", y), x("*", y), x("//", y), x("%", 1000), x("minutes"), x("/", y)("+", 7), x("clock")("-", y)]
    step = Formula(data.draw(st.sampled_from(HOW)), data.draw(st.sampled_from(choices)))
    encoded = step.encode(stream, known_numbers(*columns))
    assert encoded is not None
    writer = Writer()
    encoded[0].write(writer)
    read = Formula.read(Reader(writer.getvalue()), Shape.of(stream))
    assert read == encoded[0] and same(read.decode(encoded[1], Shape.of(stream), known_numbers(*columns)), stream)


def test_the_formula_that_made_a_column_is_found() -> None:
    random = np.random.default_rng(3)
    a, b = random.integers(0, 10_000, 4000), random.integers(1, 500, 4000)
    for target in (a + b, a - b, a * b, 100 * a + b):
        found = Formulas({1: a, 2: b, 9: target}).of(9, 13.0 * 4000, (1, 2))
        how, expression = found[0].how, found[0].expression
        left = Formula(how, expression.renumbered({1: 0, 2: 1})).encode(target, known_numbers(a, b))
        assert left is not None and all(
            len(np.unique(numbers(child))) <= max(2, len(np.unique(b)) + 1) for child in left[1]
        )
        assert found[0].bits < 10_000


@settings(max_examples=60, deadline=None)
@given(streams(min_size=1), st.data())
def test_any_lookup_gives_any_stream_back(stream: Stream, data: st.DataObject) -> None:
    columns = [data.draw(hnp.arrays(np.uint32, len(stream), elements=st.integers(0, most))) for most in (4, 30)]
    beside = Known(tuple(map(Beside, columns)), len(stream))
    step = Lookup(data.draw(st.sampled_from([(0,), (1,), (0, 1), (1, 0)])))
    encoded = step.encode(stream, beside)
    assert encoded is not None
    writer = Writer()
    encoded[0].write(writer)
    read = Lookup.read(Reader(writer.getvalue()), Shape.of(stream))
    assert [Shape.of(child) for child in encoded[1]] == list(read.children(Shape.of(stream)))
    assert read == encoded[0] and same(read.decode(encoded[1], Shape.of(stream), beside), stream)


def test_a_lookup_keeps_what_most_rows_of_a_key_say() -> None:
    codes = np.arange(1000, dtype=np.uint32) % 7
    values = (codes * 11).astype(np.int64)
    values[::10] = -1
    encoded = Lookup((0,)).encode(values, known_codes(codes[:, None]))
    assert (
        encoded is not None and encoded[0].exceptions == 100 and numbers(encoded[1][0]).tolist() == [*range(0, 77, 11)]
    )
    with pytest.raises(CorruptError, match="does not fit"):
        encoded[0].decode(encoded[1], Shape.of(values), known_codes(codes[:-1, None]))


def test_prices_and_shares_are_found_as_what_they_are() -> None:
    """A product with a sum of digits, and a rounded ratio of one column to two others."""
    random = np.random.default_rng(4)
    part, quantity = random.integers(1, 20_000, 4000), 100 * random.integers(1, 51, 4000)
    price = (quantity // 100) * (90_000 + part // 10 + part % 1000 * 100)
    found = Formulas({0: part, 1: quantity, 2: price}).of(2, 22.0 * 4000, (0, 1))
    assert found[0].bits < 100
    x, y, z = (random.integers(300, 900, 4000) for _ in range(3))
    share = (2 * 2000 * z + x + y) // (2 * (x + y))
    found = Formulas({0: x, 1: y, 2: z, 3: share}).of(3, 11.0 * 4000, (0, 1, 2))
    assert str(found[0].expression) == "((parent2 * 2000) / (parent0 + parent1))" and found[0].bits < 100


def test_expressions_that_are_none_are_refused() -> None:
    for steps in ([(2, 0)], [(0, 0), (0, 0)], [(0, 5)], []):
        with pytest.raises(CorruptError):
            Expression(tuple(steps)).evaluate({0: np.zeros(3, np.int64)}.get, 3)
    for data in (b"\x00", b"\x01\x63", b"\x01\x01" + b"\xff" * 9 + b"\x01"):
        with pytest.raises((CorruptError, TruncatedError)):
            Expression.read(Reader(data))
    assert str(Expression.parent(0)("minutes")("-", Expression.parent(1))) == "(minutes(parent0) - parent1)"


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int64, st.integers(1, 200), elements=INT64), st.data())
def test_any_experts_give_any_series_back(values: np.ndarray, data: st.DataObject) -> None:
    lag = st.integers(1, 60)
    expert = st.tuples(st.integers(0, 2), lag, lag) | st.tuples(st.integers(3, 4), lag, st.just(0))
    model = Predictor(
        tuple(data.draw(st.lists(expert, min_size=1, max_size=8))),
        tuple(data.draw(st.lists(lag, max_size=3))),
        data.draw(st.integers(1, 50)),
    )
    beside = data.draw(hnp.arrays(np.int64, (1, len(values)), elements=INT64))
    step = Predicted(model, (0,))
    encoded = step.encode(values, known_numbers(beside[0]))
    assert encoded is not None
    writer = Writer()
    encoded[0].write(writer)
    read = Predicted.read(Reader(writer.getvalue()), Shape.of(values))
    assert read == encoded[0] and same(read.decode(encoded[1], Shape.of(values), known_numbers(beside[0])), values)


def test_a_series_with_a_season_is_foretold() -> None:
    random = np.random.default_rng(5)
    year = (1000 * np.exp(random.normal(0, 1, 24))).round()
    growth = np.repeat(1 + 0.05 * np.arange(200), 24)
    values = (np.tile(year, 200) * growth).round().astype(np.int64)
    single, several = predictors(values, np.zeros((0, len(values)), np.int64))
    before = np.abs(np.diff(values)).mean()
    for model in (single, several):
        assert np.abs(model.residuals(values, np.zeros((0, len(values)), np.int64))[200:]).mean() < before / 50
