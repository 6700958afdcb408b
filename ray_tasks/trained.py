"""The networks that `train` and `distill` leave in a lake, by name, for the verbs behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.records import need_record, record_of
from ray_tasks.recipe import NetworkPlan, Recipe

TEACHER, DISTILLED, ALONE = "teacher", "student_distilled", "student_alone"
_VERBS = {TEACHER: "train", DISTILLED: "distill", ALONE: "distill"}
_TABLES = "training", "compress", "distill"
_SHOWN = 3


def asked_for(recipe: Recipe, network: NetworkPlan) -> dict[str, Any]:
    """What the recipe says of one of its networks, as its record has it."""
    return json.loads(json.dumps({**asdict(network), **recipe.task.to_json()}))


def need_trained(store: Store, name: str, recipe: Recipe) -> dict[str, Any]:
    """The record of that network.

    Raises:
        InvalidArgumentError: it is not trained yet, or the recipe has another one by now.
    """
    record = need_record(store, record_of(name), _VERBS[name])
    network = recipe.teacher if name == TEACHER else recipe.student
    assert network is not None, "who asks for a student has one"
    check_asked(name.replace("_", " "), record, asked_for(recipe, network), _VERBS[name], store.url_of(record_of(name)))
    return record


def check_asked(what: str, record: Mapping[str, Any], wanted: Mapping[str, Any], verb: str, url: str) -> None:
    """Raises `InvalidArgumentError` if the step that left this record was asked for something else."""
    there = record.get("asked") or {}
    wanted = _known_to(there, wanted)
    if there != wanted:
        others = list(_differences(there, wanted))
        told = "; ".join(others[:_SHOWN]) + ("; ..." if len(others) > _SHOWN else "")
        again = f"run `python -m ray_tasks.{verb}` with this recipe, or change the recipe"
        raise InvalidArgumentError(f"{what} was made by another recipe ({told}): {again}", file=url)


def _known_to(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Without options of a later release, which were then as they are unless a recipe says so."""
    known = {key: wanted[key] for key in wanted if key in there}
    tables = [
        key for key in known if key in _TABLES and isinstance(there[key], Mapping) and isinstance(known[key], Mapping)
    ]
    return known | {key: _known_to(there[key], known[key]) for key in tables}


def _differences(there: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """What is otherwise, by the names of tables and options."""
    if not isinstance(there, Mapping) or not isinstance(wanted, Mapping):
        yield f"{name} was {json.dumps(there)}, is {json.dumps(wanted)}"
        return
    for key in {**wanted, **there}:  # in the recipe's order, networks first
        if there.get(key) != wanted.get(key):
            yield from _differences(there.get(key), wanted.get(key), f"{name}.{key}" if name else key)
