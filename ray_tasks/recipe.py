"""A recipe: what is predicted, with which networks, and how they are trained and shrunk. One TOML file.

`ray_tasks/recipes/flights.toml` is the one of the demo, short enough to read and change.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mdlake.errors import InvalidArgumentError, located
from mdlake.models.features import FeatureSpec
from mdlake.models.fitting import FeatureOptions
from mdlake.models.images import ImageOptions, ImageSpec
from mdlake.models.inputs import Inputs
from mdlake.models.networks import NETWORKS
from mdlake.models.own import Own, OwnInputs, is_path
from mdlake.models.tasks import Task, task_of
from mdlake.models.tokens import TokenSpec
from mdlake.models.training import TrainingOptions
from mdlake.shrink.attempts import CompressOptions
from mdlake.shrink.choices import choices
from mdlake.shrink.distill.data_free import DataFreeOptions
from mdlake.shrink.distill.loss import DistillOptions
from mdlake.tables import filled

_KEYS = "label", "classes", "teacher", "student", "distill", "compress"
_FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class NetworkPlan:
    """A network, what it sees, how it is trained.

    `network` is a name of the registry or the import path of a user's own, `package.module:factory`. It sees numeric
    columns and categories with their embedding widths or, with `image`, images or, with `tokens`, sequences of ids or,
    with `inputs`, what a user's own object at that import path makes of columns. With `data_free` a student learns
    from its teacher and a generator alone, without the train split. `channels_last`: it is trained in that memory
    format, in which convolutions are faster.
    """

    network: str
    numeric: tuple[str, ...] = ()
    categories: Mapping[str, int] = field(default_factory=dict)
    max_categories: int = 1 << 16
    image: ImageOptions | None = None
    tokens: TokenSpec | None = None
    inputs: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    data_free: DataFreeOptions | None = None
    channels_last: bool = False

    def __post_init__(self) -> None:
        if not is_path(self.network) and self.network not in NETWORKS:
            known = f"{', '.join(sorted(NETWORKS))}; your own is an import path, package.module:name"
            raise InvalidArgumentError(f"no network is called {self.network!r}; there are {known}")
        if self.inputs and not is_path(self.inputs):
            raise InvalidArgumentError(f"inputs are an import path, package.module:name, not {self.inputs!r}")
        given = (self.inputs, self.image, self.tokens, self.numeric or self.categories)
        if sum(map(bool, given)) > 1:
            raise InvalidArgumentError(
                "a network sees its own inputs, or an image, or tokens, or columns: leave the others out"
            )

    @property
    def seen(self) -> FeatureOptions | ImageOptions | TokenSpec | OwnInputs:
        if self.inputs:
            return OwnInputs(self.inputs)
        return self.image or self.tokens or FeatureOptions(self.numeric, tuple(self.categories), self.max_categories)

    @property
    def own(self) -> Own:
        """What is a user's own of it: files that name anything else of that kind are refused."""
        return Own(self.network, self.inputs or None)

    def network_options(self, spec: Inputs, outputs: int) -> dict[str, Any]:
        """The options of the network for what was fitted and so many outputs, ready for JSON."""
        options = self._usual(spec, outputs) | dict(self.options)
        if isinstance(spec, TokenSpec):
            return {"vocabulary": spec.vocabulary, "length": spec.length, **options}
        if not isinstance(spec, FeatureSpec):
            return options
        return {
            "numeric": len(spec.numeric),
            "cardinalities": list(spec.cardinalities),
            "widths": list(self.categories.values()),
            **options,
        }

    def _usual(self, spec: Inputs, outputs: int) -> dict[str, Any]:
        """Options of the library's own networks that follow from the rows, where they are not the usual ones."""
        known = NETWORKS.get(self.network)
        usual = {field.name: field.default for field in fields(known.options)} if known else {}
        wanted = {"outputs": outputs}
        if isinstance(spec, ImageSpec):
            channels, height, width = spec.shape
            wanted |= {"channels": channels, "inputs": channels * height * width}
            wanted |= {"size": height} if height == width else {}
        return {name: value for name, value in wanted.items() if usual.get(name, value) != value}


@dataclass(frozen=True)
class Recipe:
    """The tables of the file. Without a student, the teacher itself is compressed.

    `distill`: the ways to teach that are tried, more than one where options are lists. `taught_on`: how the network is
    taught while it is made small (the table compress.distill), if not as the student was.

    Raises:
        InvalidArgumentError: a drop against the student alone, or several ways to teach one, where there is no student.
    """

    task: Task
    teacher: NetworkPlan
    student: NetworkPlan | None
    distill: tuple[DistillOptions, ...]
    compress: CompressOptions
    taught_on: DistillOptions | None = None

    def __post_init__(self) -> None:
        if self.student is None and self.compress.against == "alone":
            raise InvalidArgumentError("a drop against the student alone (compress.against) needs a student")
        if self.teacher.data_free or (self.student and self.student.data_free and len(self.distill) > 1):
            raise InvalidArgumentError("data_free is for a student, which then learns in one way: give single values")
        if self.student is None and len(self.distill) > 1:
            raise InvalidArgumentError("without a student there is one way to distill: give single values, not lists")


def load_recipe(name: str) -> Recipe:
    """The recipe of that name in `ray_tasks/recipes`, or the file at that path."""
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    with located(file=str(path)):
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"this is no TOML: {error}") from error
        except OSError as error:
            known = ", ".join(sorted(known.stem for known in _FOLDER.glob("*.toml")))
            why = error.strerror or str(error)
            raise InvalidArgumentError(f"the recipe cannot be read: {why}; give a file, or one of {known}") from error
        return parse_recipe(content)


def parse_recipe(content: Mapping[str, Any]) -> Recipe:
    tables = dict(content)
    if unknown := [key for key in tables if key not in _KEYS]:
        raise InvalidArgumentError(f"the recipe has no {unknown[0]!r}; it has {', '.join(_KEYS)}")
    if "label" not in tables:
        raise InvalidArgumentError("the recipe has no label: a column, or a comparison as 'delay > 15'")
    compress = dict(tables.pop("compress", {}))
    compress["training"] = filled(TrainingOptions, compress.get("training", {}), "compress.training")
    if taught_on := compress.pop("distill", None):
        tables["taught_on"] = filled(DistillOptions, taught_on, "compress.distill")
    return filled(
        Recipe,
        {
            "task": task_of(str(tables.pop("label", "")), tables.pop("classes", 0)),
            "teacher": _network(tables.pop("teacher", {}), "teacher"),
            "student": _network(tables.pop("student"), "student") if "student" in tables else None,
            "distill": tuple(filled(DistillOptions, way, "distill") for way in choices(tables.pop("distill", {}))),
            "compress": filled(CompressOptions, compress, "compress"),
            **tables,
        },
        "the recipe",
    )


def _network(table: Mapping[str, Any], place: str) -> NetworkPlan:
    values = dict(table)
    values["numeric"] = tuple(values.get("numeric", ()))
    if "tokens" in values:
        values["tokens"] = filled(TokenSpec, values["tokens"], f"{place}.tokens")
    if "image" in values:
        values["image"] = filled(ImageOptions, values["image"], f"{place}.image")
    values["training"] = filled(TrainingOptions, values.get("training", {}), f"{place}.training")
    if "data_free" in values:
        values["data_free"] = filled(DataFreeOptions, values["data_free"], f"{place}.data_free")
    with located(table=place):
        return filled(NetworkPlan, values, place)
