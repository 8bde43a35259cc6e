"""Every internal of faust-streaming, mode and aiokafka that the worker relies on: an upgrade cannot hide."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.protocol.api import RequestStruct
from aiokafka.record import default_records, memory_records
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from faust.app.base import App
from faust.stores.base import Store
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.transport import conductor, consumer, drivers
from faust.transport.drivers import aiokafka as driver
from mode import Service


def test_the_versions_are_those_the_internals_were_read_in() -> None:
    """Whoever upgrades reads these modules again, then changes this line."""
    assert (version("faust-streaming"), version("mode-streaming"), version("aiokafka")) == ("0.15.3", "0.7.1", "0.14.0")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        # streams/transport.py
        (driver.Consumer, "_new_consumer_thread"),
        (driver.Consumer, "RebalanceListener"),
        (driver.ConsumerRebalanceListener, "on_partitions_assigned"),
        (driver.AIOKafkaConsumerThread, "__post_init__"),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
        (driver.AIOKafkaConsumerThread, "_ensure_consumer"),
        (driver.AIOKafkaConsumerThread, "on_start"),
        (consumer.ConsumerThread, "on_partitions_revoked"),
        (consumer.Consumer, "_drain_messages"),
        (consumer.Consumer, "_commit"),
        (consumer.Consumer, "perform_seek"),
        (consumer.Consumer, "verify_event_path"),
        (consumer.Consumer, "resume_flow"),
        (consumer.Consumer, "flow_active"),
        (consumer.ThreadDelegateConsumer, "_thread"),
        (drivers, "TRANSPORTS"),
        (drivers.TRANSPORTS, "aliases"),
        (GroupCoordinator, "_do_heartbeat"),
        (GroupCoordinator, "_send_req"),
        (GroupCoordinator, "_maybe_leave_group"),
        (driver.AIOKafkaConsumerThread, "on_thread_stop"),
        (GroupCoordinator, "request_rejoin"),
        (fetcher, "MemoryRecords"),
        (fetcher.PartitionRecords, "_unpack_records"),
        # connectors/offsets.py
        (GroupCoordinator, "ensure_coordinator_known"),
        (GroupCoordinator, "coordinator_dead"),
        # streams/headernames.py
        (memory_records._MemoryRecordsPy, "_cache_next"),
        (default_records._DefaultRecordBatchPy, "_read_msg"),
        (default_records, "_DefaultRecordPy"),
        # streams/tables.py
        (TableManager, "on_start"),
        (TableManager, "_update_channels"),
        (TableManager, "recovery"),
        (TableManager, "on_actives_ready"),
        (TableManager, "on_standbys_ready"),
        (Collection, "_new_store"),
        (Collection, "changelog_topic"),
        (Store, "reset_state"),
        (App, "on_rebalance_end"),
        (App, "_fetcher"),
        (App, "flow_control"),
        # streams/transactions.py
        (AIOKafkaProducer, "create_batch"),
        (AIOKafkaProducer, "send_batch"),
        (MessageAccumulator, "add_batch"),
        # streams/producer.py, streams/wire.py
        (AIOKafkaClient, "_wait_on_metadata"),
        (AIOKafkaClient, "coordinator_lookup"),
        (AIOKafkaClient, "force_metadata_update"),
        (ConnectionGroup, "COORDINATION"),
        (CoordinationType, "TRANSACTION"),
        (RequestStruct, "parse_response_header"),
        # streams/preflight.py
        (AIOKafkaClient, "get_random_node"),
        # streams/worker.py
        (Service, "crash_reason"),
        (Service, "should_stop"),
    ],
)
def test_an_internal_is_there(owner: Any, name: str) -> None:
    """It exists under this name."""
    assert hasattr(owner, name) or name in getattr(owner, "__annotations__", {})


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (consumer.Consumer._drain_messages, ["self", "fetcher"]),
        (TableManager.on_rebalance, ["self", "assigned", "revoked", "newly_assigned", "generation_id"]),
        (AIOKafkaProducer.send_batch, ["self", "batch", "topic", "partition"]),
        (BatchBuilder.append, ["self", "timestamp", "key", "value", "headers"]),
        (AIOKafkaConsumer.getmany, ["self", "partitions", "timeout_ms", "max_records"]),
        (driver.AIOKafkaConsumerThread._create_worker_consumer, ["self", "transport"]),
        (fetcher.PartitionRecords._consumer_record, ["self", "tp", "record"]),
    ],
)
def test_an_internal_takes_what_it_took(function: Any, parameters: list[str]) -> None:
    """Its parameters are the same."""
    assert list(inspect.signature(function).parameters) == parameters


@pytest.mark.parametrize(
    ("function", "words"),
    [
        # A rebalance hands our recovery the assignment, and awaits our signal before the group is rejoined.
        (App._on_partitions_assigned, ["self.tables.on_rebalance"]),
        (App._on_partitions_revoked, ["on_partitions_revoked.send", "consumer.stop_flow", "flow_control.clear"]),
        (TableManager.on_rebalance, ["self.recovery.on_rebalance", "self._update_channels"]),
        (TableManager.wait_until_recovery_completed, ["self.recovery.completed"]),
        # A partition that is gone makes the conductor raise KeyError, which drops the batch.
        (conductor.Conductor._compile_message_handler, ["self._tp_to_callback.__getitem__"]),
        # Topics without acks collect no offsets to commit.
        (conductor.Conductor._update_indices, ["channel.acks"]),
        # A committed offset is always asked for, never cached: ours is asked for in the same way.
        (AIOKafkaConsumer.committed, ["self._coordinator.fetch_committed_offsets"]),
        # A heartbeat answered with a rebalance counts as good, so the wish to rejoin is asked for beside it.
        (GroupCoordinator._do_heartbeat, ["RebalanceInProgressError", "self.request_rejoin()", "return True"]),
        (GroupCoordinator.request_rejoin, ["_rejoin_needed_fut"]),
        # What a fetch holds is made by the class of this name, which the transport replaces.
        (fetcher.Fetcher._proc_fetch_request, ["PartitionRecords("]),
        # How much a fetch waits for, and how long, is asked anew for each.
        (fetcher.Fetcher._get_actions_per_node, ["self._fetch_max_wait_ms", "self._fetch_min_bytes"]),
        # A request prepares itself for what the broker speaks, and reads the header of its own answer.
        (AIOKafkaConnection.send, ["request.prepare(self._versions)", "build_request_header("]),
        (AIOKafkaConnection._handle_frame, ["request.parse_response_header(", "request.RESPONSE_TYPE"]),
    ],
)
def test_an_internal_does_what_it_did(function: Any, words: list[str]) -> None:
    """Its source still holds what we build on."""
    source = inspect.getsource(function)
    assert [word for word in words if word not in source] == []


def test_a_first_record_fits_a_batch_whatever_its_size() -> None:
    """A record larger than a batch goes alone, rather than nowhere."""
    plain = BatchBuilder(1000, 0, is_transactional=True, key_serializer=None, value_serializer=None)
    assert plain.append(key=None, value=b"x" * 5000, timestamp=None) is not None
    assert plain.append(key=None, value=b"x", timestamp=None) is None
    ours = DefaultRecordBatchBuilder(2, 0, 1, producer_id=1, producer_epoch=1, base_sequence=0, batch_size=1000)
    assert ours.append(0, 1, None, b"x" * 5000, []) is not None
    assert ours.append(1, 1, None, b"x", []) is None
