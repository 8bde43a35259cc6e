"""Messages: templates, links, and what they become as mail and as webhooks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from itsdangerous import URLSafeSerializer
from pydantic import ValidationError

from connectors.links import ExpiredLink, Links, OthersLink, TamperedLink, safe_path
from connectors.sink import Context, Refused, Retry, Unavailable
from connectors.sinks.email import EmailSettings, EmailSink, Tls, recipient_of
from connectors.sinks.webhook import judge, retry_after
from connectors.templates import TemplateError, Templates, parse
from schemas.action import Action, Link
from tests.connectors.support import action
from tests.contracts.channels import SECRET, SIGNING, Hook, Mail, Mood, links


def written(folder: Path, text: str, name: str = "hello.email.liquid") -> Templates:
    """Return the templates of a folder with one file."""
    (folder / name).write_text(text)
    return Templates(folder, "email")


def rendered(folder: Path, text: str, **fields: Any) -> Any:
    """Return what a template gives for a sample action."""
    return written(folder, text).render(action(template="hello", **fields), fields.pop("url", None))


def test_a_template_has_headers_a_blank_line_and_a_body(tmp_path: Path) -> None:
    """Parameters, traits and customer are at hand; parameters also under `params`."""
    text = "Subject: For {{ traits.name }}\n\nPage {{ page }} of {{ params.page }}, {{ customer }}"
    message = rendered(tmp_path, text, params={"page": 2}, traits={"name": "Ann"})
    assert message.headers == {"subject": "For Ann"}
    assert message.text == "Page 2 of 2, c1"


def test_a_template_without_headers_is_all_body(tmp_path: Path) -> None:
    """A text message has no subject; its first line is text."""
    assert rendered(tmp_path, "Your code: {{ code }}", params={"code": 7}).text == "Your code: 7"


@pytest.mark.parametrize(
    ("text", "line"),
    [("Subject: a\nSubjekt: b\n\nbody", 2), ("Subject: a\n\nbody\n{{ broken", 4), ("Subject: {% if %}\n\nbody", 1)],
)
def test_a_template_that_cannot_be_read_tells_the_line(tmp_path: Path, text: str, line: int) -> None:
    """The file and the line of what is wrong."""
    with pytest.raises(TemplateError) as found:
        written(tmp_path, text)
    assert found.value.line == line
    assert "hello.email.liquid" in str(found.value)


@pytest.mark.parametrize(
    "text",
    [
        "Hello {{ traits.absent }}",
        "{{ link }}",
        "{% for n in (1..1000000) %}x{% endfor %}",
        "{% include 'hello' %}",
        "{{ traits.name | no_such_filter }}",
    ],
)
def test_what_cannot_be_rendered_is_refused(tmp_path: Path, text: str) -> None:
    """A message with holes is not sent, nor one without end; the reason has no value in it."""
    with pytest.raises(Refused) as found:
        rendered(tmp_path, text, traits={"name": "Ann"})
    assert "Ann" not in found.value.reason


def test_absence_can_be_asked_for(tmp_path: Path) -> None:
    """`default` and `if` are for what may be absent."""
    assert rendered(tmp_path, "{{ traits.x | default: 'you' }}{% if traits.y %}!{% endif %}").text == "you"


def test_values_are_escaped_in_html_only() -> None:
    """A name with markup stays a name."""
    found = parse(Path("t"), "Subject: a\n\n{{ n }}", (Path("t.html"), "<p>{{ n }}</p>")).render({"n": "<b>&"})
    assert (found.text, found.html) == ("<b>&", "<p>&lt;b&gt;&amp;</p>")


@pytest.mark.parametrize("evil", ["x\r\nBcc: all@example.org", "x\nBcc: a@example.org", "x\u2028Bcc: y", "x\x00y"])
def test_no_value_can_add_a_header(tmp_path: Path, evil: str) -> None:
    """Line breaks in a value that goes into the subject become spaces, in the mail that really arrives too."""
    channel = Mail(tmp_path)
    (tmp_path / "resume-application.email.liquid").write_text("Subject: {{ traits.name }}\n\n{{ traits.name }}")

    async def main() -> None:
        async with channel.up():
            sink = channel.sink()
            await sink.start(Context())
            await sink.deliver(action(traits={"name": evil}), "k")
            await sink.close()

    asyncio.run(main())
    (mail,) = channel.messages
    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]
    assert channel.recipients == ["ann@example.org"]


def test_a_mail_as_it_arrives(tmp_path: Path) -> None:
    """Text and HTML, the action's id as Message-ID, sender with name, one-click unsubscription, a link that resumes."""
    channel = Mail(tmp_path)
    (tmp_path / "resume-application.email.html.liquid").write_text('<a href="{{ link }}">go</a>')
    one = action(traits={"first_name": "Änn"}, params={"page": 2}, link=Link("/apply?form=card", "2"))

    async def main() -> None:
        async with channel.up():
            sink = channel.sink()
            await sink.start(Context())
            await sink.deliver(one, one.action_id)
            await sink.close()

    asyncio.run(main())
    (mail,) = channel.messages
    assert mail["Message-ID"] == f"<{one.action_id}@bank.example>"
    assert str(mail["From"]) == "The Bank <no-reply@bank.example>"
    assert mail["Subject"] == "Go on, Änn"
    assert mail["List-Unsubscribe"].strip() == f"<https://bank.example/u/{one.action_id}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    text, html = (part.get_payload(decode=True).decode() for part in mail.get_payload())  # type: ignore[union-attr]
    url = next(word for word in text.split() if word.startswith("https://"))
    assert url.startswith("https://bank.example/apply?form=card&resume=")
    assert url.replace("&", "&amp;") in html
    token = parse_qs(urlsplit(url).query)["resume"][0]
    assert links().read(token, one.proposed_at).position == "2"


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("ann@example.org", "ann@example.org"),
        (" ann@exämple.org ", "ann@xn--exmple-cua.org"),
        ("ann@example.org>\r\nRCPT TO:<eve@example.org", None),
        ("ann", None),
        ("a b@example.org", None),
        ("änn@example.org", None),
        ("ann@eve@example.org", None),
        ("", None),
    ],
)
def test_what_is_an_address(to: str, expected: str | None) -> None:
    """No value can add a command to the conversation with the server."""
    if expected is None:
        with pytest.raises(Refused):
            recipient_of(action(to=to))
    else:
        assert recipient_of(action(to=to)) == expected


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"username": "u"}, "belong together"),
        ({"username": "u", "password": "p", "tls": "none", "host": "mail.example"}, "unprotected"),
        ({"from": "nobody"}, "no address"),
        ({"unsubscribe": "http://bank.example/"}, "https"),
    ],
)
def test_unsafe_mail_settings_are_refused(fields: dict[str, str], rule: str) -> None:
    """Half a login, an unprotected password, a sender that is none."""
    base = {"type": "email", "host": "localhost", "from": "a@b.example"}
    with pytest.raises(ValidationError, match=rule):
        EmailSettings.model_validate(base | fields)


def test_a_mail_template_must_have_a_subject(tmp_path: Path) -> None:
    """Found when the sink is made, not when the first customer should have had a mail."""
    settings = EmailSettings.model_validate({"type": "email", "host": "h", "from": "a@b.example", "tls": Tls.NONE})
    with pytest.raises(TemplateError, match="Subject"):
        EmailSink(settings, written(tmp_path, "Hello"), links())


def resumable(**fields: Any) -> Action:
    """Return an action whose link resumes a form."""
    return action(**({"link": Link("/apply", "2")} | fields))


def test_a_link_is_the_same_for_the_same_action() -> None:
    """No clock is in it: a mail that is made again has the same link."""
    one = resumable()
    assert links().url(one) == links().url(one)
    assert links().url(action(link=Link("/cards"))) == "https://bank.example/cards"
    assert links().url(action()) is None


@pytest.mark.parametrize("path", ["//evil.example/x", "https://evil.example", "/\\evil.example", "/a\nb", "x"])
def test_a_link_stays_on_the_site(path: str) -> None:
    """What would lead elsewhere is no link at all."""
    assert not safe_path(path)
    assert links().url(action(link=Link(path, "2"))) is None


def test_a_token_is_read_back_until_it_expires() -> None:
    """The expiry counts from the decision: an hour here."""
    one = resumable()
    token = links().token(one)
    assert token is not None
    found = links().read(token, one.proposed_at + 3_599_999)
    assert (found.profile, found.path, found.position, found.instance) == (
        "customer:c1",
        "/apply",
        "2",
        one.instance_id,
    )
    with pytest.raises(ExpiredLink) as expired:
        links().read(token, one.proposed_at + 3_600_000)
    assert expired.value.expires == one.proposed_at + 3_600_000


def test_no_changed_token_is_accepted() -> None:
    """Every single changed character, another secret, another use of the secret, and nonsense."""
    token = links().token(resumable())
    assert token is not None
    for index, old in enumerate(token):
        changed = token[:index] + ("A" if old != "A" else "B") + token[index + 1 :]
        try:
            links().read(changed, 0)
        except TamperedLink:
            continue
        # The last character of base64 may hold bits that mean nothing.
        assert index == len(token) - 1
    for bad in ("", ".", "x" * 5000, URLSafeSerializer("another-secret-entirely", salt="polku.resume.1").dumps([1])):
        with pytest.raises(TamperedLink):
            links().read(str(bad), 0)
    with pytest.raises(TamperedLink):
        links().read(str(URLSafeSerializer(SECRET, salt="other").dumps(["a", "b", "c", "d", 2**52])), 0)
    with pytest.raises(TamperedLink):
        links().read(str(URLSafeSerializer(SECRET, salt="polku.resume.1").dumps({"odd": 1})), 0)


def test_secrets_can_be_replaced() -> None:
    """The first signs, all verify; a secret that is gone verifies nothing."""
    old, new = "the-former-secret-1", "the-newer-secret-22"
    before, during, after = (Links("https://b.example", keys, 60) for keys in ([old], [new, old], [new]))
    token, fresh = before.token(resumable()), during.token(resumable())
    assert token is not None
    assert fresh is not None
    assert during.read(token, 0).path == after.read(fresh, 0).path == "/apply"
    with pytest.raises(TamperedLink):
        after.read(token, 0)
    with pytest.raises(ValueError, match="16 characters"):
        Links("https://b.example", ["short"], 60)


def test_a_link_is_for_its_customer() -> None:
    """Followed by an identifier that another customer holds it is refused; a merged customer is the same."""
    token = links().token(resumable())
    assert token is not None
    holders = {"device:a": "customer:c1", "device:b": "customer:c2", "customer:c0": "customer:c1"}

    def resolve(identifier: str) -> str:
        return holders.get(identifier, identifier)

    for visitor in ("device:a", "device:unknown", "customer:c1", "customer:c0"):
        assert links().read(token, 0, visitor, resolve).path == "/apply"
    for visitor in ("device:b", "customer:c2"):
        with pytest.raises(OthersLink):
            links().read(token, 0, visitor, resolve)


def test_a_webhook_as_it_arrives(tmp_path: Path) -> None:
    """The action, its link and its text as JSON, under its id, signed as Standard Webhooks says."""
    channel = Hook(tmp_path)
    (tmp_path / "resume-application.webhook.liquid").write_text("Go on: {{ link }}")
    one = action(link=Link("/apply", "2"), traceparent="00-1-2-03")

    async def main() -> None:
        async with channel.up():
            sink = channel.sink()
            await sink.start(Context())
            await sink.deliver(one, one.action_id)
            await sink.close()

    asyncio.run(main())
    ((headers, body),) = channel.requests
    sent = json.loads(body)
    assert sent["type"] == "action.send_reminder"
    assert sent["data"]["to"] == "ann@example.org"
    assert sent["data"]["link"] == {"path": "/apply", "position": "2", "url": links().url(one)}
    assert sent["data"]["message"] == {"text": f"Go on: {links().url(one)}"}
    assert headers["Idempotency-Key"] == headers["webhook-id"] == one.action_id
    assert headers["traceparent"] == "00-1-2-03"
    signed = f"{one.action_id}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SIGNING.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"


@pytest.mark.parametrize("given", ["7", "date"])
def test_a_webhooks_retry_after_reaches_the_runtime(tmp_path: Path, given: str) -> None:
    """In seconds or as a date, for one action and for the whole channel."""
    channel = Hook(tmp_path)
    channel.retry_after = (
        format_datetime(datetime.now(UTC).replace(microsecond=0), usegmt=True) if given == "date" else "7"
    )

    async def main() -> None:
        async with channel.up():
            sink = channel.sink()
            await sink.start(Context())
            for mood, kind in ((Mood.BUSY, Retry), (Mood.DOWN, Unavailable)):
                channel.moods = [mood]
                with pytest.raises(kind) as found:
                    await sink.deliver(action(), "k")
                assert isinstance(found.value, Retry | Unavailable)
                assert found.value.retry_after == (0 if given == "date" else 7)
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("3", 3),
        ("-1", 0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 20),
    ],
)
def test_retry_after_in_all_its_forms(value: str | None, expected: float | None) -> None:
    """Seconds or a date; nonsense is no wish."""
    assert retry_after(value, 40.0) == expected


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None), (204, None), (301, "Refused"), (400, "Refused"), (401, "Unavailable"), (404, "Refused"),
        (409, "Retry"), (429, "Unavailable"), (500, "Retry"), (502, "Uncertain"), (503, "Unavailable"),
        (504, "Uncertain"),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int, kind: str | None) -> None:
    """Each status by the table in the sink's docstring."""
    found = judge(status, None)
    assert (None if found is None else type(found).__name__) == kind
