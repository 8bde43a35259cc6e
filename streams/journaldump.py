"""Topics in files: JSON Lines of partition, offset, key and value, so that a journal can be computed again anywhere."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from schemas import codec
from schemas.errors import CodecError
from schemas.journal import Entry, decode

if TYPE_CHECKING:
    from pathlib import Path

    from streams.records import Record

Journal = dict[int, list[tuple[int, Entry]]]


class DumpError(ValueError):
    """A line of a dump cannot be read; says which."""


class Row(msgspec.Struct, kw_only=True):
    """One line: `value` is base64 (None: a tombstone), `time` ms; `decoded` is for readers, and never read back."""

    partition: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    offset: Annotated[int, msgspec.Meta(ge=0)]
    time: int = 0
    key: str | None = None
    value: str | None
    decoded: Any = None


_decode_row = msgspec.json.Decoder(Row).decode


def _entry(value: bytes) -> dict[str, Any]:
    entry = decode(value)
    return {"entry": type(entry).__name__, **msgspec.structs.asdict(entry)}


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "touchpoints": codec.decode_touchpoint,
    "outcomes": codec.decode_outcome,
    "journal": _entry,
    "decisions": codec.decode_decision,
    "actions.withdrawn": codec.decode_withdrawal,
    "suppressions": codec.decode_suppression,
    "identities": codec.decode_identity,
    "control": codec.decode_control,
    "definitions": msgspec.json.decode,
}


def decoder(topic: str) -> Callable[[bytes], Any] | None:
    """What reads the values of the topic called `topic` in the documentation; None: they are bytes only."""
    if topic.startswith("actions.") and topic not in {"actions.withdrawn", "actions.dlq"}:
        return codec.decode_action
    return _DECODERS.get(topic)


def line(record: Record, read: Callable[[bytes], Any] | None = None) -> bytes:
    """The line of one record; `read` decodes its value, for people."""
    decoded = None
    if read is not None and record.value is not None:
        try:
            decoded = read(record.value)
        except (CodecError, msgspec.MsgspecError):
            decoded = None
    row = Row(
        partition=record.partition,
        offset=record.offset,
        time=record.timestamp,
        key=record.key.decode(errors="replace") if record.key is not None else None,
        value=base64.b64encode(record.value).decode() if record.value is not None else None,
        decoded=decoded,
    )
    return msgspec.json.encode(row) + b"\n"


def entries(records: Iterable[Record]) -> Journal:
    """The entries of journal records, by partition."""
    journal: Journal = {}
    for record in records:
        if record.value is not None:
            journal.setdefault(record.partition, []).append((record.offset, decode(record.value)))
    return journal


def load(path: Path) -> Journal:
    """The entries of a dump. Raises DumpError with the line's number."""
    journal: Journal = {}
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = _decode_row(text)
                entry = decode(base64.b64decode(row.value, validate=True)) if row.value is not None else None
            except (msgspec.MsgspecError, ValueError) as error:
                raise DumpError(f"{path}:{number}: not a line of a journal dump: {error}") from None
            if entry is None:
                continue
            journal.setdefault(row.partition, []).append((row.offset, entry))
    for partition in journal.values():
        partition.sort(key=lambda item: item[0])
    return journal
