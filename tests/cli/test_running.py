"""The commands on a running installation: a worker and the embedded broker, from the first event to a new version."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from streams.devbroker import EmbeddedBroker
from tests.cli.running import SEEDS, Ran, polku
from tests.support.workers import WorkerProcess

WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Installation:
    """A broker's address, the folder of definitions that its worker was started with, and room for files."""

    bootstrap: str
    definitions: Path
    folder: Path

    def polku(self, *arguments: object, stdin: bytes = b"") -> Ran:
        """Run a command against it."""
        return polku(*arguments, "--bootstrap", self.bootstrap, stdin=stdin)

    def publish(self, *events: tuple[str, str, dict[str, str], dict[str, Any]]) -> None:
        """Publish (event id, type, identifiers, properties), occurring now, through the command line."""
        lines = [
            json.dumps(
                {
                    "event_id": event_id,
                    "type": kind,
                    "channel": "web",
                    "occurred_at": int(time.time() * 1000),
                    "identifiers": identifiers,
                    "properties": properties,
                }
            )
            for event_id, kind, identifiers, properties in events
        ]
        ran = self.polku("publish", "-", "--json", stdin="\n".join(lines).encode())
        assert (ran.code, ran.rows) == (0, [{"published": len(events), "what": "touchpoint"}]), ran.err

    def sent(self, customer: str) -> list[dict[str, Any]]:
        """The actions that `explain` tells of."""
        ran = self.polku("explain", customer, "--json")
        return [row["action"] for row in ran.rows if "action" in row] if ran.code == 0 else []


def wait(look: Callable[[], Any]) -> Any:
    """What `look` finds, as soon as it is something."""
    deadline = time.monotonic() + WITHIN
    while not (found := look()):
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A worker at work on an embedded broker, for all tests of this module: each uses customers of its own."""
    folder = tmp_path_factory.mktemp("installation")
    shutil.copytree(SEEDS, folder / "bank")
    options: dict[str, Any] = {
        "guarantee": "at_least_once",
        "store": "memory",
        "session_timeout": 2,
        "heartbeat_interval": 0.5,
        "fetch_wait": 0.02,
        "definitions": folder / "bank",
    }
    with EmbeddedBroker() as broker, WorkerProcess(folder, bootstrap=broker.bootstrap, **options).start() as worker:
        worker.ready(12)
        yield Installation(broker.bootstrap, folder / "bank", folder)


CARD: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("consent_given", {"device": "d-41"}, {"purpose": "personalisation"}),
    ("page_viewed", {"device": "d-41"}, {"page": "/credit-cards"}),
    ("page_viewed", {"device": "d-41"}, {"page": "/credit-cards/gold"}),
    ("form_started", {"device": "d-41"}, {"form": "credit-card"}),
    ("form_page_submitted", {"device": "d-41"}, {"page_number": 1, "email": "visitor@example.com"}),
    ("form_left", {"device": "d-41"}, {"page_number": 2}),
    ("form_submitted", {"customer": "c-7", "device": "d-41"}, {"form": "credit-card"}),
    ("profile_updated", {"customer": "c-7"}, {"email": "visitor@example.com"}),
    ("application_approved", {"customer": "c-7"}, {"product": "credit-card"}),
]
STORY = """\
consent_given (web)
page_viewed (web)
· credit-card-application v1 begins in stage interested
page_viewed (web)
· credit-card-application v1 goes from interested to returning (page_viewed)
✓ show_banner sent by web (banner=credit-card-incentive): all gates passed (purpose personalisation)
form_started (web)
· credit-card-application v1 goes from returning to applying (form_started)
form_page_submitted (web)
form_left (web)
· credit-card-application v1 goes from applying to abandoned (form_left)
✓ send_reminder sent by email to visitor@example.com (resume-application): all gates passed (purpose requested-service)
device:d-41 belongs to this customer from now on
form_submitted (web)
· credit-card-application v1 goes from abandoned to submitted (form_submitted); its goal is reached
✓ suppress_ads sent by ads (topic=credit-card): all gates passed (purpose ads-suppression)
· credit-card-application v1 ends in stage submitted (completed)
↩ show_banner by web withdrawn: journey credit-card-application ended: completed
↩ send_reminder by email withdrawn: journey credit-card-application ended: completed
profile_updated (web)
application_approved (web)
· onboarding v1 begins in stage invited
✗ send_message not sent: consent says never-given (there is no consent to marketing)
"""


def test_the_bank_story_is_told(installation: Installation) -> None:
    """Each touchpoint, what was decided, by which rule, what was not sent and why; by any name of the customer."""
    events = [(f"card-{number}", *event) for number, event in enumerate(CARD)]
    installation.publish(*events[:6])
    # Events of one customer under two keys lie in two partitions, and between those Kafka promises no order.
    wait(lambda: "send_reminder sent" in installation.polku("explain", "device:d-41").out)
    installation.publish(*events[6:])
    told = wait(lambda: "never-given" in (out := installation.polku("explain", "c-7").out) and out)
    lines = [line[10:].strip().split("  ")[0] for line in told.splitlines() if line[:2].isdigit() or line[:4] == "    "]
    assert lines == STORY.splitlines()
    assert told.startswith("customer:c-7\n")
    assert "credit-card-application v1" in told.split("\nNow, ")[1]
    assert "\x1b[" not in told
    other = installation.polku("explain", "device:d-41").out
    whole, again = (re.sub("(?m)^Now, .*$", "Now", each) for each in (told, other))  # time goes on between the two
    assert again == whole.replace("customer:c-7\n", "customer:c-7  (device:d-41 is this customer's)\n", 1)


def test_explain_for_programs(installation: Installation) -> None:
    """--json has a line each, with the decision and, where one was sent, the action in full."""
    sent = wait(lambda: installation.sent("c-7"))
    assert [action["action"] for action in sent] == ["show_banner", "send_reminder", "suppress_ads"]
    assert sent[1]["to"] == "visitor@example.com"
    rows = installation.polku("explain", "c-7", "--json").rows
    assert {row["kind"] for row in rows} == {"touchpoint", "linked", "transition", "decision"}
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)


def test_explain_of_nobody(installation: Installation) -> None:
    """Is wrong input."""
    ran = installation.polku("explain", "nobody")
    assert ran.code == 2
    assert "nothing is known of customer:nobody" in ran.err


def test_a_dumped_journal_gives_what_was_published(installation: Installation) -> None:
    """By `topics dump` and `simulate --journal`: the actions that stand in their topics, and no other."""
    dumped = installation.polku("topics", "dump", "journal")
    (installation.folder / "journal.jsonl").write_text(dumped.out)
    again = polku(
        "simulate", "--journal", installation.folder / "journal.jsonl", "-d", installation.definitions, "--json"
    )
    computed = {row["action"]["action_id"] for row in again.rows if row["kind"] == "action"}
    published = [
        row["decoded"]["action_id"]
        for channel in ("email", "web", "ads", "push", "sms", "advisor")
        for row in installation.polku("topics", "dump", f"actions.{channel}").rows
    ]
    assert len(published) >= 3
    assert computed == set(published)
    assert dumped.err == f"{len(dumped.rows):,} records of journal\n"


def test_a_topic_that_is_not_there(installation: Installation) -> None:
    """Is said with its name."""
    for arguments in (
        ("topics", "dump", "journals"),
        ("dlq", "list", "--topic", "letters"),
        ("explain", "c", "--prefix", "x."),
    ):
        ran = installation.polku(*arguments)
        assert ran.code == 2
        assert "there is no topic '" in ran.err


def test_dead_letters_are_listed_and_replayed(installation: Installation) -> None:
    """Each with its origin and the rule it broke; replayed, it is routed, or condemned, again."""
    producer = Producer({"bootstrap.servers": installation.bootstrap})
    headers: list[tuple[str, str | bytes | None]] = [("mine", b"1")]
    producer.produce("touchpoints", key="k", value=b'{"event_id": "half', headers=headers)
    assert producer.flush(10) == 0
    (letter,) = wait(lambda: installation.polku("dlq", "list", "--json").rows)
    assert letter["origin_topic"] == "touchpoints"
    assert letter["size"] == 18
    text = installation.polku("dlq", "list", "--reason", letter["reason"])
    assert f"from touchpoints/{letter['origin_partition']}/{letter['origin_offset']}" in text.out
    assert letter["error"] in text.out
    assert text.err == "1 dead letter\n"
    assert installation.polku("dlq", "list", "--reason", "nothing like it").out == ""

    place = f"{letter['partition']}/{letter['offset']}"
    assert installation.polku("dlq", "replay", "--at", "3/999").code == 2
    ran = installation.polku("dlq", "replay", "--at", place, "--json")
    assert ran.rows[0]["replayed"] == 1
    assert (
        len(wait(lambda: found if len(found := installation.polku("dlq", "list", "--json").rows) == 2 else None)) == 2
    )
    values = [row["value"] for row in installation.polku("topics", "dump", "touchpoints").rows if row["key"] == "k"]
    assert len(values) == 2
    assert values[0] == values[1]


def test_a_bad_line_from_stdin_says_what_went_before(installation: Installation) -> None:
    """Lines before it are published, and may be sent again; those after it are not."""
    good = json.dumps(
        {"event_id": "s", "type": "t", "channel": "web", "occurred_at": 1, "identifiers": {"device": "d-s"}}
    ).encode()
    ran = installation.polku("publish", "-", stdin=good + b"\n{}\n" + good)
    assert ran.code == 2
    assert ran.err.startswith("error: -:2: ")
    assert "(the 1 before it are published)" in ran.err


def approve(installation: Installation, customer: str) -> dict[str, Any]:
    """A customer who allows marketing is approved: the message that comes of it."""
    who = {"customer": customer}
    installation.publish(
        (f"{customer}-1", "profile_updated", who, {"email": f"{customer}@example.com"}),
        (f"{customer}-2", "consent_given", who, {"purpose": "marketing"}),
        (f"{customer}-3", "application_approved", who, {"product": "credit-card"}),
    )
    (action,) = wait(lambda: installation.sent(customer))
    return dict(action)


def edit(path: Path, *replacements: tuple[str, str]) -> None:
    """Replace what stands once in a file."""
    text = path.read_text()
    for before, after in replacements:
        assert text.count(before) == 1
        text = text.replace(before, after)
    path.write_text(text)


def test_a_new_version_takes_effect_while_the_worker_runs(installation: Installation) -> None:
    """Published again unchanged nothing happens; changed content needs a new version; the new version is in force."""
    folder = installation.folder / "next"
    shutil.copytree(installation.definitions, folder)
    journey = folder / "journeys" / "onboarding.yaml"
    assert installation.polku("publish", folder, "--json").rows[-1] == {"published": 0, "what": "definition"}
    before = approve(installation, "c-100")
    assert (before["journey_version"], before["template"]) == (1, "mobile-app-onboarding")

    edit(journey, ("template: mobile-app-onboarding", "template: card-benefits"))
    ran = installation.polku("publish", folder)
    assert ran.code == 2
    assert ran.err == (
        "error: journey onboarding version 1 is published already, with another content: raise its version\n"
    )

    edit(journey, ("version: 1", "version: 2"))
    ran = installation.polku("publish", folder, "--yes")
    assert (ran.code, ran.err) == (0, "1 definition published\n")
    in_force = wait(lambda: found if len(found := activations(installation, "onboarding", 2)) == 4 else None)
    assert in_force == {0, 1, 2, 3}
    after = approve(installation, "c-101")
    assert (after["journey_version"], after["template"]) == (2, "card-benefits")
    assert installation.polku("publish", installation.definitions, "--json").rows[-1]["published"] == 0
    assert approve(installation, "c-102")["journey_version"] == 2


def activations(installation: Installation, name: str, version: int) -> set[int]:
    """The journal partitions in which a journey's version is in force."""
    rows = installation.polku("topics", "dump", "journal").rows
    wanted = {"entry": "Activate", "kind": "journey", "name": name, "version": version}
    return {row["partition"] for row in rows if wanted.items() <= row["decoded"].items()}


def test_a_folder_with_errors_is_not_published(installation: Installation) -> None:
    """All errors with their places, and nothing reaches the installation."""
    folder = installation.folder / "broken"
    shutil.copytree(installation.definitions, folder)
    edit(folder / "journeys" / "onboarding.yaml", ("to: active", "to: activ"))
    ran = installation.polku("publish", folder)
    assert ran.code == 2
    assert f"{folder}/journeys/onboarding.yaml:20:11: error: " in ran.err
