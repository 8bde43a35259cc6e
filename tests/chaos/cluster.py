"""A broker of the schedules' own, and a line to it for each worker that can be cut or slowed.

Clients connect to whatever a listener advertises; so each line has a listener of its own, which advertises the line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from streams.devbroker import free_port
from tests.chaos.network import Line, Network, Weather
from tests.support.kafka import KafkaProcess

LINES = 3
# One machine with little memory and few threads for each of the listeners; compiled quickly rather than well.
JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
PROPERTIES = """
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=BROKER://127.0.0.1:{port}{advertised}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
num.network.threads=2
# A broker that was killed may register again once its session is over.
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
# What a schedule's workers leave open must not outlive it.
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
log.segment.delete.delay.ms=1000
"""


class Cluster:
    """A broker at `broker.bootstrap`, and `lines` to it."""

    def __init__(self, folder: Path) -> None:
        self.network = Network()
        self._folder = folder
        self.lines: list[Line] = []
        self.broker = KafkaProcess(folder, heap="512m")

    def bootstrap(self, line: Line) -> str:
        """The address of the broker by way of a line."""
        return f"127.0.0.1:{line.port}"

    def weather(self, line: Line, weather: Weather, delay: tuple[float, float] = (0.0, 0.0)) -> None:
        """Let another weather begin on a line."""
        self.network.change(line, weather, delay)

    def mend(self) -> None:
        """Let all lines be fine."""
        for line in self.lines:
            self.weather(line, Weather.FINE)

    def __enter__(self) -> Self:
        self.network.__enter__()
        ports = [free_port() for _ in range(LINES)]
        self.lines = [self.network.line(port) for port in ports]
        names = [f"LINE{number}" for number in range(LINES)]
        broker = KafkaProcess(self._folder, heap="512m", java=JAVA)
        broker.properties = PROPERTIES.format(
            port=broker.port,
            controller=broker.controller_port,
            listeners="".join(f",{name}://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)),
            advertised="".join(
                f",{name}://127.0.0.1:{line.port}" for name, line in zip(names, self.lines, strict=True)
            ),
            protocols="".join(f",{name}:PLAINTEXT" for name in names),
        )
        self.broker = broker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.broker.stop()
        self.network.__exit__()
