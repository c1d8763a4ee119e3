"""Checks of several targets on one problem: reports, summary, exit code."""

from collections.abc import Sequence
from typing import Any

from bncheck.checking.check import check
from bncheck.checking.run_check import InterruptedCheck
from bncheck.cli import stdio
from bncheck.cli.command import ExitCode
from bncheck.cli.output import Output
from bncheck.cli.progress import ProgressDisplay
from bncheck.errors import TargetEnded, TargetError
from bncheck.model.options import to_option_spelling
from bncheck.model.problem import Problem
from bncheck.model.results import CheckResult
from bncheck.model.verdict import Verdict
from bncheck.render import check_sentences as sentences
from bncheck.render.check_report import CheckReport
from bncheck.render.summary import RunFailure, Summary, TargetSummary


def check_targets(
    names: Sequence[str], problem: Problem, format_: str, save: Sequence[str], *, strict: bool, brief: bool = False,
    show_output: bool = False, **options: Any,
) -> ExitCode:  # fmt: skip
    """Check targets one after another, show a report for each and, if there are several, a summary.

    Parameters
    ----------
    names : sequence of str
        The targets, patterns expanded.
    problem : Problem
        The problem on which they are checked.
    format_ : str
        The format on stdout.
    save : sequence of str
        Files for the reports.
    strict : bool
        Whether a pass with unchecked functions exits with 1.
    brief : bool, default False
        Write one line for a target that passed, and no summary.
    show_output : bool, default False
        Write what the code under test printed to stderr.
    **options
        Options of ``check``.

    Returns
    -------
    ExitCode
        The exit code of all targets if it is the same, otherwise NOT_PASSED.
    """
    summaries, codes = list[TargetSummary](), set[ExitCode]()
    with Output(format_, save, several=len(names) > 1, brief=brief) as output:
        try:
            for number, name in enumerate(names):
                try:
                    with ProgressDisplay("entries") as progress:
                        result = check(problem, name, **options, progress=progress.update)
                except KeyboardInterrupt as interrupt:
                    if isinstance(interrupt, InterruptedCheck) and show_output:
                        _show_output(interrupt.result.printed)
                    _report_interruption(interrupt, names[number:], output, summaries)
                    return ExitCode.INTERRUPTED
                except TargetError as error:
                    _show_output(error.printed if show_output else "")
                    # Other messages quote the code under test, which may use the same names.
                    message = to_option_spelling(str(error)) if isinstance(error, TargetEnded) else str(error)
                    failure = RunFailure(name, message)
                    stdio.write_message(f"Error: {failure.message}")
                    output.show(failure, on_stderr=True)
                    summaries.append(TargetSummary.could_not_run(name))
                    codes.add(ExitCode.COULD_NOT_RUN)
                else:
                    _show_output(result.printed if show_output else "")
                    output.show(CheckReport(result))
                    summaries.append(TargetSummary.from_result(name, result))
                    codes.add(_exit_code(name, result, strict))
        finally:
            if summaries and len(names) > 1 and not brief:
                output.show(Summary(summaries))
    # If a target could not run, a pass of the others is not a pass of all.
    return codes.pop() if len(codes) == 1 else ExitCode.NOT_PASSED


def _show_output(printed: str) -> None:
    """Write what the code under test printed to stderr."""
    if printed:
        stdio.write_message(printed.rstrip("\n"))


def _exit_code(name: str, result: CheckResult, strict: bool) -> ExitCode:
    """Return the exit code of a check; print the reason if a pass does not exit with 0."""
    if result.verdict is Verdict.FAIL:
        return ExitCode.NOT_PASSED
    if result.incomplete:
        stdio.write_message(f"{sentences.INCOMPLETE}: {name}: {sentences.missing(result)}")
        return ExitCode.COULD_NOT_RUN
    if strict and result.not_checked:
        functions = ", ".join(dict.fromkeys(item.function for item in result.not_checked))
        stdio.write_message(f"Not checked, which --strict does not allow: {name}: {functions}")
        return ExitCode.NOT_PASSED
    return ExitCode.from_passed(result.verdict is Verdict.PASS)


def _report_interruption(
    interrupt: KeyboardInterrupt, names: Sequence[str], output: Output, summaries: list[TargetSummary]
) -> None:
    """Show the partial result of the first of the remaining targets, if there is one, and list the unchecked ones."""
    message = "Interrupted" if summaries else "Interrupted before any result"
    if isinstance(interrupt, InterruptedCheck):
        output.show(CheckReport(interrupt.result))
        summaries.append(TargetSummary.from_result(names[0], interrupt.result))
        message, names = str(interrupt).capitalize(), names[1:]
    unchecked = f"; not checked: {', '.join(names)}" if names and summaries else ""
    for name in names if summaries else ():
        output.show(RunFailure(name, "not checked (interrupted)"), on_stderr=True)
        summaries.append(TargetSummary.could_not_run(name))
    stdio.write_message(f"{message}{unchecked}.")
