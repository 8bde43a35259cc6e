"""JSON text to untyped trees, and trees to our structs."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from schemas.errors import InvalidRecord, Reason

T = TypeVar("T")

_decode = msgspec.json.Decoder().decode
_PATH = re.compile(r"(?P<rule>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL).fullmatch
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`").fullmatch


def from_json(value: bytes, begin: int = 0) -> Any:
    """The tree of a JSON text from `begin` on."""
    try:
        return _decode(value[begin:] if begin else value)
    except UnicodeDecodeError as error:
        raise InvalidRecord(Reason.UTF8, "text must be UTF-8", value=error.object) from error
    except RecursionError as error:
        raise InvalidRecord(Reason.TOO_DEEP, "lists and objects are nested too deep") from error
    except msgspec.ValidationError as error:  # what is JSON, and no number of ours
        raise InvalidRecord(Reason.NUMBER, "numbers must be finite and fit 64 bits") from error
    except msgspec.DecodeError as error:
        text = str(error)
        if "truncated" in text:
            raise InvalidRecord(Reason.TRUNCATED, "the JSON text ends too early; send it whole") from error
        if "trailing" in text:
            raise InvalidRecord(Reason.TRAILING, "there is text after the JSON object; send one per message") from error
        raise InvalidRecord(Reason.MALFORMED, text.replace("JSON is malformed", "this is not JSON")) from error


def to_struct(tree: Any, kind: type[T]) -> T:
    """The struct of a tree; its types are checked, unknown fields are ignored."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        found = _PATH(str(error))
        rule, path = (found["rule"], found["path"] or "") if found else (str(error), "")
        missing = _MISSING(rule)
        if missing:
            raise InvalidRecord(Reason.MISSING, "this field is required", field=missing["name"]) from error
        raise InvalidRecord(Reason.TYPE, rule, field=path) from error
