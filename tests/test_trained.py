"""Promise: a verb takes from the lake what its recipe says, or tells what is otherwise."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store, open_store
from mdlake.models.records import record_of, write_record
from ray_tasks.compress import RECORD as ARTIFACT
from ray_tasks.compress import need_artifact
from ray_tasks.recipe import Recipe, parse_recipe
from ray_tasks.score import RECORD as SCORES
from ray_tasks.students import chosen_way, taught_by
from ray_tasks.trained import DISTILLED, TEACHER, asked_for, need_trained

IMAGE = {"column": "image", "shape": [1, 8, 8]}


def recipe_of(classes: int = 10, stages: Any = ({"use": "rate"},), temperature: float = 2.0, **training: Any) -> Recipe:
    teacher = {"network": "lenet_5", "image": IMAGE, "options": {"filters": [4, 6]}, "training": {"epochs": 4}}
    student = {"network": "lenet_5", "image": IMAGE, "training": training}
    tables = {
        "teacher": teacher,
        "student": student,
        "compress": {"stages": stages},
        "distill": {"temperature": temperature},
    }
    return parse_recipe({"label": "label", "classes": classes, **tables})


@pytest.fixture
def lake(tmp_path: Path) -> Store:
    store, recipe = open_store(tmp_path), recipe_of()
    assert recipe.student
    write_record(store, record_of(TEACHER), "t", model="m", asked=asked_for(recipe, recipe.teacher))
    write_record(store, record_of(DISTILLED), "d", model="m", asked=asked_for(recipe, recipe.student))
    return store


def test_what_the_recipe_says_is_taken(lake: Store) -> None:
    assert need_trained(lake, TEACHER, recipe_of())["fingerprint"] == "t"
    assert need_trained(lake, DISTILLED, recipe_of())["fingerprint"] == "d"


def test_records_of_older_releases_are_taken(lake: Store) -> None:
    asked = asked_for(recipe_of(), recipe_of().teacher)
    fewer = {key: value for key, value in asked.items() if key != "channels_last"}
    fewer["training"] = {key: value for key, value in asked["training"].items() if key != "augment"}
    for older in ({}, {"asked": fewer}):
        write_record(lake, record_of(TEACHER), "old", model="m", **older)
        assert need_trained(lake, TEACHER, recipe_of())["fingerprint"] == "old"
    fewer["training"]["epochs"] = 77
    write_record(lake, record_of(TEACHER), "old", model="m", asked=fewer)
    with pytest.raises(InvalidArgumentError, match=r"training\.epochs was 77, is 4"):
        need_trained(lake, TEACHER, recipe_of())


def test_a_network_of_another_recipe_is_told_with_what_differs(lake: Store) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        need_trained(lake, DISTILLED, recipe_of(epochs=20, batch_size=7))
    message = str(caught.value)
    assert "training.epochs was " in message and ", is 20" in message and "training.batch_size was " in message
    assert "ray_tasks.distill" in message and "student distilled was made by another recipe" in message


def test_what_is_not_trained_names_the_verb(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"python -m ray_tasks\.train"):
        need_trained(open_store(tmp_path), TEACHER, recipe_of())


def test_scores_of_another_teacher_are_told(lake: Store) -> None:
    write_record(lake, SCORES, "s", teacher="another", folder="scores/s/train", rows=3)
    recipe = recipe_of()
    with pytest.raises(InvalidArgumentError, match=r"another teacher: run `python -m ray_tasks\.score` again"):
        taught_by(lake, recipe, recipe.distill[0])


def test_other_classes_are_told(lake: Store) -> None:
    with pytest.raises(InvalidArgumentError, match="classes was 10, is 4"):
        need_trained(lake, TEACHER, recipe_of(classes=4))


def test_an_artifact_of_another_recipe_or_student_is_told(lake: Store) -> None:
    asked = json.loads(json.dumps({"compress": asdict(recipe_of().compress), "distill": None}))
    write_record(lake, ARTIFACT, "a", asked=asked, student="d", artifact="x")
    assert need_artifact(lake, recipe_of(), "d")["fingerprint"] == "a"
    with pytest.raises(
        InvalidArgumentError, match=r"compress\.stages was .*rate.*, is .*fold.* run `python -m ray_tasks\.compress`"
    ):
        need_artifact(lake, recipe_of(stages=({"use": "fold"},)), "d")
    with pytest.raises(InvalidArgumentError, match="trained anew"):
        need_artifact(lake, recipe_of(), "e")


def test_a_student_taught_otherwise_is_told() -> None:
    taught = {"distill": asdict(recipe_of().distill[0])}
    assert chosen_way(recipe_of(), taught) == chosen_way(recipe_of(), {}) == recipe_of().distill[0]
    with pytest.raises(InvalidArgumentError, match="run distill again"):
        chosen_way(recipe_of(temperature=5.0), taught)
