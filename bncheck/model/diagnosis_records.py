"""Records that explain a failed check: the diagnosis, the wrong part, and a minimal example."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """The coefficients of the three terms of dx in a wrong gradient; all of them are 1 in the correct one."""

    direct: float | None  # coefficient of g / sigma; None: it differs between units
    mean: float | None  # coefficient of -mean(g) / sigma
    variance: float | None  # coefficient of -xhat mean(g xhat) / sigma
    unexplained: float  # ||gradient - combination of the terms|| / ||gradient||; 0 if exact
    exact: bool  # whether the combination gives the gradient up to rounding
    labels: tuple[str, str, str]  # names of the three coefficients: "1", "0.7", "1/N", "1/sigma"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """An error of the target: a known mistake that matches, or a description if none does."""

    code: str | None  # "BN204"; None: no known mistake matches
    name: str | None  # "variance-term-missing"; None like the code
    function: str | None  # the layer function with the error; None: a whole network, or the target in general
    gradient: str | None  # "dX", "dx", or the output's "a" or "out"; None: the error is not in a single array
    # ||a - c|| / ||c|| with c the values that the mistake gives, or relative to its terms if these nearly cancel;
    # None: no known mistake
    relative_distance: float | None = None
    message: str = ""  # what the mistake is, from the catalogue
    also_explains: tuple[str, ...] = ()  # other wrong gradients that the mistake gives
    alternatives: tuple[str, ...] = ()  # codes of mistakes that give the same result on every problem tried
    terms: Terms | None = None  # None: unknown, all correct, or not part of the explanation
    description: tuple[str, ...] = ()  # clauses about the error, without a final period


@dataclass(frozen=True, slots=True)
class Identity:
    """An exact relation between correct gradients."""

    formula: str  # such as "sum dx = 0"
    satisfied: bool  # whether the returned gradients satisfy it, up to rounding


@dataclass(frozen=True, slots=True)
class WrongPart:
    """The first wrong step of a backward pass; information that does not affect the verdict."""

    function: str | None  # the backward function; None for a network
    part: str  # such as "the variance term"
    identities: tuple[Identity, ...]  # empty: the forward pass is not batch norm
    taylor_order: (
        float | None
    )  # power of t with which L(p + t v) - L(p) - t <g, v> decreases, correct is 2; None: unknown


@dataclass(frozen=True, slots=True)
class MinimalExample:
    """The smallest random problem found on which the same error occurs."""

    N: int  # samples
    D: int  # features
    H: int  # units
    seed: int
    reproduce: str | None  # the command that checks it; None for a target given in Python
