"""Runs `polku` as a person does: in this process for speed, or as a process of its own where that matters."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from streams.cli import main
from tests.support.kafka import ROOT

SEEDS = ROOT / "seeds"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        """Its output as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def polku(*arguments: object, stdin: bytes = b"") -> Ran:
    """Run a command in this process; whatever it does, it says so without a traceback."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([str(each) for each in arguments])
            except SystemExit as ended:
                code = ended.code or 0
    finally:
        sys.stdin = before
    for stream in (out, err):
        stream.flush()
    ran = Ran(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))
    assert "Traceback" not in ran.err
    assert "a defect of Polku's" not in ran.err, ran.err
    return ran


def polku_process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
