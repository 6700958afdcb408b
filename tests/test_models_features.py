"""Features come from the train split alone, the same however its rows are spread over files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.models.features import FeatureSpec
from mdlake.models.fitting import FeatureOptions, fit_features
from tests.tiny_models import FEATURES, delays, shards_of, write_split


@pytest.fixture
def spec(tmp_path: Path) -> FeatureSpec:
    return fit_features(shards_of(write_split(tmp_path / "train", delays(1500))), FEATURES, map)


def test_numbers_are_standardised_by_the_train_split(spec: FeatureSpec) -> None:
    numbers, _ = spec.transform(delays(1500))
    assert numbers.dtype == np.float32
    assert numbers.mean() == pytest.approx(0, abs=1e-4)
    assert numbers.std() == pytest.approx(1, abs=1e-4)


def test_the_split_into_files_and_row_groups_does_not_matter(tmp_path: Path, spec: FeatureSpec) -> None:
    other = write_split(tmp_path / "other", delays(1500), files=5, row_group_size=17)
    again = fit_features(shards_of(other), FEATURES, map)
    assert again.to_json()["vocabularies"] == spec.to_json()["vocabularies"]
    assert again.to_json()["crosses"] == spec.to_json()["crosses"]
    assert again.numeric[0].mean == pytest.approx(spec.numeric[0].mean, rel=1e-6)
    assert again.numeric[0].deviation == pytest.approx(spec.numeric[0].deviation, rel=1e-6)


def test_every_combination_of_a_cross_has_its_own_index(spec: FeatureSpec) -> None:
    table = delays(1500)
    _, categories = spec.transform(table)
    pairs = set(zip(table["day"].to_pylist(), table["carrier"].to_pylist(), strict=True))
    seen = {
        (day, carrier, index)
        for day, carrier, index in zip(
            table["day"].to_pylist(), table["carrier"].to_pylist(), categories[:, 1].tolist(), strict=True
        )
    }
    assert len(seen) == len(pairs) == len({index for _, _, index in seen})
    assert 0 not in categories
    assert categories.max(axis=0).tolist() == [size - 1 for size in spec.cardinalities]


def test_what_was_not_seen_and_null_get_index_0_and_the_mean(spec: FeatureSpec) -> None:
    table = pa.table({"day": [1, 99, None], "carrier": ["ZZ", "AA", None], "distance": [None, float("nan"), 500.0]})
    numbers, categories = spec.transform(table)
    assert categories.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert numbers[:2, 0].tolist() == [0.0, 0.0]


def test_a_cap_keeps_the_most_frequent(tmp_path: Path) -> None:
    table = pa.table({"x": ["a"] * 5 + ["b"] * 3 + ["c"] * 3 + ["d"]})
    shards = shards_of(write_split(tmp_path / "x", table, files=3))
    spec = fit_features(shards, FeatureOptions((), ("x",), max_categories=2), map)
    assert spec.vocabularies["x"].to_pylist() == ["a", "b"]  # of equals, the one that sorts first
    assert spec.transform(table)[1][:, 0].tolist() == [1] * 5 + [2] * 3 + [0] * 4


def test_integers_dictionaries_and_booleans_are_categories(tmp_path: Path) -> None:
    table = pa.table(
        {
            "code": pa.array([3, 1, 1, 7], pa.uint16()),
            "flag": [True, False, True, True],
            "word": pa.array(["x", "y", "x", "x"]).dictionary_encode(),
        }
    )
    shards = shards_of(write_split(tmp_path / "x", table, files=1))
    spec = fit_features(shards, FeatureOptions((), ("code", "flag", "word")), map)
    assert spec.transform(table)[1].tolist() == [[2, 2, 1], [1, 1, 2], [1, 2, 1], [3, 2, 1]]


def test_json_brings_it_back(spec: FeatureSpec) -> None:
    back = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert back.to_json() == spec.to_json()
    before, after = spec.transform(delays(50, 7)), back.transform(delays(50, 7))
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))


def test_json_that_is_none_is_corrupt() -> None:
    good = {"numeric": [], "vocabularies": {"a": [1]}, "categories": ["a"], "crosses": {}}
    assert FeatureSpec.from_json(good).cardinalities == (2,)
    for bad in ({}, {**good, "categories": ["b"]}, {**good, "numeric": [["a"]]}, {**good, "vocabularies": 3}):
        with pytest.raises(CorruptError):
            FeatureSpec.from_json(bad)


def test_a_constant_column_stays_finite(tmp_path: Path) -> None:
    table = pa.table({"x": [4.0] * 9})
    spec = fit_features(shards_of(write_split(tmp_path / "x", table, files=1)), FeatureOptions(("x",), ()), map)
    assert spec.transform(table)[0].tolist() == [[0.0]] * 9


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (pa.table({"x": ["a"]}), FeatureOptions(("x",), ()), "numeric feature needs numbers"),
        (pa.table({"x": [1.5]}), FeatureOptions((), ("y",)), "no such column"),
        (pa.table({"x": [[1]]}), FeatureOptions((), ("x",)), "integers or text"),
        (pa.table({"x": pa.array([None], pa.float64())}), FeatureOptions(("x",), ()), "no value"),
        (pa.table({"x": [float("inf")]}), FeatureOptions(("x",), ()), "infinite"),
        (pa.table({"x": pa.array([], pa.int64())}), FeatureOptions((), ("x",)), "empty"),
    ],
)
def test_unfit_columns_are_named(tmp_path: Path, table: pa.Table, options: FeatureOptions, message: str) -> None:
    shards = shards_of(write_split(tmp_path / "x", table, files=1))
    with pytest.raises(InvalidArgumentError, match=message):
        fit_features(shards, options, map)
