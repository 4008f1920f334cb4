"""How a command ends: its exit code, and one line on stderr where something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import IntEnum

from imle_opt_solvers.errors import ImleOptError

__all__ = ["ExitCode", "end_of", "say"]


class ExitCode(IntEnum):
    """What the process tells its caller."""

    OK = 0
    MISSED = 1
    """A threshold is missed, or a required solver does not answer."""
    BAD_INPUT = 2
    BUG = 3
    INTERRUPTED = 130


def say(kind: str, message: str) -> None:
    """Print one line on stderr, whatever line breaks the message has."""
    sys.stdout.flush()
    print(f"{kind}: {' '.join(message.split())}", file=sys.stderr)


def end_of(command: Callable[[], ExitCode], model: str | None = None) -> ExitCode:
    """Run a command; turn errors of the input into one line and exit code 2.

    Args:
        command: what to run.
        model: the MODEL argument, whose own Python code may fail while it solves.
    """
    try:
        return command()
    except ImleOptError as error:
        say("error", str(error))
        return ExitCode.BAD_INPUT
    except KeyboardInterrupt:
        say("interrupted", "nothing was written.")
        return ExitCode.INTERRUPTED
    except Exception as error:
        from imle_opt.model_spec import failure_in_model

        failure = None if model is None else failure_in_model(model, error)
        if failure is None:
            raise
        say("error", str(failure))
        return ExitCode.BAD_INPUT
