"""How much chance the engine's tests try: HYPOTHESIS_PROFILE=long tries ten times as much."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONGER = 10 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1


def examples(count: int) -> settings:
    """So many examples; no deadline, because a machine shared with a broker pauses for longer than any takes."""
    return settings(max_examples=count * LONGER, deadline=None, suppress_health_check=[HealthCheck.too_slow])
