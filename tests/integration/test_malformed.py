"""Whatever producers send, the worker goes on; what is malformed becomes a dead letter as it came, and comes back."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Producer

from schemas import avroschema
from schemas.codec import encode_touchpoint_avro, encode_touchpoint_json
from schemas.errors import Reason
from schemas.touchpoint import Touchpoint
from streams.records import Record, read
from tests.schemas import malformed
from tests.schemas.test_malformed import EXPECTED
from tests.support import oracle
from tests.support.foreignbatches import publish
from tests.support.installation import Installation, until
from tests.support.kafka import ROOT
from tests.support.randomlog import DEFINITIONS, Shape, touchpoints

CONNECT = "__connect.errors."
Headers = list[tuple[str, bytes | None]]
# What a reader may well find in one field; of the others only the record as a whole can be said to be wrong.
WITH_FIELD = ("missing_field", "unknown_field", "refused_id", "bad_time", "bad_name", "bad_branch")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Sender:
    """Publishes to one topic and remembers what it sent."""

    def __init__(self, bootstrap: str, topic: str, **options: Any) -> None:
        self.topic = topic
        self.sent: list[tuple[bytes | None, bytes | None, Headers]] = []
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all"} | options)
        self._failures: list[str] = []

    def send(self, value: bytes | None, key: bytes | None = None, headers: Headers | None = None) -> None:
        """Publish one record."""
        self.sent.append((key, value, headers or []))
        while True:
            try:
                self._producer.produce(
                    self.topic, key=key, value=value, headers=headers or [], on_delivery=self._delivered
                )
                break
            except BufferError:
                self._producer.poll(0.05)
        self._producer.poll(0)

    def _delivered(self, error: object, _: object) -> None:
        if error is not None:
            self._failures.append(str(error))

    def flush(self) -> None:
        """Wait for every acknowledgement."""
        assert self._producer.flush(60) == 0
        assert not self._failures


def polku(installation: Installation, *arguments: str, expect: int = 0, **options: str) -> list[dict[str, Any]]:
    """Run the command line as its user does; return the JSON lines of its standard output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POLKU_")}
    environment |= {"POLKU_BOOTSTRAP": installation.bootstrap, "POLKU_PREFIX": installation.prefix} | options
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def own(letter: Record) -> Headers:
    """The headers that a dead letter's record came with; the last block is the router's."""
    names = [name for name, _ in letter.headers]
    begin = len(names) - 1 - names[::-1].index(f"{CONNECT}topic")
    return letter.headers[:begin]  # type: ignore[return-value]  # the client's own list


def says(letter: Record, name: str) -> str:
    """One of the headers that the router added: the last of that name."""
    return [value for key, value in letter.headers if key == name][-1].decode()


def as_sent(letter: Record) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, bytes and headers."""
    return letter.key, letter.value, own(letter)


def letters(installation: Installation) -> list[Record]:
    """The dead letters."""
    return list(read(installation.settings, installation.topics.dead_touchpoints))


@contextmanager
def serving(installation: Installation) -> Iterator[Installation]:
    """Run one worker, which must serve without a doubt or a word until its end."""
    with installation:
        worker = installation.start()
        yield installation
        assert worker.serves(), worker.log.read_text()
        assert worker.metric("polku_task_restarts_total") == 0
        assert worker.stop() == 0


def sent_by_the_mixed_log(bootstrap: str, topic: str, seed: int) -> Sender:
    """Publish malformed and good touchpoints in turns; returns what must become dead letters."""
    chance = random.Random(seed)
    bad = Sender(bootstrap, topic)
    good = Sender(bootstrap, topic)
    events = touchpoints(seed, Shape(events=2600, customers=100), int(time.time() * 1000))
    for number, ((kind, value), event) in enumerate(zip(malformed.malformed(seed), events, strict=False)):
        headers: Headers = [("kind", kind.encode()), ("number", str(number).encode())]
        headers += [("kind", b"a second one"), ("nothing", None), ("empty", b"")] if number % 5 == 0 else []
        bad.send(value, None if number % 7 == 0 else f"key-{number}".encode(), headers)
        encode = encode_touchpoint_json if chance.random() < 0.5 else encode_touchpoint_avro
        key = None if number % 3 == 0 else next(iter(event.identifiers.values())).encode()
        good.send(encode(event), key, [("source", None)] if number % 4 == 0 else None)
    bad.flush()
    good.flush()
    return bad


def test_malformed_touchpoints_become_dead_letters(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """2,520 malformed values of 21 kinds among as many good ones: each lies there as it came, with its reason."""
    installation = Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path)
    with serving(installation):
        bad = sent_by_the_mixed_log(kafka_bootstrap, installation.topics.touchpoints, seed=1)
        installation.settle()
        listed = polku(installation, "dlq", "list", "--json")
        deep = polku(installation, "dlq", "list", "--json", "--reason", Reason.TOO_DEEP.value)
    assert len(bad.sent) >= 2000
    assert min(Counter(headers[0][1] for _, _, headers in bad.sent).values()) >= 100

    found = oracle.dump(installation.settings, DEFINITIONS)
    oracle.check(found)
    dead = found.records["touchpoints.dlq"]
    assert Counter(map(str, map(as_sent, dead))) == Counter(map(str, bad.sent))
    origins = {(each.partition, each.offset): each for each in found.records["touchpoints"]}
    for letter in dead:
        assert says(letter, f"{CONNECT}topic") == installation.topics.touchpoints
        origin = origins[int(says(letter, f"{CONNECT}partition")), int(says(letter, f"{CONNECT}offset"))]
        assert (origin.key, origin.value, origin.headers) == as_sent(letter)
        kind, reason = dict(reversed(letter.headers))["kind"].decode(), Reason(says(letter, "polku.errors.reason"))
        assert reason in EXPECTED.get(kind, set(Reason))
        rule, field = says(letter, "polku.errors.rule"), says(letter, "polku.errors.field")
        assert len(rule) > 10
        nameless = kind == "unknown_field" and b'"": ' in (letter.value or b"")
        assert field or nameless or kind not in WITH_FIELD, (kind, rule)
        message = says(letter, f"{CONNECT}exception.message")
        assert rule in message
        assert field in message

    assert len(listed) == len(bad.sent)
    assert len(deep) == sum(says(letter, "polku.errors.reason") == Reason.TOO_DEEP for letter in dead) > 100
    assert {each["reason"] for each in deep} == {Reason.TOO_DEEP.value}


def test_replayed_dead_letters_come_back_as_they_were(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Key, bytes and headers are published again; what is still malformed is a dead letter once more."""
    installation = Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path)
    with serving(installation):
        bad = Sender(kafka_bootstrap, installation.topics.touchpoints)
        for number, (kind, value) in enumerate(malformed.malformed(seed=2, each=3)):
            headers: Headers = [("kind", kind.encode())]
            # Another system's dead letter, sent on with its headers: they are its own, not ours.
            headers += [(f"{CONNECT}topic", b"elsewhere"), ("polku.errors.rule", b"its own")] if number % 2 else []
            bad.send(value, None if number % 3 == 0 else b"k", headers)
        bad.flush()
        installation.settle()
        first = letters(installation)
        assert Counter(map(str, map(as_sent, first))) == Counter(map(str, bad.sent))
        assert polku(installation, "dlq", "replay", "--json") == [{"replayed": len(first), "left": 0}]
        installation.settle()
        one = first[5]
        place = f"{one.partition}/{one.offset}"
        assert polku(installation, "dlq", "replay", "--at", place, "--json") == [{"replayed": 1, "left": 0}]
        installation.settle()
        polku(installation, "dlq", "replay", "--at", "0/999999", expect=2)
    found = oracle.dump(installation.settings, DEFINITIONS)
    oracle.check(found)
    again = Counter(str(as_sent(each)) for each in found.records["touchpoints.dlq"])
    expected = Counter(map(str, bad.sent))
    assert again == expected + expected + Counter([str(as_sent(one))])


def test_what_is_good_by_now_is_handled_when_replayed(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """A kind of identifier that was not declared, and is now: its letters are handled, once, however often replayed."""
    installation = Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path)
    now = int(time.time() * 1000)
    known = list(touchpoints(3, Shape(events=300, customers=20, repeats=0), now))
    cards = [
        Touchpoint(
            event_id=f"card-{n}",
            type="page_viewed",
            channel="branch",
            occurred_at=now,
            identifiers={"card": f"k{n}"},
            properties={"page": "/credit-cards"},
        )
        for n in range(40)
    ]
    with serving(installation):
        sender = Sender(kafka_bootstrap, installation.topics.touchpoints)
        for event in (*known, *cards):
            sender.send(encode_touchpoint_json(event), b"k")
        sender.flush()
        installation.settle()
        assert len(letters(installation)) == len(cards)
    installation.options["identifier_kinds"] = "customer,device,email,phone,social,card"
    with serving(installation):
        reason = ("--reason", Reason.IDENTIFIER.value)
        for _ in range(2):
            assert polku(installation, "dlq", "replay", *reason, "--json") == [{"replayed": len(cards), "left": 0}]
            installation.settle()
    found = oracle.dump(installation.settings, DEFINITIONS)
    oracle.check(found)
    assert len(found.records["touchpoints.dlq"]) == len(cards)
    assert {f"card:k{n}" for n in range(40)} <= found.states.keys()


class Schemas:
    """A schema registry of one's own, which knows what it is told."""

    def __init__(self) -> None:
        registry = self
        self.known: dict[int, str] = {}
        self.asked: Counter[str] = Counter()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked[self.path] += 1
                schema = registry.known.get(int(self.path.rsplit("/", 1)[1]))
                self._answer(200 if schema else 404, {"schema": schema} if schema else {"error_code": 40403})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(200, {"id": 1 if self.path.split("/")[2].endswith("action") else 2})

            def _answer(self, status: int, body: object) -> None:
                encoded = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_a_schema_that_becomes_known(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Without a registry its records are dead letters and can be replayed; with one its partition waits."""
    installation = Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path)
    now = int(time.time() * 1000)
    events = list(touchpoints(4, Shape(events=60, customers=9, simple=True, repeats=0, late=0), now))
    with serving(installation):
        sender = Sender(kafka_bootstrap, installation.topics.touchpoints)
        for event in events[:20]:
            sender.send(encode_touchpoint_avro(event, schema_id=77), b"k")
        sender.flush()
        installation.settle()
        assert len(polku(installation, "dlq", "list", "--json", "--reason", Reason.SCHEMA.value)) == 20
    with Schemas() as registry:
        registry.known[77] = json.dumps(avroschema.load("touchpoint"))
        installation.options["schema_registry"] = registry.url
        with serving(installation):
            polku(installation, "dlq", "replay", "--reason", Reason.SCHEMA.value)
            installation.settle()
            worker = installation.workers[-1]
            for event in events[20:40]:
                sender.send(encode_touchpoint_avro(event, schema_id=78), b"k")
            for event in events[40:]:
                sender.send(encode_touchpoint_json(event), b"k")
            sender.flush()
            until(lambda: worker.metric("polku_partitions_waiting_for_schema") == 1, 30, lambda: "it waits")
            assert worker.metric("polku_records_routed_total") == 20
            registry.known[78] = registry.known[77]
            installation.settle()
    found = oracle.dump(installation.settings, DEFINITIONS)
    assert len(found.records["touchpoints.dlq"]) == 20
    routed = Counter(
        entry.event_id for entries in found.journal.values() for _, entry in entries if hasattr(entry, "event_id")
    )
    assert routed == Counter(event.event_id for event in events)
    assert max(registry.asked.values()) < 30


def test_every_compression_and_what_unpacks_to_much(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Records that unpack to more than any message pass through; what a letter cannot hold is named by its origin."""
    installation = Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path)
    topic = installation.topics.touchpoints
    events = list(touchpoints(5, Shape(events=200, customers=20, repeats=0), int(time.time() * 1000)))
    big = {"message.max.bytes": 50_000_000}
    with serving(installation):
        for number, codec in enumerate(CODECS):
            sender = Sender(kafka_bootstrap, topic, **{"compression.type": codec})
            for event in events[number :: len(CODECS)]:
                sender.send(encode_touchpoint_json(event), b"k")
            sender.flush()
        sender = Sender(kafka_bootstrap, topic, **big, **{"compression.type": "zstd", "linger.ms": 0})
        much = 9_000_000
        for key, value, headers in (
            (b"k", b"{" + b"x" * much, [("h", b"h")]),
            (b"k" * much, b"{", [("h", b"h")]),
            (b"k", b"{", [("h", b"h" * much)]),
            (b"k" * much, encode_touchpoint_json(events[0]), [("traceparent", b"00-" + b"0" * much)]),
        ):
            sender.send(value, key, list(headers))
            sender.flush()
        installation.settle()
        again = polku(installation, "dlq", "replay", "--json")
    found = oracle.dump(installation.settings, DEFINITIONS)
    oracle.check(found)
    assert len(found.records["touchpoints"]) == len(events) + 4
    assert again == [{"replayed": 0, "left": 3}]
    letters = {says(each, "polku.errors.omitted"): as_sent(each) for each in found.records["touchpoints.dlq"]}
    assert letters == {
        "value": (b"k", None, [("h", b"h")]),
        "value,headers,key": (None, None, []),
        "value,headers": (b"k", None, []),
    }


def test_header_names_that_are_no_text(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """No partition stops at them: what is good is handled, and a dead letter shows the name's bytes."""
    installation = Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path)
    topic = installation.topics.touchpoints
    events = list(touchpoints(6, Shape(events=60, customers=9, repeats=0), int(time.time() * 1000)))
    headers = [(b"\xff\xfe", b"1"), (b"fine", None)]
    with serving(installation):
        for partition in range(installation.settings.touchpoints_partitions):
            mine = [encode_touchpoint_json(event) for event in events[partition::4]]
            publish(
                kafka_bootstrap, topic, partition, [(b"k", value, headers) for value in [*mine[:7], b"{", *mine[7:]]]
            )
        installation.settle()
        listed = polku(installation, "dlq", "list", "--json")
        dumped = polku(installation, "topics", "dump", "touchpoints")
    found = oracle.dump(installation.settings, DEFINITIONS)
    oracle.check(found)
    assert len(listed) == 4
    assert len(dumped) == len(events) + 4
    assert [as_sent(each) for each in found.records["touchpoints.dlq"]] == [
        (b"k", b"{", [("\\xff\\xfe", b"1"), ("fine", None)])
    ] * 4
