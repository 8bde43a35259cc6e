"""Records whose header names are no UTF-8: the protocol demands it, brokers do not check it, and producers err.

aiokafka cannot decode such a record, nor get past it. Here the batch it stands in is read once more, in Python, with
what is no UTF-8 in a name written as its bytes in hexadecimal; key, value and the headers' values stay as they are. The
record then counts like any other.
"""

from __future__ import annotations

from typing import Any

from aiokafka.record import default_records, memory_records
from aiokafka.record.util import decode_varint

WITH_HEADERS = 2
"""The first message format that has headers."""


class KeptRecords(memory_records.MemoryRecords):  # type: ignore[misc]  # final in its stub only
    """A partition's fetch that remembers its bytes, so that it can be read once more."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class PatientRecords(memory_records._MemoryRecordsPy):  # type: ignore[misc]  # noqa: SLF001 - aiokafka's plain reader
    """Reads a partition's fetch in Python, whatever its header names are made of, from the batch with `offset` on."""

    def __init__(self, data: bytes, offset: int) -> None:
        super().__init__(data)
        self._ahead = self._read()
        while self._ahead is not None and self._ahead.next_offset <= offset:
            self._ahead = self._read()

    def has_next(self) -> bool:
        """Tell whether there is another batch."""
        return self._ahead is not None

    def next_batch(self) -> Any:
        """Return the next batch, None at the end."""
        batch, self._ahead = self._ahead, self._read()
        return batch

    def _read(self) -> Any:
        data = self._next_slice
        if data is None or data[self.MAGIC_OFFSET] < WITH_HEADERS:
            return super().next_batch()
        self._cache_next()
        return PatientBatch(data)


class PatientBatch(default_records._DefaultRecordBatchPy):  # type: ignore[misc]  # noqa: SLF001 - as above
    """One batch of message format 2 (https://kafka.apache.org/documentation/#record)."""

    _pos: int

    def _read_msg(self) -> Any:
        length, start = decode_varint(self._buffer, self._pos)
        _, at = decode_varint(self._buffer, start)  # attributes: none are in use
        since, at = decode_varint(self._buffer, at)
        offset, at = decode_varint(self._buffer, at)
        key, at = self._bytes(at)
        value, at = self._bytes(at)
        count, at = decode_varint(self._buffer, at)
        headers = []
        for _ in range(count):
            name, at = self._bytes(at)
            found, at = self._bytes(at)
            headers.append(((name or b"").decode("utf-8", "backslashreplace"), found))
        if at != start + length:
            raise ValueError(f"a record of {length} bytes holds {at - start}")
        self._pos = at
        appended = self.timestamp_type == self.LOG_APPEND_TIME
        time = self.max_timestamp if appended else self.first_timestamp + since
        return default_records._DefaultRecordPy(  # noqa: SLF001 - as above
            self.base_offset + offset, time, self.timestamp_type, key, value, headers
        )

    def _bytes(self, at: int) -> tuple[bytes | None, int]:
        length, at = decode_varint(self._buffer, at)
        return (None, at) if length < 0 else (bytes(self._buffer[at : at + length]), at + length)
