"""All commands in one Typer app, and the exit status of each kind of error.

0: done. 1: the job failed, or the yard did not come up. 2: wrong usage. 3: the server cannot be
reached.
"""

from __future__ import annotations

import sys

import typer

from shared.cli import control_commands, dataset_commands, job_commands, yard_commands
from shared.cli.errors import Refused, Unreachable, Unsendable
from shared.errors import ConfigurationError, InvalidInput, TrainyardError

DONE, FAILED, WRONG_USAGE, UNREACHABLE = 0, 1, 2, 3

app = typer.Typer(
    name="trainyard",
    help="Trainyard: a self-hosted yard for TensorFlow training jobs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
yard_commands.register(app)
job_commands.register(app)
dataset_commands.register(app)
control_commands.register(app)


def run() -> int:
    """Run the command line; print errors to standard error.

    Returns:
        The exit status.
    """
    try:
        app(standalone_mode=True)
    except (ConfigurationError, InvalidInput, Refused, Unsendable) as error:
        return _complain(error, WRONG_USAGE)
    except Unreachable as error:
        return _complain(error, UNREACHABLE)
    except TrainyardError as error:
        return _complain(error, FAILED)
    return DONE


def _complain(error: TrainyardError, status: int) -> int:
    print(f"trainyard: {error}", file=sys.stderr)
    return status
