"""Makes `dist/mdlake-<version>.zip`: the library and the applications, for spark-submit's --py-files.

The same sources give the same bytes: entries are sorted and carry no time.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import mdlake

_ROOT = Path(__file__).resolve().parent.parent
_CONTENT = (("lib/mdlake", "mdlake"), ("schemas", "mdlake/schemas"), ("jobs", "jobs"), ("ray_tasks", "ray_tasks"))
_SUFFIXES = (".py", ".json", ".md", ".toml", ".html", ".css", ".typed")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def path(folder: Path) -> Path:
    """The bundle's path in `folder`."""
    return folder / f"mdlake-{mdlake.__version__}.zip"


def build(folder: Path, root: Path = _ROOT) -> Path:
    """Writes the bundle into `folder` and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = path(folder)
    draft = target.with_suffix(".part")
    with zipfile.ZipFile(draft, "w") as archive:
        for name, file in sorted(_entries(root)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    draft.replace(target)
    return target


def _entries(root: Path) -> Iterator[tuple[str, Path]]:
    for source, inside in _CONTENT:
        for file in (root / source).rglob("*"):
            if file.suffix in _SUFFIXES and "__pycache__" not in file.parts:
                yield f"{inside}/{file.relative_to(root / source).as_posix()}", file


def main(argv: Sequence[str]) -> None:
    print(build(Path(argv[0]) if argv else _ROOT / "dist"))


if __name__ == "__main__":
    main(sys.argv[1:])
