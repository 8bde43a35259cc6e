"""What comes from outside into a worker beside the records themselves: trace headers and settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from streams.router import trace_of
from streams.settings import Settings

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ([], None),
        ([("other", TRACE), ("traceparent", TRACE)], TRACE.decode()),
        ([("traceparent", None), ("traceparent", b""), ("traceparent", TRACE)], TRACE.decode()),
        ([("traceparent", TRACE + b"\r\nX-Injected: 1")], None),
        ([("traceparent", TRACE + b"\n")], None),
        ([("traceparent", b"\xff" * 55)], None),
        ([("traceparent", TRACE.upper())], None),
    ],
)
def test_only_a_well_formed_trace_travels_on(headers: list[tuple[str, bytes | None]], trace: str | None) -> None:
    """It becomes a header of calls to channel systems."""
    assert trace_of(headers) == trace


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_message_bytes": 999_999},
        {"identifier_kinds": "device,email"},
        {"identifier_kinds": "customer,customer"},
        {"identifier_kinds": "customer,"},
        {"identifier_kinds": "customer,a:b"},
    ],
)
def test_settings_that_the_engine_cannot_live_with(wrong: dict[str, Any]) -> None:
    """Refused before anything starts."""
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_kinds_of_identifiers_are_declared_by_comma() -> None:
    """In the order in which they name an event's profile."""
    assert Settings(identifier_kinds="customer, loyalty_card").identifier_kinds == ("customer", "loyalty_card")  # type: ignore[arg-type]  # as from the environment
