"""connectors.yaml: what is wrong is told with its place and the way out, and secrets are told to nobody."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connectors.config import ConfigError, load, make
from connectors.registry import SINKS
from connectors.run import run_sinks
from connectors.sinks.web import WebSettings
from streams.devbroker import free_port
from tests.connectors.support import until

ROOT = Path(__file__).parents[2]
GOOD = """\
site: https://bank.example
links:
  secrets: ["${env:LINK}"]
sinks:
  web:
    type: web
    port: 0
"""


def told(tmp_path: Path, text: str, **environ: str) -> list[str]:
    """Return the problems of a configuration as line:column: message."""
    path = tmp_path / "connectors.yaml"
    path.write_text(text)
    try:
        load(path, {"LINK": "0123456789abcdef", **environ})
    except ConfigError as error:
        return [str(problem).removeprefix(f"{path}:") for problem in error.problems]
    return []


def test_a_good_one(tmp_path: Path) -> None:
    """Nothing to say about it."""
    assert told(tmp_path, GOOD) == []


@pytest.mark.parametrize("name", ["connectors.yaml", "connectors-demo.yaml"])
def test_the_samples_are_good(name: str) -> None:
    """What we ship loads, with its templates."""
    environ = {
        "POLKU_LINK_SECRET": "0123456789abcdef", "RESUME_SECRET": "0123456789abcdef", "SITE": "http://localhost:1",
        "SMTP_PORT": "1", "WEB_PORT": "2", "SINKS_PORT": "3", "RECEIVER": "http://localhost:4",
    }  # fmt: skip
    config = load(ROOT / "seeds" / name, environ)
    assert {settings.type for settings in config.sinks.values()} == set(SINKS)
    for sink in config.sinks:
        make(config, sink)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("port: 0", "prot: 0", "7:5: sinks.web.prot is not known here: check its spelling"),
        ("port: 0", "port: 99999", "7:5: sinks.web.port: Input should be less than or equal to 65535"),
        ("type: web", "type: pigeon", "6:5: sinks.web.type must be one of email, webhook, web"),
        ("type: web", "attempts: 3", "5:3: sinks.web.type must be one of email, webhook, web"),
        ("type: web", "type: email", "5:3: sinks.web.host is missing: add it"),
        ("port: 0", "backoff: 10", "7:5: sinks.web.backoff: a duration needs a unit: write 500ms, 10s, 15m, 24h or 7d"),
        ("LINK", "ABSENT", "3:13: the environment variable ABSENT is not set: set it before the sinks start"),
        ("${env:LINK}", "${file:none}", "3:13: the file none cannot be read (FileNotFoundError)"),
        ("${env:LINK}", "short", "3:13: a link secret needs at least 16 characters"),
        ("site: https://bank.example", "site: bank.example", "1:1: site: String should match pattern"),
        ("  web:", "  Web Shop:", "5:3: 'Web Shop' is no name for a sink"),
        (
            "    port: 0",
            "  other:\n    type: web\n    channel: web",
            "7:3: channel web is delivered by sink web already",
        ),
        ("sinks:", "sinks: [", "6:9: this is not YAML"),
    ],
)
def test_what_is_wrong_and_where(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """File, line, column, the rule, the way out."""
    problems = told(tmp_path, GOOD.replace(old, new))
    assert any(problem.startswith(expected) for problem in problems), problems


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """In the order of the file."""
    problems = told(tmp_path, GOOD.replace("site", "sight").replace("port: 0", "port: x"))
    assert [problem.partition(" ")[0] for problem in problems] == ["1:1:", "1:1:", "7:5:"]


def test_secrets_come_from_files_and_stay_secret(tmp_path: Path) -> None:
    """A secret is read beside the configuration, without its line break, and no message repeats it."""
    (tmp_path / "secret").write_text("very-secret-thing-1234\n")
    assert told(tmp_path, GOOD.replace("${env:LINK}", "${file:secret}")) == []
    text = GOOD.replace("port: 0", "port: 0\n    token: '${file:secret}'")
    path = tmp_path / "connectors.yaml"
    path.write_text(text)
    config = load(path, {"LINK": "0123456789abcdef"})
    settings = config.sinks["web"]
    assert isinstance(settings, WebSettings)
    assert settings.token is not None
    assert settings.token.get_secret_value() == "very-secret-thing-1234"
    assert "very-secret" not in repr(config)
    wrong = told(tmp_path, text.replace("port: 0", "port: '${file:secret}'"))
    assert len(wrong) == 1
    assert "very-secret" not in wrong[0]


def test_all_of_it_together(tmp_path: Path, embedded_bootstrap: str, topic_prefix: str) -> None:
    """The sinks of a configuration start, say that they are ready, show metrics, and stop."""
    health, web = free_port(), free_port()
    path = tmp_path / "connectors.yaml"
    mail = "  email:\n    type: email\n    host: localhost\n    port: 1\n    from: a@b.example\n"
    path.write_text(GOOD.replace("port: 0", f"port: {web}") + mail + f"metrics:\n  port: {health}\n")
    config = load(path, {"LINK": "0123456789abcdef"})

    async def main() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=embedded_bootstrap)
        await admin.start()
        names = (
            "actions.web",
            "actions.email",
            "actions.withdrawn",
            "suppressions",
            "identities",
            "control",
            "outcomes",
            "actions.dlq",
        )
        await admin.create_topics([NewTopic(topic_prefix + name, 2, 1) for name in names])
        await admin.close()
        stop = asyncio.Event()
        task = asyncio.create_task(run_sinks(config, embedded_bootstrap, topic_prefix, stop=stop, embedded=True))
        states: dict[str, int] = {}

        async def asked(session: aiohttp.ClientSession, url: str) -> str:
            async with session.get(url) as response:
                states[url] = response.status
                return await response.text()

        async with aiohttp.ClientSession() as session:
            ready = f"http://127.0.0.1:{health}/readyz"

            async def wait() -> None:
                while states.get(ready) != 200 and not task.done():
                    with contextlib.suppress(aiohttp.ClientConnectionError):
                        await asked(session, ready)
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(wait(), 30)
            assert 'polku_sink_serving{sink="web"} 1.0' in await asked(session, f"http://127.0.0.1:{health}/metrics")
            assert "serving" in await asked(session, f"http://127.0.0.1:{health}/healthz")
            assert '"actions": []' in await asked(session, f"http://127.0.0.1:{web}/v1/web/device:d1")
        stop.set()
        await asyncio.wait_for(task, 20)
        await until(task.done)

    asyncio.run(main())
