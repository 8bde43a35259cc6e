"""Settings of Hypothesis for these tests."""

from __future__ import annotations

from hypothesis import settings

# No deadline per example: a machine shared with a broker pauses for longer than any example takes.
settings.register_profile("schemas", deadline=None)
settings.load_profile("schemas")
