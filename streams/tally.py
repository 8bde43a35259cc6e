"""Counting over a compacted topic in bounded memory: of each key the newest record counts."""

from __future__ import annotations

import tempfile
from collections import Counter
from typing import Any

import msgspec
from rocksdict import Options, Rdict, WriteBatch

# Keys held in memory, some 30 MB; beyond, they go to a file for as long as the counting takes.
MOST = 200_000

_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode


class Tally:
    """What the newest record of each key counts for; `close` removes the file."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held: dict[bytes, bytes] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._file: Any = None
        self._numbers: dict[Any, int] = {}

    def put(self, key: bytes, counted: list[Any]) -> None:
        """The newest record of `key` counts one for each of these, whatever an older one did."""
        numbers = self._numbers
        self._held[key] = _encode([numbers.setdefault(each, len(numbers)) for each in counted]) if counted else b""
        if len(self._held) >= self._most:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._folder = tempfile.TemporaryDirectory(prefix="polku-")
            self._file = Rdict(self._folder.name, Options(raw_mode=True))
        batch = WriteBatch(raw_mode=True)
        for key, value in self._held.items():
            if value:
                batch.put(key, value)
            else:
                batch.delete(key)
        self._file.write(batch)
        self._held = {}

    def total(self) -> Counter[Any]:
        """How often each counts."""
        total: Counter[int] = Counter()
        if self._file is not None:
            self._spill()
            for value in self._file.values():
                total.update(_decode(value))
        for value in self._held.values():
            total.update(_decode(value) if value else ())
        names = list(self._numbers)
        return Counter({names[number]: count for number, count in total.items()})

    def close(self) -> None:
        """Remove the file, if there is one."""
        if self._file is not None:
            self._file.close()
        if self._folder is not None:
            self._folder.cleanup()
