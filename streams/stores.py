"""The local copy of one partition's profiles in RocksDB, with the changelog offset it includes.

It only ever holds what was committed: states, timers and the offset behind them are written together, after their
transaction. So after a crash or a doubt it is a true prefix of the changelog, and recovery reads on from its offset.
There is no write-ahead log: what a crash takes are the newest writes, which the changelog has.

The folder is a copy and nothing else: one that is damaged, too old, of another format or of another changelog is
deleted and built anew, and the log says so in one line. Errors:

    StoreError
    ├── ChangelogShorter   the changelog lacks what the store has: a person must act
    ├── StoreBusy          another process has the folder open: to be tried again
    ├── StoreDamaged       what is read is not what was written: to be closed, which deletes it, and opened again
    └── StoreFailed        the disk is full or the like: to be closed, and tried again
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Protocol

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from streams import logs, topics
from streams.engine.store import META_KEY, wake_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from aiokafka.structs import TopicPartition

    from streams.engine.partition import Output
    from streams.engine.store import Timer

# Raised whenever what stands below is kept differently; an older store is built anew.
FORMAT = b"2"
# Keys of the store's own, before all profiles; a state stands behind its alarm. Timers are (due, profile) in a column
# family of their own, so that they are found in order and their coming and going does not move states about.
_FORMAT, _TOPIC, _PROGRESS = b"\x00format", b"\x00topic", b"\x00progress"
_OWN = 4
_PROFILES = b"\x01"
_TIMERS = "timers"
_ALARM = 8
_NEVER = (1 << 63) - 1
# Messages of RocksDB that another process has the folder, and that it is damaged; others are about the machine.
_BUSY = re.compile(r"while lock file|lock hold by", re.IGNORECASE)
_DAMAGED = re.compile(r"corruption|invalid argument|not implemented|notfound|io error: no such file", re.IGNORECASE)

log = logs.get("store")


class StoreError(Exception):
    """Base of what a store raises."""


class ChangelogShorter(StoreError):
    """The local store includes more than the changelog holds: records were lost, or it is another cluster's."""

    def __init__(self, changelog: TopicPartition, stored: int, end: int) -> None:
        super().__init__(
            f"the local store includes {changelog.topic}-{changelog.partition} up to {stored}, which ends at {end}: "
            "the topic lost records or is another cluster's; find out, then delete the store's folder"
        )


class StoreBusy(StoreError):
    """Another process has this folder open."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"another process has {path} open: give each worker a POLKU_DATA_DIR of its own")


class StoreDamaged(StoreError):
    """What the store holds cannot be read."""


class StoreFailed(StoreError):
    """The store cannot be read or written now."""


class PartitionStore(Protocol):
    """States and timers of a partition, and the changelog offset up to which they are complete (0: nothing yet)."""

    offset: int
    meta: bytes | None
    failed: bool  # it has raised StoreDamaged or StoreFailed, and is of no use until closed and opened again

    def load(self, profile: str) -> tuple[bytes, int] | None:
        """Return a profile's encoded state and its alarm (ms; 0: none)."""

    def due(self, after: Timer | None, until: int, limit: int) -> list[Timer]:
        """Return the first `limit` timers behind `after` (None: all) that are due by `until` (ms), in order."""

    def scan(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Return the first `limit` profiles behind `after` with their states, in order of the names' bytes."""

    def write(self, output: Output, offset: int) -> None:
        """Keep what an output changes, and the offset it includes, as one."""

    def ingest(self, records: Iterable[tuple[bytes, bytes | None]], offset: int, *, bulk: bool = False) -> None:
        """Keep records of the changelog, a later one of the same key last, and the offset they include, as one.

        With `bulk`, timers that they replace may be left until they are due: for a store that was empty.
        """

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over all profiles."""

    def size(self) -> tuple[int, int]:
        """Return the number of profiles and the bytes of their states, roughly."""

    def close(self) -> None:
        """Let go."""


class Resources:
    """What all stores of a worker share, so that their memory is bounded however many there are."""

    def __init__(self, block_cache: int = 32 << 20, write_buffers: int = 64 << 20) -> None:
        """Sizes are in bytes; write buffers are also what a crash may take, to be read again from the changelog."""
        self._cache = Cache(block_cache)
        self._buffers = WriteBufferManager(write_buffers, allow_stall=False)

    def options(self, *, filters: bool) -> Options:
        """Return the options of a column family; `filters` for point reads."""
        table = BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
        if filters:
            table.set_bloom_filter(10, False)
        options = Options(raw_mode=True)
        options.create_missing_column_families(True)
        options.set_block_based_table_factory(table)
        options.set_compression_type(DBCompressionType.none())
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(16 << 20)
        options.set_atomic_flush(True)  # without a log, this is what keeps column families together
        options.set_max_open_files(256)
        options.set_keep_log_file_num(1)
        options.set_max_log_file_size(1 << 20)
        options.set_stats_dump_period_sec(0)
        return options


class RocksStore:
    """States and timers in RocksDB. `topic_id` tells a changelog from one of the same name made later."""

    def __init__(self, path: Path, topic_id: str, resources: Resources | None = None) -> None:
        """Open or make the store; one that cannot be used is made anew. Raises StoreBusy and StoreFailed."""
        self._path, self._resources = path, resources or Resources()
        self._unlogged = WriteOptions()
        setattr(self._unlogged, "disable_wal", True)  # noqa: B010 - a property, which its stub takes for a method
        new = not path.exists() or not any(path.iterdir())
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
            if not new:
                self._damage = self._unusable(topic_id)
        except StoreDamaged:
            pass
        if self._damage:
            self.close()
            self._open()
            new = True
        if new:
            batch = WriteBatch(raw_mode=True)
            batch.put(_FORMAT, FORMAT)
            batch.put(_TOPIC, topic_id.encode())
            self._write(batch)
            self._db.flush()  # killed before its first flush, it is still a good store, of nothing
        progress = self._get(_PROGRESS)
        self.offset = int.from_bytes(progress[:8], "big") if progress else 0
        self.meta: bytes | None = self._get(META_KEY)

    def _open(self) -> None:
        self._db: Any = None
        self._damage = ""
        self.failed = False
        self._floor = 0  # no timer in the store is due before
        options, shared = self._resources.options(filters=True), self._resources.options(filters=False)
        try:
            self._db = Rdict(str(self._path), options, column_families={_TIMERS: shared})
            self._timers = self._db.get_column_family(_TIMERS)
            self._handle = self._db.get_column_family_handle(_TIMERS)
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> StoreError:
        """Note and return what an error of RocksDB means; its messages are all it tells."""
        text = str(error)
        if _BUSY.search(text):
            return StoreBusy(self._path)
        self.failed = True
        if _DAMAGED.match(text):
            self._damage = text
            return StoreDamaged(f"{self._path}: {text}")
        return StoreFailed(f"{self._path}: {text}")

    def _unusable(self, topic_id: str) -> str:
        """Say why the store cannot be used; nothing if it can."""
        if (found := self._get(_FORMAT)) != FORMAT:
            return f"its format is {found.decode(errors='replace') if found else 'not known'}, not {FORMAT.decode()}"
        if self._get(_TOPIC) != topic_id.encode():
            return "it is a copy of another topic"
        progress = self._get(_PROGRESS)
        # Older than half of delete.retention.ms, it may have missed a tombstone that is gone by now.
        if progress and _now() - int.from_bytes(progress[8:], "big") >= topics.DELETE_RETENTION // 2:
            return "it was last written too long ago"
        return ""

    def _get(self, key: bytes | list[bytes]) -> Any:
        try:
            return self._db.get(key)
        except Exception as error:
            raise self._translated(error) from error

    def load(self, profile: str) -> tuple[bytes, int] | None:
        """Return a profile's encoded state and its alarm."""
        stored = self._get(profile.encode())
        return None if stored is None else (stored[_ALARM:], int.from_bytes(stored[:_ALARM], "big"))

    def due(self, after: Timer | None, until: int, limit: int) -> list[Timer]:
        """Return the first `limit` timers behind `after` that are due by `until`, in order."""
        if after is None and until < self._floor:
            return []
        found: list[Timer] = []
        try:
            iterator = self._timers.iter(ReadOptions())
            # What was deleted before the floor is not skipped over again and again.
            iterator.seek(self._floor.to_bytes(8, "big") if after is None else _timer_key(after) + b"\x00")
            beyond = (until + 1).to_bytes(8, "big")
            while len(found) < limit and iterator.valid() and (key := iterator.key()) < beyond:
                found.append((int.from_bytes(key[:8], "big"), key[8:].decode()))
                iterator.next()
            if after is None and not found:
                self._floor = int.from_bytes(iterator.key()[:8], "big") if iterator.valid() else _NEVER
            iterator.status()
        except Exception as error:
            raise self._translated(error) from error
        if after is None and found:
            self._floor = found[0][0]
        return found

    def scan(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Return the first `limit` profiles behind `after` with their states, in order."""
        found: list[tuple[str, bytes]] = []
        try:
            iterator = self._db.iter(ReadOptions())
            iterator.seek(after.encode() + b"\x00" if after else _PROFILES)
            while len(found) < limit and iterator.valid():
                found.append((iterator.key().decode(), iterator.value()[_ALARM:]))
                iterator.next()
            iterator.status()
        except Exception as error:
            raise self._translated(error) from error
        return found

    def write(self, output: Output, offset: int) -> None:
        """Keep what an output changes, and the offset it includes, in one write batch."""
        batch, alarms, floor = WriteBatch(raw_mode=True), output.alarms, self._floor
        for profile, state in output.states.items():
            batch.put(profile.encode(), alarms[profile].to_bytes(_ALARM, "big") + state)
        for timer, stands in output.timers.items():
            if stands:
                floor = min(floor, timer[0])
                batch.put(_timer_key(timer), b"", self._handle)
            else:
                batch.delete(_timer_key(timer), self._handle)
        if output.meta is not None:
            batch.put(META_KEY, output.meta)
            self.meta = output.meta
        self._floor = floor
        self._finish(batch, offset)

    def ingest(self, records: Iterable[tuple[bytes, bytes | None]], offset: int, *, bulk: bool = False) -> None:
        """Keep records of the changelog in one write batch, the newest of each key.

        To look for the timers that they replace takes 3 us a record, as much as the rest; in bulk, they are left.
        """
        newest = dict(records)
        if META_KEY in newest:
            self.meta = newest.pop(META_KEY)
        batch = WriteBatch(raw_mode=True)
        if self.meta is not None:
            batch.put(META_KEY, self.meta)
        if not bulk:
            for key, alarm in self._alarms(list(newest)):
                batch.delete(alarm + key, self._handle)
        for key, state in newest.items():
            if state is None:
                batch.delete(key)
                continue
            wake = wake_of(state)
            alarm = wake.to_bytes(_ALARM, "big")
            batch.put(key, alarm + state)
            if wake:
                batch.put(alarm + key, b"", self._handle)
        self._floor = 0
        self._finish(batch, offset)

    def _alarms(self, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        known = self._get(keys)
        return ((key, stored[:_ALARM]) for key, stored in zip(keys, known, strict=True) if stored is not None)

    def _finish(self, batch: WriteBatch, offset: int) -> None:
        batch.put(_PROGRESS, offset.to_bytes(8, "big") + _now().to_bytes(8, "big"))
        self._write(batch)
        self.offset = offset

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch, self._unlogged)
        except Exception as error:
            raise self._translated(error) from error

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over all profiles."""
        stored: Any = self._db.items(from_key=_PROFILES)  # bytes, in raw mode
        return ((key.decode(), value[_ALARM:]) for key, value in stored)

    def size(self) -> tuple[int, int]:
        """Return RocksDB's own estimates."""
        ask = self._db.property_int_value if self._db is not None else lambda _: 0
        keys = ask("rocksdb.estimate-num-keys") or 0
        live = ask("rocksdb.estimate-live-data-size") or 0
        unflushed = ask("rocksdb.cur-size-all-mem-tables") or 0
        return max(0, keys - _OWN), live + unflushed

    def close(self) -> None:
        """Write out what is in memory and close the database, so that another may open it; delete a damaged one.

        What cannot be written out, the changelog has.
        """
        if self._db is not None:
            # A close that cannot write out leaves the folder locked until nothing refers to the database, nor to the
            # handle: no local variable, which the traceback of an error would keep.
            for part in (self._timers, self._db):
                with contextlib.suppress(Exception):
                    part.close()
            self._db = self._timers = self._handle = part = None
        if self._damage:
            log.warning("a local store is built anew from the changelog", path=str(self._path), reason=self._damage)
            shutil.rmtree(self._path, ignore_errors=True)
            self._damage = ""


def _timer_key(timer: Timer) -> bytes:
    return timer[0].to_bytes(8, "big") + timer[1].encode()


def _now() -> int:
    return int(time.time() * 1000)
