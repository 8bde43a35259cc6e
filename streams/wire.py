"""Requests of Kafka's protocol that aiokafka 0.14 lacks: transactions that partitions join by being written to.

With `transaction.version` 2 (KIP-890; what clusters made by Apache Kafka 4 have) a produce request and an offset commit
join the transaction themselves, and ending it returns the producer's next epoch. Layouts: Kafka's own message formats,
https://kafka.apache.org/protocol.html, in the versions named here.
"""

from __future__ import annotations

import io
from typing import Any

from aiokafka.protocol.api import RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

FEATURE = "transaction.version"
JOINED_BY_WRITING = 2
# The tag of an ApiVersions response under which it names the features that the whole cluster has agreed on.
_FINALIZED = 2
_TEXT, _TAGS = CompactString("utf-8"), ("tags", TaggedFields)
NO_TAGS: dict[int, bytes] = {}


class ProduceResponse(Response):  # type: ignore[misc]  # aiokafka is untyped
    """Answers `Produce`."""

    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("offset", Int64),
                        ("timestamp", Int64),
                        ("log_start_offset", Int64),
                        ("record_errors", CompactArray(("index", Int32), ("message", _TEXT), _TAGS)),
                        ("error_message", _TEXT),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class Produce(RequestStruct):  # type: ignore[misc]  # as above
    """Writes one batch to each of some partitions, which join the transaction by that."""

    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponse
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("required_acks", Int16),
        ("timeout", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                ("partitions", CompactArray(("partition", Int32), ("records", CompactBytes), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class TxnOffsetCommitResponse(Response):  # type: ignore[misc]  # as above
    """Answers `TxnOffsetCommit`."""

    API_KEY = 28
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class TxnOffsetCommit(RequestStruct):  # type: ignore[misc]  # as above
    """Commits offsets of a group, whose log joins the transaction by that."""

    API_KEY = 28
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponse
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", _TEXT), _TAGS
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class EndTxnResponse(Response):  # type: ignore[misc]  # as above
    """Answers `EndTxn`."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        _TAGS,
    )


class EndTxn(RequestStruct):  # type: ignore[misc]  # as above
    """Commits or aborts; the answer says with which epoch to go on."""

    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponse
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        _TAGS,
    )


class ApiVersionsResponse(Response):  # type: ignore[misc]  # as above
    """Answers `ApiVersions`."""

    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_versions", CompactArray(("api_key", Int16), ("min_version", Int16), ("max_version", Int16), _TAGS)),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class ApiVersions(RequestStruct):  # type: ignore[misc]  # as above
    """Asks what a broker speaks, and what the cluster has agreed on."""

    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ApiVersionsResponse
    SCHEMA = Schema(("software_name", _TEXT), ("software_version", _TEXT), _TAGS)

    def parse_response_header(self, read_buffer: Any) -> Any:
        """Read the header that even this version's answer has: a client must be able to read it whatever it speaks."""
        return ResponseHeader_v0.decode(read_buffer)


class Exactly:
    """A request in this very version: aiokafka's client asks a request to prepare itself for what the broker speaks."""

    __slots__ = ("_request",)

    def __init__(self, request: Any) -> None:
        self._request = request

    def prepare(self, _versions: Any) -> Any:
        """Return it as it is."""
        return self._request


_FEATURES = CompactArray(("name", _TEXT), ("max_level", Int16), ("min_level", Int16), _TAGS)


def agreed(response: Any, feature: str) -> int:
    """Return the level of a feature that the cluster has agreed on, 0 when it is not among them."""
    encoded = response.tags.get(_FINALIZED)
    features = _FEATURES.decode(io.BytesIO(encoded)) if encoded else []
    return next((level for name, level, *_ in features or [] if name == feature), 0)
