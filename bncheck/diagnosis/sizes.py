"""Recognition of code that is correct only for one batch size, or for one number of features or units."""

from collections.abc import Sequence
from typing import NamedTuple


class Sizes(NamedTuple):
    """The sizes of a problem."""

    N: int  # samples
    D: int  # features
    H: int  # units


# A discriminating problem has one size of the main problem, and two small sizes that differ from the main problem's.
SMALL_SIZES, OTHER_SMALL_SIZES = Sizes(7, 5, 4), Sizes(11, 9, 8)
# With a single other size that fails, the size is not established as the cause.
MIN_FAILING_SIZES = 2


def only_correct_at(main: Sizes, edge_cases: Sequence[tuple[Sizes, bool]]) -> str:
    """State that code is correct for one size only, if the edge cases establish that.

    A size is the cause if every edge case with another value of this size fails, and no edge case with the same value
    fails. If no edge case has a size in common with the main problem, several sizes qualify and all of them are named;
    the problems of ``discriminating_sizes`` then decide.

    Parameters
    ----------
    main : Sizes
        The sizes of the main problem, on which nothing fails.
    edge_cases : sequence of (Sizes, bool)
        The sizes of each edge case, and whether the code fails there: it returns a wrong array, or raises.

    Returns
    -------
    str
        Such as "correct only for N = 64: every edge case with another N fails"; empty if the edge cases do not
        establish that a size is the cause.
    """
    causes = []
    for axis, name in enumerate(Sizes._fields):
        others = {sizes[axis] for sizes, _ in edge_cases} - {main[axis]}
        is_consistent = all(failed == (sizes[axis] != main[axis]) for sizes, failed in edge_cases)
        if is_consistent and len(others) >= MIN_FAILING_SIZES:
            causes.append(name)
    if not causes:
        return ""
    values = [f"{name} = {getattr(main, name)}" for name in causes]
    if len(causes) == 1:
        return f"correct only for {values[0]}: every edge case with another {causes[0]} fails"
    return f"correct only for {', '.join(values[:-1])} or {values[-1]}: every edge case has other sizes and fails"


def discriminating_sizes(main: Sizes) -> tuple[Sizes, ...]:
    """Return the sizes of three small problems, each of which has one of N, D and H in common with a problem.

    Code that is correct for one size only passes on the problem with that size.

    Parameters
    ----------
    main : Sizes
        The sizes of the main problem.

    Returns
    -------
    tuple of Sizes
        The sizes of the problems with the same N, the same D and the same H.
    """
    choices = zip(main, SMALL_SIZES, OTHER_SMALL_SIZES, strict=True)
    small = Sizes(*(first if first != size else second for size, first, second in choices))
    return small._replace(N=main.N), small._replace(D=main.D), small._replace(H=main.H)
