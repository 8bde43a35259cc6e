"""The program `polku`: one command a noun or verb of the work, each with examples in its help."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from streams import (
    commands_definitions,
    commands_draw,
    commands_explain,
    commands_kafka,
    commands_live,
    commands_next,
    commands_run,
)
from streams.dlq import ReplayError
from streams.journaldump import DumpError
from streams.publish import PublishError
from streams.records import TopicUnreachable
from streams.terminal import UsageError, err

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="polku",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Customer-journey orchestration on Kafka: exact, explainable, fast.",
)
commands_run.register(app)
commands_definitions.register(app)
commands_draw.register(app)
commands_explain.register(app)
commands_next.register(app)
commands_live.register(app)
commands_kafka.register(app)

# What a person did or what is not there: said in a line, never with a traceback.
_EXPECTED = (UsageError, DumpError, PublishError, TopicUnreachable, ReplayError)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program. Exit code 0: success; 1: it ran and failed; 2: wrong usage or input."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="polku", standalone_mode=True)
    except _EXPECTED as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # the last resort: a person sees a line; who mends it asks for the rest
        if os.environ.get("POLKU_LOG_LEVEL") == "debug":
            raise
        told = f"{type(error).__name__}: {error}; a defect of Polku's: POLKU_LOG_LEVEL=debug shows where"
        err.print(f"[bold red]error:[/] {escape(told)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
