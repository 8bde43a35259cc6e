"""The local copy of one partition's profiles: in memory, or in RocksDB, with the changelog offset it includes.

It only ever holds what was committed: a batch of states and the offset behind them are written together, after their
transaction. So after a crash or a doubt it is a true prefix of the changelog, and recovery reads on from its offset.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any, Protocol

from rocksdict import Options, Rdict, WriteBatch

from streams import topics
from streams.engine.partition import META_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_OFFSET, _TOPIC, _WRITTEN = b"\x00offset", b"\x00topic", b"\x00written"


class StoreBusy(Exception):
    """Another process has this folder open."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"another process has {path} open: give each worker a POLKU_DATA_DIR of its own")


class PartitionStore(Protocol):
    """States by profile, and the changelog offset up to which they are complete (0: nothing yet)."""

    offset: int
    meta: bytes | None

    def get(self, profile: str) -> bytes | None:
        """Return a profile's encoded state."""

    def write(self, states: Mapping[str, bytes | None], meta: bytes | None, offset: int) -> None:
        """Keep states (None: gone), the partition's own state if it changed, and the offset they include, as one."""

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over all profiles."""

    def size(self) -> tuple[int, int]:
        """Return the number of profiles and the bytes of their states, roughly."""

    def close(self) -> None:
        """Let go."""


class MemoryStore:
    """States in a dict."""

    def __init__(self) -> None:
        self.offset = 0
        self.meta: bytes | None = None
        self._states: dict[str, bytes] = {}
        self._bytes = 0
        self.get = self._states.get

    def write(self, states: Mapping[str, bytes | None], meta: bytes | None, offset: int) -> None:
        """Keep states and the offset they include."""
        kept = self._states
        for profile, state in states.items():
            self._bytes += len(state or b"") - len(kept.get(profile, b""))
            if state is None:
                kept.pop(profile, None)
            else:
                kept[profile] = state
        if meta is not None:
            self.meta = meta
        self.offset = offset

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over all profiles."""
        return iter(list(self._states.items()))

    def size(self) -> tuple[int, int]:
        """Return the number of profiles and the bytes of their states."""
        return len(self._states), self._bytes

    def close(self) -> None:
        """Forget."""


class RocksStore:
    """States in RocksDB. `topic_id` tells a changelog from one of the same name made later."""

    def __init__(self, path: Path, topic_id: str) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._open()
        if not self._usable(topic_id):
            self._db.close()
            shutil.rmtree(path)
            self._db = self._open()
            self._db[_TOPIC] = topic_id.encode()
        stored = self._db.get(_OFFSET)
        self.offset = int.from_bytes(stored, "big") if stored else 0
        self.meta: bytes | None = self._db.get(META_KEY)

    def _open(self) -> Rdict:
        try:
            return Rdict(str(self._path), Options(raw_mode=True))
        except Exception as error:
            if "lock" in str(error).lower():
                raise StoreBusy(self._path) from error
            raise

    def _usable(self, topic_id: str) -> bool:
        # Older than half of delete.retention.ms, it may have missed a tombstone that is gone by now.
        written = self._db.get(_WRITTEN)
        if self._db.get(_TOPIC) != topic_id.encode():
            return False
        return written is None or _now() - int.from_bytes(written, "big") < topics.DELETE_RETENTION // 2

    def get(self, profile: str) -> bytes | None:
        """Return a profile's encoded state."""
        state: bytes | None = self._db.get(profile.encode())
        return state

    def write(self, states: Mapping[str, bytes | None], meta: bytes | None, offset: int) -> None:
        """Keep states and the offset they include, in one write batch."""
        batch = WriteBatch(raw_mode=True)
        for profile, state in states.items():
            if state is None:
                batch.delete(profile.encode())
            else:
                batch.put(profile.encode(), state)
        if meta is not None:
            batch.put(META_KEY, meta)
            self.meta = meta
        batch.put(_OFFSET, offset.to_bytes(8, "big"))
        batch.put(_WRITTEN, _now().to_bytes(8, "big"))
        self._db.write(batch)
        self.offset = offset

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over all profiles."""
        stored: Any = self._db.items()  # bytes, in raw mode
        for key, state in stored:
            if not key.startswith(b"\x00"):
                yield key.decode(), state

    def size(self) -> tuple[int, int]:
        """Return RocksDB's own estimates."""
        keys = self._db.property_int_value("rocksdb.estimate-num-keys") or 0
        live = self._db.property_int_value("rocksdb.estimate-live-data-size") or 0
        unflushed = self._db.property_int_value("rocksdb.cur-size-all-mem-tables") or 0
        return max(0, keys - 5), live + unflushed

    def close(self) -> None:
        """Close the database, so that another process may open it."""
        self._db.close()


def _now() -> int:
    return int(time.time() * 1000)
