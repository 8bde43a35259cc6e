"""Why a record cannot be read.

CodecError
├── InvalidRecord       its bytes condemn it: a dead letter
└── SchemaUnavailable   its bytes do not decide: wait and try again
"""

from __future__ import annotations

from enum import StrEnum

EXCERPT = 60


class Reason(StrEnum):
    """Why a record is refused, one machine-readable word: a bounded label for metrics."""

    EMPTY = "empty"
    TOO_LARGE = "too-large"
    ENCODING = "encoding"
    SCHEMA = "schema"
    TRUNCATED = "truncated"
    TRAILING = "trailing"
    UTF8 = "utf8"
    MALFORMED = "malformed"
    MISSING = "missing"
    UNKNOWN_FIELD = "unknown-field"
    TYPE = "type"
    NAME = "name"
    TIME = "time"
    NUMBER = "number"
    TOO_MANY = "too-many"
    TOO_DEEP = "too-deep"
    IDENTIFIER = "identifier"
    RESERVED = "reserved"
    VALUE = "value"


class CodecError(Exception):
    """A record could not be read."""


class InvalidRecord(CodecError):
    """The record breaks a rule, whenever it is read.

    `reason` is one machine-readable word, `field` the path of what is wrong (empty: the record as a whole), `rule`
    a sentence that names the rule and the way out, `value` a short excerpt of what was found. The excerpt may be
    personal data: it belongs into the dead letter, never into a log or a metric.
    """

    def __init__(self, reason: Reason, rule: str, *, field: str = "", value: object = None) -> None:
        super().__init__(reason, rule)
        self.reason = reason
        self.rule = rule
        self.field = field
        self.value = excerpt(value)

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}" if self.field else self.rule


class SchemaUnavailable(CodecError):
    """The schema that the record was written with is not known now; `schema_id` names it. Wait, do not dead-letter."""

    def __init__(self, schema_id: int | str) -> None:
        super().__init__(
            f"writer schema {schema_id} is not known yet: check that the schema registry is reachable and holds it"
        )
        self.schema_id = schema_id


def excerpt(value: object) -> str:
    """The beginning of a value, for a dead letter's header: at most 60 printable characters."""
    if value is None:
        return ""
    if isinstance(value, (str, bytes)):
        text = repr(value[: EXCERPT + 1])
    elif isinstance(value, (bool, float)) or (isinstance(value, int) and value.bit_length() <= 128):
        text = repr(value)
    else:
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"
