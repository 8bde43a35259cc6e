"""Which sinks there are: the `type` in connectors.yaml, its settings, and how it is made. Nothing registers itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.links import Links
from connectors.settings import SinkSettings
from connectors.sink import Sink
from connectors.sinks.email import EmailSettings, EmailSink
from connectors.sinks.web import WebSettings, WebSink
from connectors.sinks.webhook import WebhookSettings, WebhookSink
from connectors.templates import Templates


@dataclass(frozen=True, slots=True)
class Shared:
    """What sinks of one installation share."""

    templates: Path
    links: Links


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of sink. `make(settings, channel, shared)`."""

    settings: type[SinkSettings]
    make: Callable[[Any, str, Shared], Sink]


def _email(settings: EmailSettings, channel: str, shared: Shared) -> Sink:
    return EmailSink(settings, Templates(shared.templates, channel), shared.links)


def _webhook(settings: WebhookSettings, channel: str, shared: Shared) -> Sink:
    return WebhookSink(settings, Templates(shared.templates, channel), shared.links)


def _web(settings: WebSettings, channel: str, shared: Shared) -> Sink:
    return WebSink(settings, shared.links)


SINKS: dict[str, Kind] = {
    "email": Kind(EmailSettings, _email),
    "webhook": Kind(WebhookSettings, _webhook),
    "web": Kind(WebSettings, _web),
}
