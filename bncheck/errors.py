"""The exceptions that bncheck raises; each message shows the value and says what to do."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class BncheckError(Exception):
    """The base of every exception that bncheck raises on purpose."""


class InvalidInput(BncheckError, ValueError):
    """A value that cannot be used."""


class TargetError(BncheckError):
    """The code under test did not load, lacks a required function, raised, or exceeded a limit.

    Attributes
    ----------
    printed : str
        What the code under test printed, if it runs in a child process; at most 1 MB.
    """

    printed = ""


class TargetEnded(TargetError):
    """The process of the code under test has ended; it answers nothing any more."""


class LimitExceeded(TargetEnded):
    """The process of the code under test was terminated because it exceeded a limit of bncheck."""


class NotImplementedYet(TargetError):
    """A function of the code under test returned None: it is not implemented yet."""


@contextmanager
def explain_os_error(action: str) -> Iterator[None]:
    """Raise InvalidInput for an OSError, for example "cannot write report.html: No space left on device".

    Parameters
    ----------
    action : str
        What the system refuses: "write report.html".
    """
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"cannot {action}: {error.strerror or error}") from error


def unknown_name(kind: str, name: object, choices: Iterable[str]) -> InvalidInput:
    """Return the error for a name that is not in a list, with the nearest name of the list or the entire list.

    Parameters
    ----------
    kind : str
        What the list contains: "scheme", "gradient".
    name : object
        What was given instead.
    choices : iterable of str
        The names that exist.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - slow import, only needed for this error

    names = list(choices)
    by_lower_case = {known.lower(): known for known in names}
    near = get_close_matches(str(name).lower(), by_lower_case, 1)
    if near:
        return InvalidInput(f"unknown {kind} {name!r}; did you mean {by_lower_case[near[0]]!r}?")
    return InvalidInput(f"unknown {kind} {name!r}; choose from {', '.join(names)}")
