"""What a Spark task does with its payload, before anything of mdlake is imported.

On a cluster mdlake comes as a zip. Python can import from it, but numba's compiled kernels are cached by the
path of their source, which is new for every application: each would compile them again. So the zip is
unpacked once per machine, to a folder named by its content, and mdlake is imported from there.

The payload is pickled by the driver of this very application; nothing is unpickled from storage.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

LIBRARY = "mdlake"


def run(payload: bytes) -> tuple[bool, Any]:
    """(True, result), or (False, the library's own error).

    A fault of storage is raised instead, so that Spark tries the task again.
    """
    use_unpacked()
    from mdlake.errors import MdlakeError, StoreError

    function, task = pickle.loads(payload)
    try:
        return True, function(task)
    except StoreError:
        raise
    except MdlakeError as error:
        return False, error


def use_unpacked() -> None:
    """Puts the unpacked library in front of the zip, if that is where it would come from."""
    if LIBRARY in sys.modules:
        return
    for entry in sys.path:
        if (Path(entry) / LIBRARY).is_dir():
            return
        if entry.endswith(".zip") and os.path.isfile(entry) and _holds_library(entry):
            sys.path.insert(0, str(unpack(Path(entry), cache_folder())))
            return


def unpack(archive: Path, cache: Path) -> Path:
    """The folder with the zip's content; made by whoever comes first, whole or not at all."""
    target = cache / hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as workshop:
            content = Path(workshop) / "content"
            with zipfile.ZipFile(archive) as file:
                file.extractall(content)
            try:
                content.rename(target)
            except OSError:
                if not target.is_dir():  # else another task was first
                    raise
    return target


def cache_folder() -> Path:
    """A folder that only this user can write: what is in it will be imported."""
    for base in (Path.home() / ".cache", Path(tempfile.gettempdir())):
        folder = base / f"{LIBRARY}-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        status = folder.lstat()
        if status.st_uid == os.getuid() and not status.st_mode & 0o022 and not folder.is_symlink():
            return folder
    raise RuntimeError("neither the home folder nor the temporary folder can hold a private cache")


def _holds_library(path: str) -> bool:
    with zipfile.ZipFile(path) as file:
        return f"{LIBRARY}/__init__.py" in file.namelist()
