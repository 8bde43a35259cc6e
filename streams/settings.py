"""Settings of a worker: environment variables `POLKU_<NAME>`, each with a default that suits one machine."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.identifiers import CUSTOMER, DEFAULT_KINDS

if TYPE_CHECKING:
    import ssl


_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class Guarantee(StrEnum):
    """What a crash may repeat: nothing, or what has the same id and the same bytes."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class StoreKind(StrEnum):
    """Where a worker keeps its copy of the profiles; the changelog topic is the truth for both."""

    MEMORY = "memory"
    ROCKSDB = "rocksdb"


class SecurityProtocol(StrEnum):
    """How a connection to the brokers is protected."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class Settings(BaseSettings):
    """All of a worker's settings; `Settings()` reads the environment."""

    model_config = SettingsConfigDict(env_prefix="POLKU_", frozen=True, extra="ignore")

    # Brokers
    bootstrap: str = Field("127.0.0.1:9092", description="Kafka brokers, comma-separated")
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    schema_registry: str | None = Field(None, description="URL of a Confluent-compatible schema registry")

    # Names
    group: str = Field("polku", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="consumer group of the workers")
    prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,60}$", description="what every topic's name begins with")

    # Processes
    processes: Annotated[int, Field(ge=1, le=256)] = Field(1, description="members of one worker, under a supervisor")
    instance: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,150}$",
        description="this worker's name in the group: restarted within the session timeout it gets its partitions back",
    )
    leave_on_stop: bool = Field(
        default=False, description="with an instance: leave the group when stopped, so that others serve at once"
    )

    standbys: Annotated[int, Field(ge=0, le=10)] = Field(
        0, description="other members that keep a warm copy of each journal partition"
    )

    # Shape: used when topics are created, and checked at every start
    touchpoints_partitions: Annotated[int, Field(ge=1, le=1000)] = 4
    outcomes_partitions: Annotated[int, Field(ge=1, le=1000)] = 4
    journal_partitions: Annotated[int, Field(ge=1, le=1000)] = 4
    replication: Annotated[int, Field(ge=-1)] = Field(-1, description="-1: what the brokers default to")
    identifier_kinds: Annotated[tuple[str, ...], NoDecode] = DEFAULT_KINDS

    # Promises
    guarantee: Guarantee = Guarantee.EXACTLY_ONCE
    clock: Annotated[str, Field(pattern=r"^(log|records)$")] = "log"
    definitions: Path | None = Field(None, description="folder of definitions published at start")
    decisions: bool = Field(
        True, description="write why something was sent or not to `decisions`; off, `polku explain` still computes it"
    )
    mark_interval: Annotated[float, Field(gt=0, le=10)] = Field(1.0, description="seconds between two marks")
    mark_grace: Annotated[float, Field(ge=0, le=60)] = Field(1.0, description="seconds a mark stays behind the clock")

    # Sizes
    max_poll_records: Annotated[int, Field(ge=1)] = 20_000
    max_transaction_records: Annotated[int, Field(ge=1)] = 50_000
    max_transaction_age: Annotated[float, Field(gt=0, le=60)] = Field(
        5.0, description="seconds a backlog is gathered into one transaction; without one, none is waited for"
    )
    # The engine's own limits (half a megabyte handed over, states) assume no less.
    max_message_bytes: Annotated[int, Field(ge=1_000_000)] = 1_000_000

    # Waiting, in seconds
    session_timeout: Annotated[float, Field(gt=0)] = 6.0
    heartbeat_interval: Annotated[float, Field(gt=0)] = 1.0
    transaction_timeout: Annotated[float, Field(gt=0)] = 10.0
    fetch_wait: Annotated[float, Field(gt=0)] = 0.5
    stop_timeout: Annotated[float, Field(gt=0)] = 20.0

    transactions_per_second: Annotated[float, Field(ge=0)] = Field(
        300, description="transactions a worker begins per second at most, its tasks in turn; 0: without a limit"
    )
    transactions_at_once: Annotated[int, Field(ge=0)] = Field(
        4, description="transactions of a worker under way together; 0: as many as it has tasks"
    )

    # Local state
    store: StoreKind = StoreKind.ROCKSDB
    data_dir: Path = Path("var/polku")
    cache_mb: Annotated[int, Field(ge=1)] = Field(128, description="memory for decoded profiles, of all partitions")

    # Health and metrics; loopback unless said otherwise, None: off
    web_host: str = "127.0.0.1"
    web_port: Annotated[int, Field(ge=0, le=65535)] | None = 8086

    log_level: Annotated[str, Field(pattern=r"^(debug|info|warning|error)$")] = "warning"

    @field_validator("identifier_kinds", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("identifier_kinds")
    @classmethod
    def _kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if CUSTOMER not in value or len(set(value)) != len(value) or not all(map(_KIND.fullmatch, value)):
            raise ValueError("must be different words such as customer,device,email; 'customer' must be among them")
        return value

    @property
    def exactly_once(self) -> bool:
        """True with Kafka transactions."""
        return self.guarantee is Guarantee.EXACTLY_ONCE

    def environment(self) -> dict[str, str]:
        """Return the environment variables that give another process what is set here, None excepted."""
        return {
            f"POLKU_{name.upper()}": _written(value)
            for name in sorted(self.model_fields_set)
            if (value := getattr(self, name)) is not None
        }

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, None without TLS."""
        if self.security_protocol not in (SecurityProtocol.SSL, SecurityProtocol.SASL_SSL):
            return None
        import ssl  # noqa: PLC0415 - only installations with TLS pay for it

        return ssl.create_default_context(cafile=str(self.ssl_cafile) if self.ssl_cafile else None)

    def aiokafka(self) -> dict[str, Any]:
        """Return what every aiokafka client needs to connect."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self.security_protocol.value,
            "ssl_context": self.ssl_context(),
        }
        if self.sasl_username is not None and self.sasl_password is not None:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        return options

    def librdkafka(self) -> dict[str, Any]:
        """Return what every confluent-kafka client needs to connect."""
        options: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security_protocol.value,
        }
        if self.ssl_cafile is not None:
            options["ssl.ca.location"] = str(self.ssl_cafile)
        if self.sasl_username is not None and self.sasl_password is not None:
            options |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password.get_secret_value(),
            }
        return options


def _written(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def worker_name() -> str:
    """Return a name for this process that logs can be told apart by."""
    return f"{os.uname().nodename}-{os.getpid()}"
