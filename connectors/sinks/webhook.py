"""Webhooks: an action as JSON by HTTP POST, with its id as Idempotency-Key and, if wanted, a signature.

For advertising audiences, advisors' tasks, and any channel with an HTTP interface. The signature is that of Standard
Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md). The body is
`{"type": "action.<kind>", "data": ...}` with the action's fields, its link's URL and, where the channel has a template
of the name that the action gives, the rendered `message`.

    2xx                        done
    401 403 407 429 503        the channel refuses everybody for now: `Unavailable`, after Retry-After
    408 409 425 500            not done, try again: `Retry`, after Retry-After
    502 504, no whole answer   perhaps done: `Uncertain`
    anything else              `Refused`
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import time
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import aiohttp
import msgspec
from pydantic import Field, SecretStr, field_validator

from connectors.links import Links
from connectors.settings import Seconds, SinkSettings
from connectors.sink import Context, Delivery, DeliveryError, Refused, Retry, Unavailable, Uncertain
from connectors.templates import Templates
from schemas.action import Action, Withdrawal

UNAVAILABLE = (401, 403, 407, 429, 503)
AGAIN = (408, 409, 425, 500)
UNCERTAIN = (502, 504)
MAX_ANSWER = 65536


class WebhookSettings(SinkSettings):
    """Where to post, and what the receiver can do.

    `honours_keys`: it does what it gets with a known Idempotency-Key once only. `withdrawals`: it wants to be told when
    a delivered action is withdrawn. `addressing`: the action's `to` is an address (a gateway for text messages).
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    secret: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    honours_keys: bool = False
    withdrawals: bool = False
    addressing: bool = False
    timeout: Seconds = 10.0

    @field_validator("secret")
    @classmethod
    def _decodes(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            signing_key(secret.get_secret_value())
        return secret


class WebhookSink:
    """Posts actions to one URL."""

    standing = False

    def __init__(self, settings: WebhookSettings, templates: Templates, links: Links) -> None:
        self.honours_keys = settings.honours_keys
        self.addressing = settings.addressing
        self.retracts = settings.withdrawals
        self._settings = settings
        self._templates = templates
        self._links = links
        self._key = signing_key(settings.secret.get_secret_value()) if settings.secret is not None else None
        self._session: aiohttp.ClientSession | None = None

    async def start(self, context: Context) -> None:
        """Make the session; connections are made when they are needed."""
        self._session = aiohttp.ClientSession(
            # A kept connection may be closed by the server just as a call goes out, which leaves the call uncertain:
            # where that matters each call has a connection of its own.
            connector=aiohttp.TCPConnector(limit=self._settings.concurrency, force_close=not self.honours_keys),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout, sock_connect=self._settings.timeout / 2),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def deliver(self, action: Action, key: str) -> Delivery:
        """Post one action."""
        if self.addressing and not action.to:
            raise Refused("no address")
        data = msgspec.structs.asdict(action)
        url = self._links.url(action)
        if action.link is not None:
            data["link"] = msgspec.structs.asdict(action.link) | {"url": url}
        if action.template in self._templates:
            message = self._templates.render(action, url)
            data["message"] = {**message.headers, "text": message.text.strip()}
        await self._post(f"action.{action.action}", key, data, action.traceparent)
        return Delivery()

    async def withdraw(self, withdrawal: Withdrawal) -> None:
        """Post the withdrawal of an action that was posted."""
        data = msgspec.structs.asdict(withdrawal)
        await self._post("action.withdrawn", f"{withdrawal.action_id}.withdrawn", data, None)

    async def _post(self, kind: str, key: str, data: dict[str, Any], traceparent: str | None) -> None:
        if self._session is None:
            raise Unavailable("not started")
        now = int(time.time())
        body = msgspec.json.encode({"type": kind, "data": data})
        headers = {name: value.get_secret_value() for name, value in self._settings.headers.items()}
        headers |= {"Content-Type": "application/json", "Idempotency-Key": key, "webhook-id": key}
        headers["webhook-timestamp"] = str(now)
        if self._key is not None:
            headers["webhook-signature"] = sign(self._key, key, now, body)
        if traceparent is not None:
            headers["traceparent"] = traceparent
        try:
            async with self._session.post(
                self._settings.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                # Read so that the connection can be kept, but not without bound.
                await response.content.read(MAX_ANSWER)
                status, told = response.status, response.headers.get("Retry-After")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unavailable(type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Uncertain(type(error).__name__) from error
        failure = judge(status, retry_after(told, time.time()))
        if failure is not None:
            raise failure

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def judge(status: int, after: float | None) -> DeliveryError | None:
    """How a call with this answer ended; None: done."""
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP's success
        return None
    reason = f"http {status}"
    if status in UNAVAILABLE:
        return Unavailable(reason, after)
    if status in AGAIN:
        return Retry(reason, after)
    if status in UNCERTAIN:
        return Uncertain(reason)
    return Refused(reason)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds from a Retry-After header: a number, or an HTTP date (RFC 9110, 10.2.3); None when there is none."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def signing_key(secret: str) -> bytes:
    """The bytes of a Standard Webhooks secret (`whsec_` and base64). Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is whsec_ and base64: make one with `openssl rand -base64 32`") from error
    if len(key) < 24:  # noqa: PLR2004 - the specification's least
        raise ValueError("a webhook secret needs at least 24 bytes: make one with `openssl rand -base64 32`")
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature header of Standard Webhooks: HMAC-SHA256 over id, timestamp and body."""
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"
