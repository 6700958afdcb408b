"""Whether what a peer needs can be had here."""

from __future__ import annotations

import importlib


def why_missing(package: str) -> str | None:
    """Why a package cannot be imported, if so."""
    try:
        importlib.import_module(package)
    except Exception as error:  # whatever a peer's package raises when it is loaded
        return f"{package} cannot be imported: {error}"
    return None
