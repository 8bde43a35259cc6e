"""Bytes to records and back: Avro single-object encoding, Confluent framing and JSON.

Reading tells the encoding by the first byte: 0x00 Confluent framing (four bytes of schema id follow; the id or GUID may
stand in the header `__value_schema_id` instead, which then counts for the whole value), 0xC3 0x01 single-object
encoding (eight bytes of CRC-64-AVRO fingerprint follow), `{` JSON, also after white space or a byte order mark. The
JSON form has the same field names, and may stand in a Confluent frame whose schema is a JSON Schema; `occurred_at` may
be ISO 8601 text with a zone.

What its bytes condemn raises InvalidRecord: a dead letter. A schema that is not known now raises SchemaUnavailable:
wait. Writing gives single-object encoding, or Confluent framing where a schema id is given.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from schemas import avrofast, avroforeign, avroschema, avrowrite, framing, plain, validate
from schemas.action import Action, Identity, Link, Suppression, Withdrawal
from schemas.avrofast import Bounds
from schemas.control import Control
from schemas.decision import Decision
from schemas.errors import CodecError, InvalidRecord, Reason, SchemaUnavailable
from schemas.framing import SchemaSource
from schemas.identifiers import DEFAULT_KINDS
from schemas.outcome import Outcome
from schemas.touchpoint import MAX_BYTES, MAX_DEPTH, MAX_PROPERTIES, Touchpoint

__all__ = [
    "ActionDecoder",
    "CodecError",
    "DecisionDecoder",
    "InvalidRecord",
    "OutcomeDecoder",
    "Reason",
    "SchemaSource",
    "SchemaUnavailable",
    "TouchpointDecoder",
    "decode_action",
    "decode_control",
    "decode_decision",
    "decode_identity",
    "decode_outcome",
    "decode_suppression",
    "decode_touchpoint",
    "decode_withdrawal",
    "encode_action",
    "encode_action_json",
    "encode_decision",
    "encode_json",
    "encode_outcome",
    "encode_touchpoint_avro",
    "encode_touchpoint_json",
]

# A touchpoint's limits are the contract's. What Polku writes holds more: an action carries traits besides parameters.
TOUCHPOINT_BOUNDS = Bounds(MAX_PROPERTIES, MAX_DEPTH)
OUTPUT_BOUNDS = Bounds(10_000, 2 * MAX_DEPTH)
MAX_OUTPUT_BYTES = 4 * MAX_BYTES
MAX_READERS = 1000

_STRUCTS: dict[str, tuple[type, dict[str, type], Bounds]] = {
    "touchpoint": (Touchpoint, {"Touchpoint": Touchpoint}, TOUCHPOINT_BOUNDS),
    "action": (Action, {"Action": Action, "Link": Link}, OUTPUT_BOUNDS),
    "decision": (Decision, {"Decision": Decision}, OUTPUT_BOUNDS),
    "outcome": (Outcome, {"Outcome": Outcome}, OUTPUT_BOUNDS),
}
_SCHEMAS = {kind: avroschema.load(kind) for kind in avroschema.KINDS}
_FINGERPRINTS = {kind: avroschema.fingerprint(schema) for kind, schema in _SCHEMAS.items()}
_PREFIXES = {kind: avroschema.SINGLE_OBJECT + found for kind, found in _FINGERPRINTS.items()}
_FAST = {kind: avrofast.decoder(_SCHEMAS[kind], structs, bounds) for kind, (_, structs, bounds) in _STRUCTS.items()}
_ENCODE = {kind: avrowrite.encoder(_SCHEMAS[kind], bounds) for kind, (_, _, bounds) in _STRUCTS.items()}

R = TypeVar("R")

# How to read what a schema wrote; None: it is ours, by the generated decoder.
_Reader = avroforeign.ForeignReader | InvalidRecord | framing.JsonText | None


class _Decoder(Generic[R]):
    """Reads one kind of record in any encoding. `source` holds the schemas of a registry; None: there is none.

    Not for several threads at once. Writer schemas are looked up once and kept.
    """

    kind = ""
    max_bytes = MAX_OUTPUT_BYTES

    def __init__(self, source: SchemaSource | None = None) -> None:
        self._source = source
        self._fast = _FAST[self.kind]
        self._prefix = _PREFIXES[self.kind]
        self._ids: dict[bytes, str] = {}
        self._ours: dict[int | str, _Reader] = {
            f"crc64:{avroschema.fingerprint(schema).hex()}": self._reader(schema)
            for schema in (*avroschema.published(self.kind), _SCHEMAS[self.kind])
        }
        self._looked_up: dict[int | str, _Reader] = {}

    def decode(self, value: bytes | None, headers: framing.Headers = ()) -> R:
        """The record. Raises InvalidRecord (a dead letter) or SchemaUnavailable (wait)."""
        if not value:
            raise InvalidRecord(
                Reason.EMPTY,
                "the value is null: nothing is deleted by tombstones here" if value is None else "the value is empty",
            )
        if len(value) > self.max_bytes:
            raise InvalidRecord(
                Reason.TOO_LARGE,
                f"must be at most {self.max_bytes} bytes; send a reference to large content",
                value=value,
            )
        if not headers and value.startswith(self._prefix):
            return self._fast(value, 10, self._ids)  # type: ignore[no-any-return]
        schema_id, begin = framing.frame(value, headers)
        reader = framing.JSON if schema_id is None else self._resolve(schema_id)
        if reader is framing.JSON:
            return self._check(plain.from_json(value, begin))
        if isinstance(reader, avroforeign.ForeignReader):
            return self._check(reader.read(value, begin))
        if isinstance(reader, InvalidRecord):
            raise InvalidRecord(reader.reason, reader.rule)
        return self._fast(value, begin, self._ids)  # type: ignore[no-any-return]

    __call__ = decode

    def _check(self, tree: Any) -> R:
        raise NotImplementedError

    def _reader(self, schema: Any) -> _Reader:
        """Its fingerprint tells our schema from others, its times' units not included: those are looked at first."""
        if framing.is_json_schema(schema):
            return framing.JSON
        try:
            reader = avroforeign.ForeignReader(schema, _SCHEMAS[self.kind])
            return None if avroschema.fingerprint(schema) == _FINGERPRINTS[self.kind] else reader
        except InvalidRecord as error:
            return error

    def _resolve(self, schema_id: int | str) -> _Reader:
        for known in (self._ours, self._looked_up):
            if schema_id in known:
                return known[schema_id]
        if self._source is None:
            raise InvalidRecord(
                Reason.SCHEMA,
                f"schema {schema_id} wrote this and is not one that we published; configure the schema registry that "
                "knows it and replay the dead letters, or send single-object encoding or JSON",
                value=schema_id,
            )
        reader: _Reader
        try:
            reader = self._reader(avroforeign.parse(self._source.get(schema_id)))
        except InvalidRecord as error:
            reader = error
        if len(self._looked_up) >= MAX_READERS:
            self._looked_up.clear()
        self._looked_up[schema_id] = reader
        return reader


class TouchpointDecoder(_Decoder[Touchpoint]):
    """Reads touchpoints. `kinds` are the declared kinds of identifiers, in order."""

    kind = "touchpoint"
    max_bytes = MAX_BYTES

    def __init__(self, source: SchemaSource | None = None, kinds: tuple[str, ...] = DEFAULT_KINDS) -> None:
        super().__init__(source)
        self._kinds = kinds
        self._ids = {kind.encode(): kind for kind in kinds}

    def _check(self, tree: Any) -> Touchpoint:
        return validate.touchpoint(tree, self._kinds)


class ActionDecoder(_Decoder[Action]):
    """Reads actions."""

    kind = "action"

    def _check(self, tree: Any) -> Action:
        if isinstance(tree, dict) and isinstance(tree.get("link"), dict):
            link = tree["link"]
            tree = {**tree, "link": [link.get("path"), link.get("position")]}
        action = plain.to_struct(tree, Action)
        for field, found in (("params", action.params), ("traits", action.traits)):
            validate.values(found, OUTPUT_BOUNDS.values, OUTPUT_BOUNDS.depth, field)
        return action


class DecisionDecoder(_Decoder[Decision]):
    """Reads decisions."""

    kind = "decision"

    def _check(self, tree: Any) -> Decision:
        return plain.to_struct(tree, Decision)


class OutcomeDecoder(_Decoder[Outcome]):
    """Reads outcomes, which come from outside: their rules are checked."""

    kind = "outcome"
    max_bytes = MAX_BYTES

    def _check(self, tree: Any) -> Outcome:
        return plain.to_struct(tree, Outcome)

    def decode(self, value: bytes | None, headers: framing.Headers = ()) -> Outcome:
        """The outcome. Raises InvalidRecord (a dead letter) or SchemaUnavailable (wait)."""
        return validate.outcome(super().decode(value, headers))

    __call__ = decode


decode_touchpoint = TouchpointDecoder().decode
decode_action = ActionDecoder().decode
decode_decision = DecisionDecoder().decode
decode_outcome = OutcomeDecoder().decode


def _prefix(kind: str, schema_id: int | None) -> bytes:
    return _PREFIXES[kind] if schema_id is None else b"\x00" + schema_id.to_bytes(4, "big")


def encode_touchpoint_avro(touchpoint: Touchpoint, schema_id: int | None = None) -> bytes:
    """A touchpoint in single-object encoding, or framed with a registry's schema id."""
    return _ENCODE["touchpoint"](touchpoint, _prefix("touchpoint", schema_id))


def encode_action(action: Action, schema_id: int | None = None) -> bytes:
    """An action in single-object encoding, or framed with a registry's schema id."""
    return _ENCODE["action"](action, _prefix("action", schema_id))


def encode_decision(decision: Decision, schema_id: int | None = None) -> bytes:
    """A decision in single-object encoding, or framed with a registry's schema id."""
    return _ENCODE["decision"](decision, _prefix("decision", schema_id))


def encode_outcome(outcome: Outcome, schema_id: int | None = None) -> bytes:
    """An outcome in single-object encoding, or framed with a registry's schema id."""
    return _ENCODE["outcome"](outcome, _prefix("outcome", schema_id))


encode_json = msgspec.json.Encoder().encode
encode_touchpoint_json = encode_json


def encode_action_json(action: Action) -> bytes:
    """An action as JSON with the field names of the published schema, its link an object."""
    tree = msgspec.structs.asdict(action)
    if action.link is not None:
        tree["link"] = msgspec.structs.asdict(action.link)
    return encode_json(tree)


def _json_decoder(kind: type[R]) -> Any:
    def decode(value: bytes | None) -> R:
        if not value:
            raise InvalidRecord(Reason.EMPTY, "the value is empty")
        return plain.to_struct(plain.from_json(value), kind)

    return decode


decode_withdrawal = _json_decoder(Withdrawal)
decode_control = _json_decoder(Control)
decode_suppression = _json_decoder(Suppression)
decode_identity = _json_decoder(Identity)
