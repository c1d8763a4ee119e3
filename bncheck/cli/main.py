"""The command ``bncheck``: its subcommands, error messages and exit codes."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import click

from bncheck.cli import signals, stdio
from bncheck.cli.command import ExitCode
from bncheck.errors import BncheckError
from bncheck.model.options import to_option_spelling
from bncheck.model.version import __version__

# The commands; each is in the module of its name, which is imported when it is needed.
COMMANDS = ("run", "sweep", "report", "smoke", "selftest", "derive", "explain", "guide", "template")

AMBIGUOUS_EPS = "--eps is ambiguous; use --bn-eps (constant in batch norm) or --step (finite-difference step)"


class CLI(click.Group):
    """A click group that imports a command when it is needed, writes one-line errors and exits with an ``ExitCode``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"bncheck.cli.{cmd_name}"), cmd_name)
        return command

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run the command line; click's own error handling would exit with 1 for invalid options."""
        command: Callable[[], Any] = partial(super().main, *args, standalone_mode=False, **options)
        if not standalone_mode:
            return command()
        stdio.configure_encoding_fallback()
        with signals.handle_signals():
            sys.exit(_run_and_get_exit_code(command))


def _run_and_get_exit_code(command: Callable[[], Any]) -> int:  # noqa: PLR0911 - a command ends in this many ways
    """Run a command and return its exit code; every exception becomes a message."""
    try:
        code = command()
        if sys.stdout is not None:  # None: the parent closed stdout
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.COULD_NOT_RUN
    except click.ClickException as error:
        return _report_error(_format_click_error(error))
    except BncheckError as error:
        return _report_error(to_option_spelling(str(error)))
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted before any result.", err=True)
        code = ExitCode.INTERRUPTED
    except MemoryError:
        return _report_error("out of memory; use a smaller --N, --D or --H")
    except SystemExit:
        # click exits if the reader of a help text closed the pipe.
        stdio.redirect_stdout_to_devnull()
        return ExitCode.PASS
    except OSError as error:
        stdio.redirect_stdout_to_devnull()
        return _report_error(f"cannot write the result: {os.strerror(error.errno or 0)}")
    except Exception:  # noqa: BLE001 - an internal error must not exit with 1, which means that a check did not pass
        if not signals.received_signals:
            import traceback  # noqa: PLC0415 - only needed for an internal error

            stdio.write_message(traceback.format_exc())
            return _report_error("internal error in bncheck, not in the code under test; please report it")
        click.echo("Interrupted.", err=True)  # some compiled code turns KeyboardInterrupt into another exception
        code = ExitCode.INTERRUPTED
    if code == ExitCode.INTERRUPTED and signal.SIGTERM in signals.received_signals:
        return ExitCode.TERMINATED
    return int(code or ExitCode.PASS)


def _report_error(message: str) -> ExitCode:
    stdio.write_message(f"Error: {message}")
    return ExitCode.COULD_NOT_RUN


def _format_click_error(error: click.ClickException) -> str:
    """Return the message of click on one line."""
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--eps", "--epsilon"):
        return AMBIGUOUS_EPS
    return " ".join(error.format_message().split())


@click.group(
    cls=CLI,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    help="Check the backward pass of affine, batch norm and ReLU against finite differences.",
    epilog=(
        "Exit codes: 0 all checks passed; 1 a check failed or was inconclusive; 2 a check could not run (invalid "
        "options, or the code under test did not load)."
    ),
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Run a subcommand, each in a module of this package."""
