"""E-mail by SMTP. SMTP has no idempotency keys: once or not at all, or perhaps twice, as the action says.

An answer to RCPT tells a dead address (5xx: a bounce) from a busy one (4xx); a refused sender or login is nobody's
message's fault and counts as the channel being down. Once DATA is sent, a lost connection leaves the call uncertain.
The Message-ID is made from the action's id, so that mailboxes can tell a repeat.
"""

from __future__ import annotations

import re
import socket
from collections import deque
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate, parseaddr
from enum import StrEnum
from typing import Annotated

import aiosmtplib
from pydantic import Field, SecretStr, model_validator

from connectors.links import Links
from connectors.settings import Seconds, SinkSettings
from connectors.sink import Context, Delivery, Refusal, Refused, Retry, Unavailable, Uncertain
from connectors.templates import Message, Templates
from schemas.action import Action, Withdrawal

CLOSING = 421  # RFC 5321: service not available, closing transmission channel
PERMANENT = 500
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\\\"@\x00-\x20\x7f]{1,64}@[^\s<>()\[\],;:\\\"@\x00-\x20\x7f]{1,255}")


class Tls(StrEnum):
    """How the connection is protected: not at all, by STARTTLS, or from the first byte."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class EmailSettings(SinkSettings):
    """An SMTP server, and in whose name mail is sent."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Tls = Tls.STARTTLS
    username: str | None = None
    password: SecretStr | None = None
    sender: Annotated[str, Field(alias="from", description="Name <address@domain>")]
    reply_to: str | None = None
    unsubscribe: Annotated[
        str | None, Field(description="URL for List-Unsubscribe on mails that need consent; {action_id} is filled in")
    ] = None
    timeout: Seconds = 30.0

    @model_validator(mode="after")
    def _safe(self) -> EmailSettings:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together: give both or none")
        if self.password is not None and self.tls is Tls.NONE and self.host not in LOOPBACK:
            raise ValueError("a password must not travel unprotected: set tls to starttls or tls")
        for address in (self.sender, self.reply_to):
            if address is not None and (_ADDRESS.fullmatch(parseaddr(address)[1]) is None or not address.isprintable()):
                raise ValueError(f"'{address}' is no address: write Name <name@example.org>")
        if self.unsubscribe is not None and not self.unsubscribe.startswith("https://"):
            raise ValueError("unsubscribe must be an https URL (RFC 8058)")
        return self


class EmailSink:
    """Sends mails from templates with a subject, over at most `concurrency` connections that are kept and reused."""

    honours_keys = False
    addressing = True
    standing = False
    retracts = False

    def __init__(self, settings: EmailSettings, templates: Templates, links: Links) -> None:
        templates.demand("subject")
        self._settings = settings
        self._templates = templates
        self._links = links
        name, address = parseaddr(settings.sender)
        self._from_address = address
        self._from = Address(display_name=name, addr_spec=address)
        self._idle: deque[aiosmtplib.SMTP] = deque()

    async def start(self, context: Context) -> None:
        """Nothing: connections are made when they are needed."""

    async def deliver(self, action: Action, key: str) -> Delivery:
        """Send one mail."""
        recipient = recipient_of(action)
        message = self._compose(action, recipient, self._templates.render(action, self._links.url(action)))
        client = await self._envelope(recipient)
        try:
            await client.data(message.as_bytes(policy=SMTP_POLICY))
        except aiosmtplib.SMTPResponseException as error:
            if error.code == CLOSING:
                raise Unavailable(_told("data", error)) from error
            if error.code < PERMANENT:
                raise Retry(_told("data", error)) from error
            raise Refused(_told("data", error)) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Uncertain(f"data: {type(error).__name__}") from error
        finally:
            self._keep(client)
        return Delivery()

    def _compose(self, action: Action, recipient: str, rendered: Message) -> EmailMessage:
        if not rendered.headers.get("subject"):
            raise Refused(f"template '{action.template}' gives no subject")
        message = EmailMessage(policy=SMTP_POLICY)
        message["Message-ID"] = f"<{action.action_id}@{self._from_address.rpartition('@')[2]}>"
        message["Date"] = formatdate(usegmt=True)
        message["From"] = self._from
        message["To"] = Address(addr_spec=recipient)
        message["Subject"] = rendered.headers["subject"]
        if self._settings.reply_to is not None:
            message["Reply-To"] = self._settings.reply_to
        if self._settings.unsubscribe is not None and action.basis == "consent":
            url = self._settings.unsubscribe.replace("{action_id}", action.action_id)
            message["List-Unsubscribe"] = f"<{url}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(rendered.text)
        if rendered.html is not None:
            message.add_alternative(rendered.html, subtype="html")
        return message

    async def _envelope(self, recipient: str) -> aiosmtplib.SMTP:
        """A connection that has accepted sender and recipient; all that fails here was certainly not done."""
        while self._idle:
            client = self._idle.popleft()
            try:
                await self._address(client, recipient)
            except Unavailable:
                continue  # the server had closed it meanwhile: not its word on being down
            return client
        client = await self._connect()
        await self._address(client, recipient)
        return client

    async def _address(self, client: aiosmtplib.SMTP, recipient: str) -> None:
        try:
            await client.mail(self._from_address)
            await client.rcpt(recipient)
        except aiosmtplib.SMTPRecipientRefused as error:
            self._keep(client)
            if error.code == CLOSING:
                raise Unavailable(_told("rcpt", error)) from error
            if error.code < PERMANENT:
                raise Retry(_told("rcpt", error)) from error
            raise Refused(_told("rcpt", error), Refusal.BOUNCED) from error
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            raise Unavailable(_told("mail", error)) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            raise Unavailable(type(error).__name__) from error
        except BaseException:
            client.close()
            raise

    async def _connect(self) -> aiosmtplib.SMTP:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password.get_secret_value() if settings.password is not None else None,
            use_tls=settings.tls is Tls.TLS,
            start_tls=settings.tls is Tls.STARTTLS,
            timeout=settings.timeout,
            local_hostname=socket.gethostname(),
        )
        try:
            await client.connect()
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            raise Unavailable(_told("connect", error)) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            client.close()
            raise Unavailable(f"connect: {type(error).__name__}") from error
        return client

    def _keep(self, client: aiosmtplib.SMTP) -> None:
        if client.is_connected and len(self._idle) < self._settings.concurrency:
            self._idle.append(client)
        else:
            client.close()

    async def withdraw(self, withdrawal: Withdrawal) -> None:
        """Never called: a mail cannot be taken back."""

    async def close(self) -> None:
        """Close the connections."""
        while self._idle:
            client = self._idle.popleft()
            try:
                await client.quit(timeout=1)
            except (aiosmtplib.SMTPException, OSError):
                client.close()


def recipient_of(action: Action) -> str:
    """The address of an action, its domain in ASCII. Raises Refused."""
    to = (action.to or "").strip()
    if _ADDRESS.fullmatch(to) is None:
        raise Refused("no address" if not to else "the address is not one", Refusal.INVALID)
    local, _, domain = to.rpartition("@")
    try:
        recipient = f"{local}@{domain.encode('idna').decode()}"
        recipient.encode("ascii")
    except UnicodeError as error:
        raise Refused("the address is not ASCII", Refusal.INVALID) from error
    return recipient


def _told(step: str, error: aiosmtplib.SMTPResponseException) -> str:
    """What the server said, without its text: that often repeats the address."""
    enhanced = _ENHANCED.match(error.message)
    return f"{step} {error.code}" + (f" {enhanced.group()}" if enhanced else "")
