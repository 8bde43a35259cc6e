"""The frame of the project: pinned dependencies, the rule between the packages, and how the engine is fenced in."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def pinned() -> list[str]:
    """Every direct dependency, for use and for development."""
    project = PROJECT["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


@pytest.mark.parametrize("requirement", pinned())
def test_each_direct_dependency_is_locked_at_its_version(requirement: str) -> None:
    """What pyproject.toml names is what is installed."""
    assert re.search(rf"^{re.escape(requirement)} \\$", LOCK, re.MULTILINE)


def test_each_import_is_a_direct_dependency_and_each_dependency_is_imported() -> None:
    """What happens to be installed for another package's sake is no ground to stand on, and nothing is idle."""
    imported: set[str] = set()
    for package in ("schemas", "streams", "connectors"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
    imported -= {*sys.stdlib_module_names, "schemas", "streams", "connectors"}
    distributions = packages_distributions()
    needed = {canonical(name) for module in imported for name in distributions[module]}
    direct = {canonical(requirement.partition("==")[0]) for requirement in PROJECT["project"]["dependencies"]}
    # pydantic pins its own core; aiokafka imports cramjam where a topic is compressed.
    assert needed - {"pydantic-core"} == direct - {"cramjam"}


def canonical(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_lock_names_no_host() -> None:
    """The lock holds versions and hashes, and works with any package index."""
    assert "://" not in LOCK
    assert LOCK.count("--hash=sha256:") > LOCK.count("==")


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import time", "TID251"),
        ("import random", "TID251"),
        ("import logging", "TID251"),
        ("import os", "TID251"),
        ("import asyncio", "TID251"),
        ("from uuid import uuid4\n\nuuid4()", "TID251"),
        ("from datetime import UTC, datetime\n\ndatetime.now(UTC)", "TID251"),
        ("print(1)", "T201"),
    ],
)
def test_lint_refuses_clock_chance_and_io_inside_the_engine_only(code: str, rule: str) -> None:
    """The same line is refused in streams/engine and let through elsewhere in streams."""

    def found(place: str) -> str:
        command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "--stdin-filename"]
        done = subprocess.run([*command, place, "-"], input=code, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout

    assert rule in found("streams/engine/sample.py")
    assert "TID251" not in found("streams/sample.py")


def test_each_lint_exemption_gives_its_reason() -> None:
    """Every line that exempts a rule says why."""
    section = (ROOT / "pyproject.toml").read_text().split("[tool.ruff.lint]")[1].split("[tool.ruff.lint.flake8")[0]
    exemptions = re.findall(r'^ +"[A-Z]+[0-9]*",.*$', section, re.MULTILINE)
    assert exemptions
    assert [line for line in exemptions if not re.search(r"#\s+\S+", line)] == []
