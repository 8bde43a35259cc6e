"""The guarantees page names tests that exist."""

from __future__ import annotations

import re

from tests.support.kafka import ROOT


def test_every_promise_names_a_test_that_is_there() -> None:
    """Each row of the table has at least one, and each leads to a file or folder with tests."""
    page = (ROOT / "docs" / "guarantees.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| when", "| fault"))]
    assert rows
    for row in rows:
        named = re.findall(r"`(tests/[\w/.]+)`", row)
        assert named, row
        assert [name for name in named if not (ROOT / name).exists()] == []
