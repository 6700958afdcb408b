"""A user's own network and inputs, by import path: `package.module:name`.

A path is imported because a user gave it, in a recipe or as an argument, and for no other reason. Files name the path
that they were made with, so that it can be checked against the one given; what a file names is never imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from mdlake.errors import CorruptError, InvalidArgumentError

Factory = Callable[..., nn.Module]
_PROTOCOL = ("columns", "transform", "tensors", "to_json")
_THERE = (
    "it must be importable on every worker: on this machine put its folder into PYTHONPATH; on a cluster bring it "
    "by Ray's runtime_env (`ray job submit --working-dir .`)"
)


@dataclass(frozen=True)
class Own:
    """What a caller gives for a model that is not all of the library's making: objects or import paths.

    network: called with the network's options as keywords, returns the module. inputs: an object with the protocol
    of `mdlake.models.inputs.Inputs`. A name without a colon is the library's own.
    """

    network: Factory | str | None = None
    inputs: Any = None

    def factory(self, named: Any) -> Factory | None:
        """What makes the network that a file calls `named`; None: the registry does.

        Raises:
            InvalidArgumentError: it is a user's, and not given; or another was given; or it cannot be imported.
        """
        if self.network is not None and not isinstance(self.network, str):
            return self.network
        _check("network", named, self.network, "model_class")
        return _callable(named) if is_path(named) else None

    def read_inputs(self, data: Mapping[str, Any]) -> OwnInputs:
        """The inputs that a file describes by `OwnInputs.to_json`. Raises as `factory`."""
        named, settings = data[OwnInputs.kind], data.get("settings")
        if self.inputs is None or isinstance(self.inputs, str):
            _check("inputs", named, self.inputs, "inputs")
            if not is_path(named):
                raise CorruptError(f"inputs of a user's own are called by an import path, not {named!r}")
            found = OwnInputs(named)
        else:
            found = OwnInputs(str(named), self.inputs)
        if found.settings != settings:
            raise InvalidArgumentError(
                f"the inputs {named!r} were {settings} when the network was trained, and are {found.settings} now: "
                "give those it was trained with, or train anew"
            )
        return found


LIBRARY = Own()
"""Nothing of a user's own."""


@dataclass(frozen=True)
class OwnInputs:
    """Inputs of a user's own behind the protocol; they travel as their path, and are imported where they are used."""

    kind: ClassVar[str] = "own"
    path: str
    given: Any = None
    seen: tuple[np.ndarray, ...] = field(default=(), compare=False, repr=False)

    @property
    def columns(self) -> list[str]:
        return list(self._object.columns)

    @property
    def settings(self) -> dict[str, Any]:
        """What the object says of itself, as JSON gives it back."""
        try:
            return json.loads(json.dumps(self._object.to_json(), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(f"to_json of the inputs {self.path!r} is not JSON: {error}") from error

    def transform(self, table: pa.Table) -> tuple[np.ndarray, ...]:
        arrays = tuple(self._object.transform(table))
        for array in arrays:
            if not isinstance(array, np.ndarray) or array.shape[:1] != (table.num_rows,):
                found = f"{type(array).__name__} {list(getattr(array, 'shape', []))}"
                raise InvalidArgumentError(
                    f"transform of the inputs {self.path!r} gives NumPy arrays of {table.num_rows} rows, not {found}"
                )
        return arrays

    def tensors(self, arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        return tuple(self._object.tensors(arrays))

    @property
    def names(self) -> tuple[str, ...]:
        """Those that the object has or, if it has none, input_0 and so on."""
        if hasattr(self._object, "names"):
            return tuple(self._object.names)
        return tuple(f"input_{place}" for place in range(len(self.tensors(self.made_up(1)))))

    def made_up(self, rows: int, seed: int = 0) -> tuple[np.ndarray, ...]:
        """Of the object or, if it makes none, what was `seen` over and over.

        Raises:
            InvalidArgumentError: there is neither.
        """
        if not hasattr(self._object, "made_up") and self.seen:
            return tuple(array[np.arange(rows) % len(array)] for array in self.seen)
        if not hasattr(self._object, "made_up"):
            raise InvalidArgumentError(
                f"the inputs {self.path!r} have no made_up(rows, seed), by which a network is traced without data: "
                "add it, returning arrays as transform does, or give shards"
            )
        return tuple(self._object.made_up(rows, seed))

    def to_json(self) -> dict[str, Any]:
        return {self.kind: self.path, "settings": self.settings}

    @property
    def _object(self) -> Any:
        found = resolve(self.path) if self.given is None else self.given
        missing = [name for name in _PROTOCOL if not hasattr(found, name)]
        if missing or isinstance(found, type):
            what = "a class, not an object of it" if isinstance(found, type) else f"without {', '.join(missing)}"
            raise InvalidArgumentError(f"{self.path!r} is {what}: inputs have {', '.join(_PROTOCOL)}")
        return found


def is_path(name: Any) -> bool:
    """Whether this is an import path, and so not a name of the library's."""
    return isinstance(name, str) and ":" in name


def resolve(path: str) -> Any:
    """The object at `package.module:name`. Only for paths that a user gave.

    Raises:
        InvalidArgumentError: there is no such module or name here, or importing it failed.
    """
    module, _, name = path.partition(":")
    if not module or not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise InvalidArgumentError(f"an import path is package.module:name, not {path!r}")
    try:
        found = import_module(module)
    except Exception as error:  # whatever a user's module raises
        raise InvalidArgumentError(
            f"{path!r} cannot be imported ({type(error).__name__}: {error}); {_THERE}"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise InvalidArgumentError(f"{path!r}: there is no {part!r} in {getattr(found, '__name__', module)}")
        found = getattr(found, part)
    return found


def _check(what: str, named: Any, given: str | None, argument: str) -> None:
    """Refuses what a file names unless it is what was given."""
    if named == given or not (is_path(named) or is_path(given)):
        return
    if not is_path(given):
        raise InvalidArgumentError(
            f"the {what} {named!r}: a user's own code is never imported because a file names it; pass {argument}=..., "
            "or give the recipe that it was trained with"
        )
    raise InvalidArgumentError(
        f"the file was made with the {what} {named!r}, but {given!r} was given: give the recipe that it was trained "
        "with, or train anew"
    )


def made_by(given: Factory | str) -> Factory:
    """What makes a network: the callable, or what is at the import path. Raises as `resolve`."""
    return _callable(given) if isinstance(given, str) else given


def _callable(path: str) -> Factory:
    found = resolve(path)
    if not callable(found):
        raise InvalidArgumentError(f"{path!r} is {type(found).__name__}, but a network is made by calling it")
    return cast(Factory, found)
