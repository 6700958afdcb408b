"""Promise: each recipe that is shipped is sound, and one that cannot be read says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdlake.errors import InvalidArgumentError
from ray_tasks import recipe
from ray_tasks.recipe import load_recipe

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
