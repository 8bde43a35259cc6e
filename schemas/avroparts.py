"""The parts of Avro's binary encoding that generated code calls where the short way does not do.

Stricter than the specification in two points, which no encoder in use meets: the index of a union branch takes one
byte, and so does the zero that ends a map or a list.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from schemas import validate
from schemas.errors import Reason

unpack_double = struct.Struct("<d").unpack_from
pack_double = struct.Struct("<d").pack

MAX_NAMES = 4096


class Broken(ValueError):
    """The bytes are no such record; generated code catches this and names the field."""

    def __init__(self, reason: Reason, rule: str) -> None:
        super().__init__(rule)
        self.reason = reason
        self.rule = rule


def truncated() -> Broken:
    """The bytes end before the record does."""
    return Broken(Reason.TRUNCATED, "the bytes end before the record does; send it whole")


def trailing() -> Broken:
    """The record ends before the bytes do."""
    return Broken(Reason.TRAILING, "there are bytes after the end of the record; send one record per message")


def malformed(rule: str) -> Broken:
    """The bytes say what Avro cannot mean."""
    return Broken(Reason.MALFORMED, f"{rule}; was it written with the published schema?")


def long(b: bytes, i: int) -> tuple[int, int]:
    """The zigzag number at i, and the position after it."""
    raw = 0
    for shift in range(0, 70, 7):
        byte = b[i]
        i += 1
        raw |= (byte & 127) << shift
        if byte < 128:
            if raw >> 64:
                break
            return (raw >> 1) ^ -(raw & 1), i
    raise malformed("a number must fit 64 bits")


def span(b: bytes, i: int) -> tuple[int, int]:
    """Where the string at i begins and ends."""
    n, i = long(b, i)
    if n < 0:
        raise malformed("a length must not be negative")
    if n > len(b) - i:
        raise truncated()
    return i, i + n


def block(b: bytes, i: int) -> tuple[int, int]:
    """The count of a map's or list's block at i, and where its items begin."""
    n, i = long(b, i)
    if n < 0:
        size, i = long(b, i)
        if size < 0:
            raise malformed("a block's size must not be negative")
        if size > len(b) - i:
            raise truncated()
        return -n, i
    if not n:
        raise malformed("the end of a block must be one zero byte")
    return n, i


class Words:
    """Remembers the words seen in the bytes of one field, so that each is checked and decoded once.

    Full, it forgets all, so that hostile words neither fill the memory nor disable it for good.
    """

    def __init__(self, check: Callable[[str], str]) -> None:
        self._check = check
        self._known: dict[bytes, str] = {}
        self.get = self._known.get

    def learn(self, raw: bytes) -> str:
        """The word of bytes not met before; raises what the check raises."""
        text = self._check(raw.decode())
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        self._known[raw] = text
        return text


def words(field: str) -> Words:
    """The memory for the field `type` or `channel`."""
    return Words(lambda text: validate.word(field, text))


def names() -> Words:
    """The memory for the names of properties."""
    return Words(validate.key)
