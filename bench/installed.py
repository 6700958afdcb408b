"""Tables about installed packages: real text, and the same for everybody who has installed `requirements.lock`."""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import re
import sys
from pathlib import Path

import pyarrow as pa

DOCUMENTED = ("networkx", "numpy", "pandas")
LOCK = Path(__file__).parents[1] / "requirements.lock"


def docs() -> pa.Table:
    """Every function and class: where it is, its arguments as written, its docstring."""
    rows: list[tuple[str, str, int, str, str, str | None]] = []
    for package in DOCUMENTED:
        root = Path(str(importlib.metadata.distribution(package).locate_file("")))
        for path in sorted((root / package).rglob("*.py")):
            place = path.relative_to(root).as_posix()
            rows.extend((package, place, *row) for row in _definitions(path))
    types = [pa.string(), pa.string(), pa.int64(), pa.string(), pa.string(), pa.string()]
    names = ["package", "path", "line", "name", "arguments", "docstring"]
    columns = zip(names, zip(*rows, strict=True), types, strict=True)
    return pa.table({name: pa.array(column, type_) for name, column, type_ in columns})


def _definitions(path: Path) -> list[tuple[int, str, str, str | None]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.lineno, node.name, ast.unparse(node.args), ast.get_docstring(node)))
        elif isinstance(node, ast.ClassDef):
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            found.append((node.lineno, node.name, bases, ast.get_docstring(node)))
    return sorted(found, key=lambda row: row[0])


def files() -> pa.Table:
    """Every file that the packages of the lock file have recorded: package, version, path, bytes.

    Without the SHA-256 that stands beside them, which nothing can make smaller, and without compiled Python.
    """
    names = re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)
    rows = []
    for name in sorted(names, key=str.lower):
        try:
            distribution = importlib.metadata.distribution(name)
            version = distribution.version
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} of {LOCK.name} is not installed: its files are missing", file=sys.stderr)
            continue
        recorded = csv.reader((distribution.read_text("RECORD") or "").splitlines())
        rows.extend((name, version, path, int(size)) for path, _, size in recorded if size and path[-4:] != ".pyc")
    package, version, path, size = (list(column) for column in zip(*rows, strict=True))
    return pa.table({"package": package, "version": version, "path": path, "size": pa.array(size, pa.int64())})
