"""Logs: silence in normal operation; one JSON line on stderr for each thing that a person would act on."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

# What the Kafka client says at each retry is said when it has lasted, and then at most this often.
LASTING_SECONDS = 5.0
QUIET_SECONDS = 30.0
# A rebalance is normal operation, and so are the warnings these libraries give about it.
# (Faust's services log under the names of the modules that subclass them; what we say ourselves goes by structlog.)
LIBRARIES = {
    "faust": logging.CRITICAL,
    "mode": logging.CRITICAL,
    "streams": logging.ERROR,
    "aiokafka": logging.ERROR,
    "asyncio": logging.ERROR,
}


class Persistent(logging.Filter):
    """Lets what a library repeats through: not the first time, since retries are normal, and then rarely."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[tuple[str, str], float] = {}
        self._until: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the trouble has lasted, and was not said lately."""
        if record.levelno >= logging.CRITICAL or not record.name.startswith("aiokafka"):
            return True
        key, now = (record.name, str(record.msg)), time.monotonic()
        first = self._first.setdefault(key, now)
        if now - first > 2 * QUIET_SECONDS and self._until.get(key, 0.0) < now - 2 * QUIET_SECONDS:
            first = self._first[key] = now  # another trouble, long after
        if now - first < LASTING_SECONDS or self._until.get(key, 0.0) > now:
            return False
        self._until[key] = now + QUIET_SECONDS
        return True


def configure(level: str = "warning", **always: Any) -> None:
    """Set up logging for a process: call once, from the program's entry. `always` stands in every line."""

    def add_always(_: Any, __: str, event: Any) -> Any:
        return event | always

    threshold = logging.getLevelName(level.upper())
    shared: list[Any] = [
        add_always,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(Persistent())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name, quietest in LIBRARIES.items():
        logging.getLogger(name).setLevel(max(quietest, threshold) if threshold > logging.DEBUG else threshold)


def get(noun: str) -> Any:
    """Return a logger whose lines carry `part=noun`."""
    return structlog.get_logger(part=noun)


def errors(noun: str) -> Callable[..., None]:
    """Return what writes an error without its traceback: the event, and what there is to know, by name."""
    logger = get(noun)

    def say(event: str, **known: Any) -> None:
        # Looked up at each line: bound earlier, it would write as before `configure`.
        logger.error(event, **known)

    return say
