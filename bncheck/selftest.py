"""The checker's own proof: known mistakes are caught and named, right code passes, small errors are seen."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck import network
from bncheck.check import check
from bncheck.errors import InvalidInput
from bncheck.layers import Array
from bncheck.mistakes import CATALOGUE, CONDUCT, OF_A_LAYER, Mistake
from bncheck.mistakes.planted import Planted, planted_in_layers
from bncheck.problem import FloatArray, Problem, random_problem
from bncheck.progress import Progress, silent
from bncheck.results import SCHEMA, CheckResult, Verdict, as_json
from bncheck.sweep import one_thread_each, pool

# For each problem that every mistake is planted in, as many right ones and as many small errors.
RIGHT_EACH, SMALL_EACH = 40, 4
# Planted errors, in terms of the resolution that the check claims, and where they are planted.
SIZES = (0.1, 0.3, 1.0, 3.0, 10.0)
PLACES = ("every entry", "one column", "one entry")
# From here on an error must be seen wherever it is.
ALWAYS_SEEN = 10.0

# Unlike shapes and scales for smoke: (N, D, H) and what is unusual about it.
SMOKE_PROBLEMS: tuple[tuple[tuple[int, int, int], Mapping[str, Any]], ...] = (
    ((1, 3, 4), {}),
    ((2, 5, 3), {}),
    ((50, 4, 2), {}),
    ((4, 30, 20), {}),
    ((16, 10, 8), {"x_std": 1e-3}),
    ((16, 10, 8), {"bn_eps": 0.5}),
    ((16, 10, 8), {"x_mean": 100.0}),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A mistake, planted in random problems."""

    code: str
    name: str
    problems: int
    caught: int
    named: int  # its code came first
    taken_for: tuple[str, ...]  # what came first elsewhere: codes, or "?" for none
    never_seen: str  # why it cannot be caught; empty for most

    @property
    def passed(self) -> bool:
        """Whether it was caught and named everywhere, or cannot be and was not."""
        return not self.caught if self.never_seen else self.named == self.problems


@dataclass(frozen=True, slots=True)
class RightCode:
    """An implementation that is right, on random problems over the hard regimes."""

    name: str
    problems: int
    inconclusive: int
    false_alarms: tuple[str, ...]  # what it fails on: commands, or where there is none settings


@dataclass(frozen=True, slots=True)
class SmallError:
    """Errors of one size and place, planted in right gradients."""

    size: float  # in terms of the resolution claimed
    place: str
    planted: int
    seen: int


@dataclass(frozen=True, slots=True)
class SelftestResult:
    """What the selftest found."""

    mistakes: tuple[Outcome, ...]
    right: tuple[RightCode, ...]
    small: tuple[SmallError, ...]
    resolution: float  # the median that was claimed where these were planted
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every mistake was caught, no right code failed, and nothing was missed that had to be seen.

        A mistake that is caught and not named first is told, but is no failure by itself.
        """
        missed = any(o.caught < o.problems for o in self.mistakes if not o.never_seen)
        alarmed = any(r.false_alarms for r in self.right) or any(o.caught for o in self.mistakes if o.never_seen)
        return not (missed or alarmed or any(s.seen < s.planted for s in self.small if s.size >= ALWAYS_SEEN))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON document."""
        return {"schema": SCHEMA, "passed": self.passed, **as_json(self)}


class SmallErrors:
    """The network, whose right gradients get an error of some share of their terms."""

    forward = staticmethod(network.forward)

    def __init__(self, errors: Mapping[str, FloatArray]) -> None:
        self._errors = errors

    def backward(self, dout: Array, cache: network.Cache) -> dict[str, Array]:
        """Return the gradients with the errors added."""
        return {name: value + self._errors[name] for name, value in network.backward(dout, cache).items()}


def hard_problem(seed: int, largest: int = 40) -> Problem:
    """Draw N, D, H to ``largest``, x_std 1e-8..1e6, |x_mean| 0 or 1e-3..1e3, eps 1e-12..0.5."""
    rng = np.random.default_rng([seed, 7])
    N, D, H = (int(np.exp(rng.uniform(0, np.log(largest + 0.99)))) for _ in range(3))
    x_mean = 0.0 if rng.random() < 0.5 else rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 3)
    return random_problem(
        N, D, H, seed=seed, bn_eps=10 ** rng.uniform(-12, np.log10(0.5)), x_mean=x_mean, x_std=10 ** rng.uniform(-8, 6)
    )


def plain_problem(seed: int) -> Problem:
    """Draw a problem of moderate sizes and scales, as users do."""
    rng = np.random.default_rng([seed, 8])
    N, D, H = (int(size) for size in rng.integers((3, 2, 2), (17, 13, 13)))
    return random_problem(N, D, H, seed=seed, bn_eps=10 ** rng.uniform(-8, -2), x_std=10 ** rng.uniform(-1, 1))


def selftest(problems: int = 2, *, jobs: int = 1, progress: Progress = silent) -> SelftestResult:
    """Plant every mistake of the catalogue, try right code over the hard regimes, and plant small errors.

    Parameters
    ----------
    problems : int, default 2
        Random problems that each mistake is planted in; forty times as many are tried with right code.
    jobs : int, default 1
        Processes.
    progress : callable, optional
        Told how many parts are done, and of how many.

    Returns
    -------
    SelftestResult

    Raises
    ------
    InvalidInput
        ``problems`` or ``jobs`` is below 1.
    """
    for name, value in (("problems", problems), ("jobs", jobs)):
        if value < 1:
            raise InvalidInput(f"{name} is {value}; take 1 or more")
    started = time.perf_counter()
    parts: list[tuple[str, int]] = [(m.code, seed) for m in CATALOGUE for seed in range(problems)]
    parts += [("right", seed) for seed in range(RIGHT_EACH * problems)]
    parts += [("small", seed) for seed in range(SMALL_EACH * problems)]
    found = []
    for done, part in enumerate(_each(parts, jobs), 1):
        found.append(part)
        progress(done, len(parts))
    return _gathered(found, time.perf_counter() - started)


def smoke() -> SelftestResult:
    """Do the smallest selftest: one mistake of each kind, and right code on a few unlike problems."""
    started = time.perf_counter()
    first = {m.section: m.code for m in reversed(CATALOGUE)}
    found: list[Any] = [_planted(code, 0) for code in reversed(first.values())]
    for seed, (shape, unusual) in enumerate(SMOKE_PROBLEMS):
        found.append(_right(random_problem(*shape, seed=seed, **unusual), ("reference",), must_pass=True))
    return _gathered(found, time.perf_counter() - started)


def _each(parts: Sequence[tuple[str, int]], jobs: int) -> Iterator[Any]:
    if jobs == 1:
        yield from map(_part, parts)
        return
    with one_thread_each(), pool(jobs) as executor:
        try:
            yield from executor.map(_part, parts, chunksize=8)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _part(part: tuple[str, int]) -> Any:
    kind, seed = part
    if kind == "right":
        return _right(hard_problem(seed), ("reference", "staged", "foreign"))
    return _small(seed) if kind == "small" else _planted(kind, seed)


def _planted(code: str, seed: int) -> Outcome:
    """Plant a mistake in one problem."""
    mistake = next(m for m in CATALOGUE if m.code == code)
    target = planted_in_layers(mistake) if code in OF_A_LAYER else Planted(mistake)
    result = check(plain_problem(seed), target, shrink=False)
    codes = [d.code or "?" for d in result.diagnosis]
    caught = code in codes if code in CONDUCT else result.verdict is Verdict.FAIL
    named = codes[:1] == [code]
    taken = () if named or not caught else (codes[0] if codes else "?",)
    return Outcome(code, mistake.text.name, 1, int(caught), int(named), taken, mistake.never_seen)


def _right(problem: Problem, names: Iterable[str], *, must_pass: bool = False) -> list[RightCode]:
    """Try right code on one problem; ``foreign`` is a network that bncheck does not know to be its own."""
    found = []
    for name in names:
        target: Any = Planted(Mistake("", "", {})) if name == "foreign" else name
        result = check(problem, target, probes=False, explain=False)
        wrong = result.verdict is Verdict.FAIL or (must_pass and result.verdict is not Verdict.PASS)
        failed = (result.reproduce or _settings(result),) if wrong else ()
        found.append(RightCode(name, 1, int(result.verdict is Verdict.INCONCLUSIVE), failed))
    return found


def _settings(result: CheckResult) -> str:
    p = result.problem
    return f"--N {p.N} --D {p.D} --H {p.H} --seed {p.seed} --bn-eps {p.bn_eps} --x-mean {p.x_mean} --x-std {p.x_std}"


def _small(seed: int) -> tuple[float, list[SmallError]]:
    """Plant errors of every size and place in all gradients of a problem at once: each is judged by itself."""
    problem, rng = plain_problem(seed), np.random.default_rng([seed, 9])
    gradients = check(problem).gradients
    found = []
    for place in PLACES:
        share = {name: g.resolution * g.size * _where(place, g.size, rng) for name, g in gradients.items()}
        for size in SIZES:
            target = SmallErrors({name: size * error for name, error in share.items()})
            result = check(problem, target, probes=False, explain=False)
            seen = sum(g.verdict is Verdict.FAIL for g in result.gradients.values())
            found.append(SmallError(size, place, len(gradients), seen))
    return float(np.median([g.resolution for g in gradients.values()])), found


def _where(place: str, size: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return 1 where an error is planted, and 0 elsewhere: in entries that have terms at all."""
    where = np.ones(size.shape)
    if place != PLACES[0]:
        chosen = rng.choice(np.flatnonzero(size))
        where = (np.arange(size.size) == chosen).astype(float).reshape(size.shape)
        if place == PLACES[1] and size.ndim == 2:
            where = np.broadcast_to(where.max(axis=0), size.shape)
    return where


def _gathered(found: Iterable[Any], seconds: float) -> SelftestResult:
    """Put together what was found part by part."""
    mistakes: dict[str, Outcome] = {}
    right: dict[str, RightCode] = {}
    small: dict[tuple[float, str], SmallError] = {}
    resolutions: list[float] = []
    for part in found:
        if isinstance(part, Outcome):
            o = mistakes.get(part.code, Outcome(part.code, part.name, 0, 0, 0, (), part.never_seen))
            mistakes[part.code] = Outcome(
                o.code, o.name, o.problems + 1, o.caught + part.caught, o.named + part.named,
                o.taken_for + part.taken_for, o.never_seen,
            )  # fmt: skip
        elif isinstance(part, list):
            for new in part:
                r = right.get(new.name, RightCode(new.name, 0, 0, ()))
                alarms = r.false_alarms + new.false_alarms
                right[new.name] = RightCode(r.name, r.problems + 1, r.inconclusive + new.inconclusive, alarms)
        else:
            resolution, errors = part
            resolutions.append(resolution)
            for e in errors:
                s = small.get((e.size, e.place), SmallError(e.size, e.place, 0, 0))
                small[e.size, e.place] = SmallError(e.size, e.place, s.planted + e.planted, s.seen + e.seen)
    median = float(np.median(resolutions)) if resolutions else float("nan")
    return SelftestResult(
        tuple(mistakes.values()), tuple(right.values()), tuple(small.values()), median, seconds
    )  # fmt: skip
