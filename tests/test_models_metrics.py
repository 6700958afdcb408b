"""Measures are exact, and labels are what their expression says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdlake.errors import InvalidArgumentError
from mdlake.models.metrics import area_under_roc, measure_binary
from mdlake.models.tasks import BinaryTask


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=40))
def test_auc_is_the_share_of_ordered_pairs(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in rows], np.float64)
    positive = np.array([label for _, label in rows])
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]]
    expected = float(np.mean(pairs)) if pairs else None
    assert area_under_roc(scores, positive) == pytest.approx(expected)


def test_loss_and_accuracy_agree_with_their_definitions() -> None:
    logits, labels = np.array([2.0, -1.0, 0.0, -3.0]), np.array([1.0, 1.0, 1.0, 0.0])
    chances = 1 / (1 + np.exp(-logits))
    found = measure_binary(logits, labels)
    assert found.loss == pytest.approx(-np.mean(np.log(np.where(labels > 0, chances, 1 - chances))))
    assert found.accuracy == 0.75  # a logit of 0 says yes
    assert found.rows == 4


def test_a_huge_logit_costs_what_it_should_and_not_infinity() -> None:
    assert measure_binary(np.array([1e4, -1e4]), np.array([0.0, 0.0])).loss == pytest.approx(5e3)


def test_labels_follow_the_expression_and_nulls_have_none() -> None:
    table = pa.table({"arr_delay": pa.array([16, 15, None, -3], pa.int16())})
    labels, labelled = BinaryTask("arr_delay > 15").labels(table)
    assert labelled.tolist() == [True, True, False, True]
    assert labels[labelled].tolist() == [1.0, 0.0, 0.0]
    assert BinaryTask("arr_delay<=-3").labels(table)[0][labelled].tolist() == [0.0, 0.0, 1.0]


def test_nan_is_no_label() -> None:
    table = pa.table({"delay": [float("nan"), 20.0]})
    assert BinaryTask("delay > 15").labels(table)[1].tolist() == [False, True]


@pytest.mark.parametrize("label", ["", "delay", "delay > ", "delay > x", "delay => 15", "> 15", "delay > 1-"])
def test_a_label_that_is_none_is_refused(label: str) -> None:
    with pytest.raises(InvalidArgumentError, match="a label is"):
        BinaryTask(label)


def test_a_shard_without_the_label_column_says_what_it_has() -> None:
    with pytest.raises(InvalidArgumentError, match="'delay > 15' of; there are other, more"):
        BinaryTask("delay > 15").labels(pa.table({"other": [1], "more": [2]}))


def test_a_label_of_text_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="compares numbers, but the column is string"):
        BinaryTask("delay > 15").labels(pa.table({"delay": ["late"]}))
