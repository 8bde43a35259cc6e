"""What is compiled and what is not say the same, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas import avrofast
from streams.engine import partition

ROOT = Path(__file__).parents[2]
WHERE = "import tests.support.plain; from streams.engine import partition, ids; print(partition.__file__, ids.__file__)"


def run(*command: str) -> str:
    """Run Python in a process of its own and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_same_states_from_plain_sources() -> None:
    """The golden states, which this very run compares too, with nothing compiled."""
    assert all(name.endswith(".py") for name in run("-c", WHERE).split())
    assert "passed" in run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.plain", "tests/golden/test_states.py"
    )


def test_generated_code_that_was_compiled_is_of_this_source() -> None:
    """Else it would be passed over, and nobody would know why it is slow."""
    if not str(partition.__file__).endswith(".so"):
        pytest.skip("nothing is compiled here: make compile")
    for code in avrofast.MADE:
        function = "encode" if code.module.endswith("_encoder") else "decode"
        assert "cython" in type(code.fastest(function)).__name__, code.module
