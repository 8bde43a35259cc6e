"""Compiles the modules of the hot path, where there is a C compiler; without one, the same modules run as they are.

`POLKU_COMPILE=0` leaves them as they are. What is compiled stands in pyproject.toml, under `tool.polku`.
"""

import os
import tomllib
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent
BUILD = "build/compiled"
# Half the compiler's time, and as fast: what these modules do is calls into Python's own objects.
FLAGS = ["-O2", "-g0"]


def generated() -> list[Extension]:
    """The codecs that are generated from the published schemas, as modules of their own."""
    from schemas import avrofast, codec  # noqa: F401, PLC0415 - the codec makes them

    folder = ROOT / BUILD / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for code in avrofast.MADE:
        source = folder / f"{code.module.rpartition('.')[2]}.pyx"
        text = code.typed()
        if not source.is_file() or source.read_text() != text:
            source.write_text(text)
        found.append(Extension(code.module, [str(source.relative_to(ROOT))], extra_compile_args=FLAGS, optional=True))
    return found


def compiled() -> list[Extension]:
    """Every module to compile; none where that is not wanted, or Cython is not there."""
    if os.environ.get("POLKU_COMPILE") == "0":
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415 - only where it is wanted
    except ImportError:
        return []
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["polku"]["compiled"]
    plain = [
        Extension(name, [name.replace(".", "/") + ".py"], extra_compile_args=FLAGS, optional=True) for name in names
    ]
    made: list[Extension] = cythonize(
        [*plain, *generated()],
        build_dir=BUILD,
        nthreads=os.cpu_count() or 1,
        quiet=True,
        # Annotations are for people and mypy: what runs must do the same compiled or not.
        compiler_directives={"language_level": 3, "annotation_typing": False},
    )
    return made


setup(ext_modules=compiled())
