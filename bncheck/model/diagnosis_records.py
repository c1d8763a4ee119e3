"""The frozen records of what is wrong: the diagnosis, where it departs, and the smallest problem that shows it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """A gradient's coefficients on the three terms of dx; right is 1, 1, 1."""

    direct: float | None  # of g / sigma; None where it differs from unit to unit
    mean: float | None  # of -mean g / sigma
    variance: float | None  # of -xhat mean(g xhat) / sigma
    unexplained: float  # the share of the gradient that they do not give
    exact: bool  # they give all of it, but for rounding
    labels: tuple[str, str, str]  # each by its name: "1", "0.7", "1/N", "1/sigma"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong: a mistake of the catalogue, or where none matches a description."""

    code: str | None  # "BN204"; None: nothing in the catalogue matches
    name: str | None
    function: str | None  # of a course file; None for a whole network
    gradient: str | None  # "dX", "dx", or the output's "out"; None for a matter of conduct
    relative_distance: float | None = (
        None  # ||a - c|| / ||c||, c what the mistake would give (of its terms if c is tiny)
    )
    message: str = ""  # the catalogue's, in a line
    also_explains: tuple[str, ...] = ()  # other gradients of the function that it explains
    alternatives: tuple[str, ...] = ()  # other codes that match as well: no problem tried tells them apart
    terms: Terms | None = None
    description: tuple[str, ...] = ()  # sentences about what was found


@dataclass(frozen=True, slots=True)
class Identity:
    """An exact identity between right gradients, and whether those found keep it."""

    formula: str
    satisfied: bool


@dataclass(frozen=True, slots=True)
class WrongPart:
    """Where a backward pass departs from the right one; shown, never judged by."""

    function: str | None
    part: str
    identities: tuple[Identity, ...]
    taylor_order: float | None  # the power of t with which L(p + t v) - L(p) - t <g, v> falls; right is 2


@dataclass(frozen=True, slots=True)
class MinimalExample:
    """The smallest problem found on which the same gradient is still wrong."""

    N: int
    D: int
    H: int
    seed: int
    reproduce: str | None
