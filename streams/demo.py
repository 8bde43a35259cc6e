"""The bank card story on this machine, end to end, as it really happens.

An embedded broker, a worker, sinks, a mail server and a receiving web server are started; touchpoints are published as
any producer would, through a Kafka client with its default partitioner; each step waits for what must arrive, and fails
loudly when it does not.
"""

from __future__ import annotations

import json as jsonlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from rich.markup import escape

from streams.demoservers import Inbox, MailServer, WebServer
from streams.devbroker import BrokerFailed, EmbeddedBroker, free_port
from streams.records import TopicUnreachable, read
from streams.terminal import emit, err, out

SEEDS = Path(__file__).resolve().parent.parent / "seeds"
ARRIVES_WITHIN = 20.0  # seconds; each step took well under one on 2 cores
READY_WITHIN = 60.0
STOPS_WITHIN = 3.0
VISITOR, CUSTOMER = "d-41", "c-7"
ADDRESS = "visitor@example.com"


class StepFailed(RuntimeError):
    """Something that must arrive did not; says what."""


@dataclass(slots=True)
class Demo:
    """One showing of the story. `keep` leaves everything running afterwards, `json` prints one line of JSON a step."""

    keep: bool = False
    json: bool = False
    _stack: ExitStack = field(default_factory=ExitStack)
    _logs: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="polku-demo-")))
    _events: int = 0
    _producer: Any = None
    _web: str = ""
    _inbox: Inbox = field(default_factory=Inbox)
    _broker: str = ""
    _worker_web: int = 0
    _published: float = 0.0
    _signal: int = 0
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def play(self) -> bool:
        """Play the story; True when every step arrived."""
        began = time.perf_counter()
        # An exception in the midst of starting a process would leave that process behind: signals are only noted.
        before = {number: signal.signal(number, self._noted) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with self._stack:
                self._start()
                self._story()
                seconds = time.perf_counter() - began
                self._say(f"The whole story in {seconds:.1f} s.", seconds=seconds)
                self._next()
        except (StepFailed, BrokerFailed, TopicUnreachable, OSError) as error:
            self._say(f"✗ {error}", failed=True)
            err.print(f"what the parts said is in {self._logs}", markup=False)
            return False
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        shutil.rmtree(self._logs, ignore_errors=True)
        return True

    def _noted(self, number: int, _frame: object) -> None:
        self._signal = number

    # -- starting ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        broker = self._stack.enter_context(EmbeddedBroker())
        self._stack.callback(self._disconnect)
        self._stack.callback(_end, self._processes.values())
        self._broker = broker.bootstrap
        mail = self._stack.enter_context(MailServer(self._inbox))
        receiver = self._stack.enter_context(WebServer(self._inbox))
        self._worker_web, web, sinks_health = free_port(), free_port(), free_port()
        self._web = f"http://127.0.0.1:{web}"
        self._say(
            f"A broker at {broker.bootstrap}, a mail server at 127.0.0.1:{mail.port}, a receiving web server at "
            f"127.0.0.1:{receiver.port}"
        )
        self._run(
            "worker", "worker", "--definitions", str(SEEDS), "--web-port", str(self._worker_web),
            POLKU_GUARANTEE="at_least_once", POLKU_STORE="memory", POLKU_DATA_DIR=str(self._logs / "data"),
            # The embedded broker lets a group join after half the session timeout, and answers a fetch when its wait
            # is over: both are short here, for one customer.
            POLKU_SESSION_TIMEOUT="2", POLKU_HEARTBEAT_INTERVAL="0.5", POLKU_FETCH_WAIT="0.02",
        )  # fmt: skip
        self._run(
            "sinks", "sinks", "--embedded", "--config", str(SEEDS / "connectors-demo.yaml"),
            SMTP_PORT=str(mail.port), RECEIVER=f"http://127.0.0.1:{receiver.port}", WEB_PORT=str(web),
            SITE=f"http://127.0.0.1:{receiver.port}", SINKS_PORT=str(sinks_health),
            RESUME_SECRET=os.urandom(32).hex(),
        )  # fmt: skip
        self._wait("the worker is ready", lambda: _get(f"http://127.0.0.1:{self._worker_web}/readyz"), READY_WITHIN)
        self._wait("the sinks are ready", lambda: _get(f"http://127.0.0.1:{sinks_health}/readyz"), READY_WITHIN)
        # log_level 0: the broker ends before the client does, which is no news to anybody.
        self._producer = Producer({"bootstrap.servers": self._broker, "linger.ms": 0, "log_level": 0})
        self._say("A worker and the sinks for e-mail, push, ads, advisors and the web site are running")

    def _disconnect(self) -> None:
        """Let go of the broker, which waits for its last client when asked to end."""
        self._producer = None

    def _run(self, name: str, *arguments: str, **environment: str) -> None:
        log = self._stack.enter_context((self._logs / f"{name}.log").open("wb"))
        process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "streams.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Settings of another installation, in the environment, are not the demo's.
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("POLKU_")},
                "POLKU_BOOTSTRAP": self._broker,
                **environment,
            },
        )
        self._processes[name] = process

    # -- the story --------------------------------------------------------------------------------------------------

    def _story(self) -> None:
        device = {"device": VISITOR}
        both = {"customer": CUSTOMER, "device": VISITOR}
        self._publish("consent_given", device, "An unknown visitor allows personalisation", purpose="personalisation")
        self._publish("page_viewed", device, "reads about credit cards", page="/credit-cards")
        self._publish("page_viewed", device, "and comes back on the same device", page="/credit-cards/gold")
        self._arrives("the site shows the card incentive", lambda: self._banner("credit-card-incentive"))
        self._publish("form_started", device, "The visitor starts the long form", form="credit-card")
        self._publish(
            "form_page_submitted", device, "gives an e-mail address on page 1",
            form="credit-card", page_number=1, email=ADDRESS,
        )  # fmt: skip
        self._publish("form_left", device, "tires on page 2 and closes it", form="credit-card", page_number=2)
        mail = self._arrives("the e-mail is in the inbox", lambda: self._inbox.mail_to(ADDRESS))
        link = _link(mail)
        self._arrives(f"its link resumes page {_resumed(self._web, link)}", lambda: _resumed(self._web, link) == "2")
        self._publish("form_resumed", device, "The visitor follows the link", form="credit-card")
        self._publish("form_submitted", both, f"and submits, now known as customer {CUSTOMER}", form="credit-card")
        self._arrives("ads on the subject are suppressed", lambda: self._inbox.posted("/ads", "suppress_ads"))
        self._arrives("the banner is gone", lambda: not self._banner("credit-card-incentive"))
        self._publish(
            "profile_updated", both, "The bank knows how this customer likes to be reached",
            email=ADDRESS, push_token="token-7", preferred_channel="push",  # noqa: S106 - an address, not a secret
        )  # fmt: skip
        self._publish("consent_given", both, "and that marketing is welcome", purpose="marketing")
        self._publish("application_approved", both, "The application is approved", channel="crm", product="credit-card")
        self._arrives(
            "the onboarding message arrives by push, the preferred channel",
            lambda: self._inbox.posted("/push", "mobile-app-onboarding"),
        )
        self._publish("complaint_opened", both, "The customer complains by phone", channel="phone", case_id="k-1")
        self._publish("card_activated", both, "and activates the card: marketing is due", channel="app")
        held = self._arrives("it is held back", lambda: self._decision("held", "send_message"))
        self._say(f"      because {held['gate']} says {held['reason']}")
        self._nothing("no message went out meanwhile", lambda: self._inbox.posted("/push", "card-benefits"))
        self._publish("complaint_closed", both, "The complaint is settled", channel="phone", case_id="k-1")
        self._arrives("now the message goes out", lambda: self._inbox.posted("/push", "card-benefits"))
        mails = len(self._inbox.mails)
        if mails != 1:
            raise StepFailed(f"{mails} e-mails were sent instead of one")
        self._say("One reminder in all, nothing sent twice")

    def _publish(
        self, kind: str, identifiers: dict[str, str], what: str, *, channel: str = "web", **properties: Any
    ) -> None:
        self._events += 1
        event = {
            "event_id": f"demo-{self._events}",
            "type": kind,
            "channel": channel,
            "occurred_at": int(time.time() * 1000),
            "identifiers": identifiers,
            "properties": properties,
        }
        key = identifiers.get("customer") or identifiers["device"]
        self._producer.produce("touchpoints", key=key, value=jsonlib.dumps(event))
        if self._producer.flush(10):
            raise StepFailed(f"the broker did not take {kind}")
        self._published = time.perf_counter()
        self._say(f"→ {what}", event=kind)

    def _arrives(self, what: str, look: Callable[[], Any]) -> Any:
        found = self._wait(what, look, ARRIVES_WITHIN)
        milliseconds = (time.perf_counter() - self._published) * 1000
        self._say(f"   ✓ {what}, {milliseconds:.0f} ms later", milliseconds=milliseconds)
        return found

    def _wait(self, what: str, look: Callable[[], Any], within: float) -> Any:
        deadline = time.perf_counter() + within
        while time.perf_counter() < deadline:
            found = look()
            if found:
                return found
            if self._signal:
                raise SystemExit(128 + self._signal)
            self._all_run()
            time.sleep(0.01)
        raise StepFailed(f"did not come true within {within:.0f} s: {what}")

    def _all_run(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                said = (self._logs / f"{name}.log").read_text(errors="replace").strip().splitlines() or ["nothing said"]
                raise StepFailed(f"the {name} ended with code {process.returncode}: {said[0]}")

    def _nothing(self, what: str, look: Callable[[], Any]) -> None:
        if look():
            raise StepFailed(f"is not true: {what}")
        self._say(f"   ✓ {what}")

    def _banner(self, name: str) -> bool:
        shown = _json(f"{self._web}/v1/web/device:{VISITOR}")
        return any(item.get("params", {}).get("banner") == name for item in shown.get("actions", []))

    def _decision(self, verdict: str, action: str) -> dict[str, Any] | None:
        from schemas.codec import DecisionDecoder  # noqa: PLC0415 - only here
        from streams.settings import Settings  # noqa: PLC0415 - only here

        for record in read(Settings(bootstrap=self._broker), "decisions"):
            decision = DecisionDecoder().decode(record.value)
            if decision.verdict == verdict and decision.action == action:
                return {"gate": decision.gate, "reason": decision.reason}
        return None

    # -- saying -----------------------------------------------------------------------------------------------------

    def _say(self, text: str, *, failed: bool = False, **data: Any) -> None:
        if self.json:
            emit({"text": text.strip(), "failed": failed, **data})
        else:
            style = "bold red" if failed else "green" if "✓" in text else "bold" if text.startswith("→") else ""
            out.print(escape(text), style=style)

    def _next(self) -> None:
        self._say(f"Why was each thing sent or not sent?   polku explain {CUSTOMER}   (with --keep, while it runs)")
        self._say("The journeys are in seeds/journeys, their tests beside them:   polku test seeds")
        if self.keep:
            self._say(f"Broker {self._broker} · worker http://127.0.0.1:{self._worker_web}/metrics · site {self._web}")
            self._say(f"Try:   polku explain {CUSTOMER} --bootstrap {self._broker}      End with Ctrl-C.")
            if not self._signal:
                signal.pause()


def _end(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """Ask all to stop, then wait; the broker forgets everything, so one that takes long is ended."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - an http address on loopback
            body: bytes = answer.read()
            return body or b" "
    except OSError:
        return None


def _json(url: str) -> dict[str, Any]:
    found: dict[str, Any] = jsonlib.loads(_get(url) or b"{}")
    return found


def _link(mail: str) -> str:
    for word in mail.split():
        if "resume=" in word:
            return word.strip('<>"()')
    raise StepFailed("the e-mail has no link that resumes the form")


def _resumed(web: str, link: str) -> str:
    """The position that the site learns for the link's token."""
    token = link.partition("resume=")[2].partition("&")[0]
    return str(_json(f"{web}/v1/resume/{token}").get("position"))
