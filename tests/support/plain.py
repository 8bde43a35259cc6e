"""Plain Python in place of what is compiled: `python -m pytest -p tests.support.plain tests/golden`."""

from __future__ import annotations

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("schemas", "streams")


def finder(path: str) -> FileFinder:
    """Return what finds sources alone, for the folders of the packages that have compiled modules."""
    folder = Path(path)
    if not folder.is_relative_to(ROOT) or folder.relative_to(ROOT).parts[:1] not in {(name,) for name in OURS}:
        raise ImportError(path)
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))


sys.path_hooks.insert(0, finder)
