"""Links: where a message leads, and tokens by which a visitor resumes a form where they stopped.

A token is signed, not encrypted: it says who may resume what, and no one can change it. Its expiry counts from the
decision and not from a clock, so the same action always has the same link. Several secrets can be given: the first
signs, all verify, so a secret can be replaced.

    LinkError
    ├── TamperedLink      not signed by us, or not whole
    ├── ExpiredLink       too old
    └── OthersLink        somebody else's
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

from schemas.action import Action
from schemas.identifiers import CUSTOMER

MAX_TOKEN = 4096
MIN_SECRET = 16
_SALT = "polku.resume.1"


class LinkError(Exception):
    """A token that cannot be followed."""


class TamperedLink(LinkError):
    """The token was not signed with one of our secrets."""


class ExpiredLink(LinkError):
    """The token was good until `expires` (ms)."""

    def __init__(self, expires: int) -> None:
        super().__init__("expired")
        self.expires = expires


class OthersLink(LinkError):
    """The token belongs to another customer than the one who follows it."""


class Resume(msgspec.Struct, frozen=True, array_like=True):
    """What a token says: whose it is (kind:id), of which journey instance, where it leads, and until when (ms)."""

    profile: str
    instance: str
    path: str
    position: str | None
    expires: int


class Links:
    """Makes URLs for actions and reads tokens back. `site` is the address before every path; `lifetime` in seconds."""

    def __init__(self, site: str, secrets: Sequence[str], lifetime: float) -> None:
        if not secrets or any(len(secret) < MIN_SECRET for secret in secrets):
            raise ValueError(f"a link secret must have at least {MIN_SECRET} characters")
        self._site = site.rstrip("/")
        self._lifetime = round(lifetime * 1000)
        # itsdangerous signs with the last of its keys.
        self._serializer = URLSafeSerializer(list(reversed(secrets)), salt=_SALT)

    def url(self, action: Action) -> str | None:
        """The URL of an action's link: the site's page, with a token where the link resumes something."""
        if action.link is None or not safe_path(action.link.path):
            return None
        parts = urlsplit(self._site + action.link.path)
        query = parts.query
        token = self.token(action)
        if token is not None:
            query = f"{query}&{urlencode({'resume': token})}" if query else urlencode({"resume": token})
        return urlunsplit(parts._replace(query=query))

    def token(self, action: Action) -> str | None:
        """The token of an action's link; None when it resumes nothing."""
        if action.link is None or action.link.position is None:
            return None
        profile = action.profile if action.customer is None else f"{CUSTOMER}:{action.customer}"
        resume = Resume(
            profile,
            action.instance_id,
            action.link.path,
            action.link.position,
            action.proposed_at + self._lifetime,
        )
        token = self._serializer.dumps(msgspec.to_builtins(resume))
        return token if isinstance(token, str) else token.decode()

    def read(
        self, token: str, now: int, visitor: str | None = None, resolve: Callable[[str], str] = lambda profile: profile
    ) -> Resume:
        """What a token says. Raises LinkError.

        `visitor` (kind:id) is who follows it, if known: an identifier that another customer holds is refused, one that
        nobody holds is not, for people open mails on devices we have not seen. The signature is compared in constant
        time, and before anything in the token is looked at.
        """
        if len(token) > MAX_TOKEN:
            raise TamperedLink("too long")
        try:
            resume = msgspec.convert(self._serializer.loads(token), Resume)
        except (BadSignature, msgspec.ValidationError) as error:
            raise TamperedLink("not ours") from error
        if resume.expires <= now:
            raise ExpiredLink(resume.expires)
        if visitor is not None and visitor != resume.profile:
            speaks, owner = resolve(visitor), resolve(resume.profile)
            if speaks.startswith(f"{CUSTOMER}:") and speaks != owner:
                raise OthersLink("another customer's")
        return resume


def safe_path(path: str) -> bool:
    """Whether a link stays on the site: one leading slash, no backslash, no control characters."""
    return path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
