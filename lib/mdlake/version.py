"""The release, as `pyproject.toml` has it; a constant, because a bundle zip has no package metadata."""

VERSION = "0.1.0"
