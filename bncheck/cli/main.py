"""The command ``bncheck``: its subcommands, error messages and exit codes."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
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

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; for an interruption click would write an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise click.Abort from interrupt

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run the command line; click's own error handling would exit with 1 for invalid options."""
        command: Callable[[], Any] = partial(super().main, *args, standalone_mode=False, **options)
        if not standalone_mode:
            return command()
        stdio.configure_encoding_fallback()
        with signals.handle_signals():
            sys.exit(_run_and_get_exit_code(command))


def _run_and_get_exit_code(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code; every exception becomes a message."""
    try:
        code = int(command() or ExitCode.PASS)
        if sys.stdout is not None:  # None: the parent closed stdout
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - Python would exit with 1, which means that a check did not pass
        code = _get_exit_code(error)
        with suppress(OSError):  # nobody reads stderr
            _write_message(error)
    if signals.received_signals and code in (ExitCode.INTERRUPTED, ExitCode.COULD_NOT_RUN):
        return 128 + signals.received_signals[0]
    return code


def _get_exit_code(error: BaseException) -> ExitCode:
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    # click exits if the reader of a help text closed the pipe.
    return ExitCode.PASS if isinstance(error, SystemExit) else ExitCode.COULD_NOT_RUN


def _write_message(error: BaseException) -> None:
    """Write the message of an exception to stderr."""
    if isinstance(error, OSError | SystemExit):
        stdio.redirect_stdout_to_devnull()
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    elif isinstance(error, click.Abort | KeyboardInterrupt):
        click.echo("Interrupted before any result.", err=True)
    elif message := _expected_message(error):
        stdio.write_message(f"Error: {message}")
    elif signals.received_signals:
        click.echo("Interrupted.", err=True)  # some compiled code turns KeyboardInterrupt into another exception
    elif not isinstance(error, SystemExit):
        import traceback  # noqa: PLC0415 - only needed for an internal error

        stdio.write_message("".join(traceback.format_exception(error)))
        click.echo("Error: internal error in bncheck, not in the code under test; please report it", err=True)


def _expected_message(error: BaseException) -> str:
    """Return the message of an exception that is not an internal error; the text is empty for one that is."""
    if isinstance(error, click.ClickException):
        return _format_click_error(error)
    if isinstance(error, BncheckError):
        return to_option_spelling(str(error))
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller --N, --D or --H"
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return ""


def _describe_os_error(error: OSError) -> str:
    """Return the message of an error that the place where it occurred did not describe."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"the system refused an operation on {error.filename!r}: {reason}"
    try:
        os.getcwd()
    except OSError as lost:
        return f"the working directory cannot be used ({lost.strerror}); change to another one"
    return f"the system refused an operation: {reason}"


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
