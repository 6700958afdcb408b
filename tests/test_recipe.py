"""Promise: each recipe that is shipped is sound, and one that cannot be read says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdlake.errors import InvalidArgumentError
from mdlake.models.images import ImageSpec
from ray_tasks import recipe
from ray_tasks.recipe import load_recipe, parse_recipe

SHIPPED = sorted(path.stem for path in (Path(recipe.__file__).parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_sound(name: str) -> None:
    assert load_recipe(name).compress


def test_a_missing_recipe_names_those_there_are(tmp_path: Path) -> None:
    for name in ("nosuch", str(tmp_path / "nosuch.toml")):
        with pytest.raises(InvalidArgumentError, match=r"cannot be read: No such file .* one of .*flights"):
            load_recipe(name)


@pytest.mark.parametrize("content", [b'label = "x\n', b"\xff\xfe", b"= 3"])
def test_a_file_that_is_no_toml_says_where(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="this is no TOML: ") as caught:
        load_recipe(str(path))
    assert "bad.toml" in str(caught.value) and "flights" not in str(caught.value)


@pytest.mark.parametrize(
    ("network", "shape", "options"),
    [
        ("perceptron", (1, 16, 16), {"inputs": 256}),
        ("lenet_5", (3, 28, 28), {"channels": 3}),
        ("convnet", (2, 20, 20), {"channels": 2, "size": 20}),
        ("resnet", (3, 32, 32), {}),
        ("mobilenet", (1, 24, 32), {"channels": 1}),
    ],
)
def test_the_library_s_networks_take_the_shape_of_the_images(network: str, shape: tuple, options: dict) -> None:
    teacher = {"network": network, "image": {"column": "image", "shape": list(shape)}}
    found = parse_recipe({"label": "label", "classes": 10, "teacher": teacher}).teacher
    assert found.network_options(ImageSpec("image", shape), 10) == options
    given = parse_recipe({"label": "label", "classes": 10, "teacher": {**teacher, "options": {"size": 9}}}).teacher
    assert given.network_options(ImageSpec("image", shape), 10)["size"] == 9


def test_misspelt_tables_and_a_missing_label_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match="no 'lable'; it has label, classes, teacher"):
        parse_recipe({"lable": "x"})
    with pytest.raises(InvalidArgumentError, match="the recipe has no label"):
        parse_recipe({"classes": 3})
    with pytest.raises(InvalidArgumentError, match=r"table 'teacher\.training': epochs must be positive, not 0"):
        parse_recipe({"label": "x > 1", "teacher": {"network": "lenet_5", "training": {"epochs": 0}}})
