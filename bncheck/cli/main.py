"""The group of commands, and how every run of it ends: one sentence and an exit code."""

import os
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import click

import bncheck
from bncheck.cli import signals, stdio
from bncheck.cli.exit_codes import ExitCode
from bncheck.errors import BncheckError

# The commands, and the module that each is in: imported when it is asked for.
COMMANDS = {
    "run": "run",
    "sweep": "sweep",
    "report": "sweep",
    "smoke": "selftest",
    "selftest": "selftest",
    "derive": "derive",
    "explain": "explain",
    "template": "template",
}

AMBIGUOUS_EPS = "--eps could mean either: --bn-eps is batch norm's constant, --step the finite-difference step"


class CLI(click.Group):
    """A click group that says what went wrong in one line, and exits by ``ExitCode``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"bncheck.cli.{COMMANDS[cmd_name]}"), cmd_name)
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; click's own ending would exit 1 for what is no wrong gradient."""
        command: Callable[[], Any] = partial(super().main, *args, **{**options, "standalone_mode": False})
        if not options.get("standalone_mode", True):
            return command()
        stdio.configure_encoding_fallback()
        with signals.handle_signals():
            sys.exit(_run_and_get_exit_code(command))


def _run_and_get_exit_code(command: Callable[[], Any]) -> int:  # noqa: PLR0911 - one return for each way in which a run can end
    """Run a command and return its exit code, whatever happens in it."""
    try:
        code = command()
        if sys.stdout is not None:  # closed before we came
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.COULD_NOT_RUN
    except click.ClickException as error:
        return _refuse(_format_click_error(error))
    except BncheckError as error:
        return _refuse(_use_option_spelling(str(error)))
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted: nothing was judged.", err=True)
        code = ExitCode.INTERRUPTED
    except MemoryError:
        return _refuse("the memory ran out; take smaller sizes")
    except SystemExit:
        # click's answer to a reader that closed the pipe on a help text.
        stdio.redirect_stdout_to_devnull()
        return ExitCode.PASS
    except OSError as error:
        stdio.redirect_stdout_to_devnull()
        return _refuse(f"cannot write the result: {os.strerror(error.errno or 0)}")
    except Exception:  # noqa: BLE001 - a crash must not exit 1, which says that a gradient is wrong
        if not signals.received_signals:
            import traceback  # noqa: PLC0415 - there is seldom one

            traceback.print_exc()
            return _refuse("this is a bug in bncheck, not in the code under test")
        click.echo("Interrupted.", err=True)  # some compiled code turns the interruption into an error of its own
        code = ExitCode.INTERRUPTED
    if code == ExitCode.INTERRUPTED and signal.SIGTERM in signals.received_signals:
        return ExitCode.TERMINATED
    return int(code or ExitCode.PASS)


def _refuse(sentence: str) -> ExitCode:
    click.echo(f"Error: {sentence}", err=True)
    return ExitCode.COULD_NOT_RUN


def _format_click_error(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--eps", "--epsilon"):
        return AMBIGUOUS_EPS
    return " ".join(error.format_message().split())


def _use_option_spelling(sentence: str) -> str:
    """Write bn_eps, the name in Python, as --bn-eps, the name on the command line."""
    from bncheck.model.options import to_option_spelling  # noqa: PLC0415 - imports numpy, only needed after an error

    return re.sub(r"\b(bn|x)_(eps|mean|std)\b", r"--\1-\2", to_option_spelling(sentence))


@click.group(
    cls=CLI,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    help="Check the backward pass of affine, batch norm and ReLU against finite differences.",
    epilog=(
        "Exit codes: 0 everything passed; 1 something is wrong, or the check was inconclusive; "
        "2 no answer (bad usage, or the code did not run)."
    ),
)
@click.version_option(bncheck.__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Every command is a file beside this one."""
