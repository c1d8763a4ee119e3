"""Recognition of code that is correct for one batch size, or one number of features or units, alone."""

from collections.abc import Iterable
from typing import NamedTuple


class Sizes(NamedTuple):
    """The sizes of a problem."""

    N: int  # samples
    D: int  # features
    H: int  # units


# The two sizes that a discriminating problem takes from here are small and differ from the main problem's.
SMALL_SIZES, OTHER_SMALL_SIZES = Sizes(7, 5, 4), Sizes(11, 9, 8)
# With a single other size that fails, the size is not established as the cause.
MIN_FAILING_SIZES = 2


def only_correct_at(main: Sizes, edge_cases: Iterable[tuple[Sizes, bool]]) -> str:
    """State that code is correct for one size only, if the edge cases establish that.

    A size is the cause if every edge case with another value of it fails, and no edge case with the same value does.
    Without an edge case that shares a size with the main problem several sizes qualify; then all of them are
    named. ``discriminating_sizes`` gives problems that decide.

    Parameters
    ----------
    main : Sizes
        The sizes of the main problem, on which nothing fails.
    edge_cases : iterable of (Sizes, bool)
        The sizes of each edge case, and whether a gradient or an output is wrong there or the code raises.

    Returns
    -------
    str
        A sentence, such as "correct only for N = 64: every edge case with another N fails"; empty if the edge cases
        establish nothing of the kind.
    """
    outcomes = list(edge_cases)
    causes = []
    for axis, name in enumerate(Sizes._fields):
        others = {sizes[axis]: failed for sizes, failed in outcomes if sizes[axis] != main[axis]}
        consistent = all(failed == (sizes[axis] != main[axis]) for sizes, failed in outcomes)
        if consistent and len(others) >= MIN_FAILING_SIZES:
            causes.append(name)
    if not causes:
        return ""
    values = [f"{name} = {getattr(main, name)}" for name in causes]
    if len(causes) == 1:
        return f"correct only for {values[0]}: every edge case with another {causes[0]} fails"
    return f"correct only for {', '.join(values[:-1])} or {values[-1]}: every edge case has other sizes and fails"


def discriminating_sizes(main: Sizes) -> tuple[Sizes, ...]:
    """Return sizes of small problems that share N, D and H in turn with a problem, and nothing else.

    Code that fails on every edge case passes only on the one that shares the size it depends on.

    Parameters
    ----------
    main : Sizes
        The sizes of the main problem.

    Returns
    -------
    tuple of Sizes
        Three of them.
    """
    replacement = (
        small if small != size else other
        for size, small, other in zip(main, SMALL_SIZES, OTHER_SMALL_SIZES, strict=True)
    )
    small = Sizes(*replacement)
    return small._replace(N=main.N), small._replace(D=main.D), small._replace(H=main.H)
