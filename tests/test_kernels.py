"""Promise: a cached kernel is never older than the source it was compiled from."""

from __future__ import annotations

import hashlib
import importlib
import re
from pathlib import Path

import pytest

import mdlake.kernels

FOLDER = Path(mdlake.kernels.__file__).parent
IMPORTS = re.compile(r"^from mdlake\.kernels\.(\w+) import", re.MULTILINE)
COMPOSED = [path for path in sorted(FOLDER.glob("*.py")) if IMPORTS.search(path.read_text())]


@pytest.mark.parametrize("path", COMPOSED, ids=lambda path: path.stem)
def test_what_is_compiled_in_is_named(path: Path) -> None:
    """numba looks for a change only in the file of the kernel: the digest brings the others into it."""
    parts = sorted(set(IMPORTS.findall(path.read_text())))
    digest = hashlib.sha256(b"".join((FOLDER / f"{part}.py").read_bytes() for part in parts)).hexdigest()[:16]
    module = importlib.import_module(f"mdlake.kernels.{path.stem}")
    assert digest == module.COMPILED_IN, f"set COMPILED_IN of {path.name} to {digest}"
