"""The command line, `imle-opt`.

Exit codes: 0; 1 where a threshold is missed or a required solver does not answer; 2 for bad input, with one
line on stderr that says what is wrong and how to mend it; 3 for a bug in imle-opt, with a traceback; 130 when
interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; None: those of the process.
    """
    from imle_opt.cli.app import run

    return run(arguments)
