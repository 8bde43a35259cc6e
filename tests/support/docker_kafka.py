"""Apache Kafka in a Docker container, with the settings of deploy/kafka/server.properties."""

from __future__ import annotations

from string import Template

from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from streams.devbroker import free_port
from tests.support.kafka import CONFIG, READY_WITHIN, STORAGE_ID, KafkaFailed, KafkaMissing, wait_until_ready


def environment(port: int) -> dict[str, str]:
    """Return server.properties as the environment variables that the apache/kafka image turns back into properties.

    Clients reach the container through the published port, so the listeners are open inside and the advertised one
    is on loopback.
    """
    text = Template((CONFIG / "server.properties").read_text()).substitute(
        port=port,
        controller_port=port + 1,
        data="/tmp/kafka",
    )
    pairs = (line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    settings = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in pairs}
    settings["KAFKA_LISTENERS"] = f"BROKER://0.0.0.0:{port},CONTROLLER://127.0.0.1:{port + 1}"
    settings["CLUSTER_ID"] = STORAGE_ID
    return settings


class DockerKafka:
    """A container with one broker on a loopback port."""

    def __init__(self, container: DockerContainer, bootstrap: str) -> None:
        """Keep a container that runs."""
        self.bootstrap = bootstrap
        self._container = container

    def stop(self) -> None:
        """Remove the container and its data."""
        self._container.stop()

    def wait(self) -> int:
        """Wait until the broker ends by itself and return its exit code."""
        return int(self._container.get_wrapped_container().wait()["StatusCode"])


def start(version: str, port: int | None = None) -> DockerKafka:
    """Start a container and wait until its broker answers.

    Pulls the image the first time; raises `KafkaMissing` when that fails, and `KafkaFailed` when the broker does.
    """
    port = port or free_port()
    container = DockerContainer(f"apache/kafka:{version}").with_bind_ports(port, port)
    for name, value in environment(port).items():
        container.with_env(name, value)
    try:
        container.start()
    except DockerException as error:
        raise KafkaMissing(f"Docker could not start apache/kafka:{version}: {error}") from error
    kafka = DockerKafka(container, f"127.0.0.1:{port}")
    try:
        wait_until_ready(kafka.bootstrap, READY_WITHIN)
    except KafkaFailed:
        kafka.stop()
        raise
    return kafka
