"""The checker's own proof: known mistakes are caught and named, right code passes, small errors are seen."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from bncheck.checking.check import check
from bncheck.errors import InvalidInput
from bncheck.execution.pool import block_sigint_in_children, create_process_pool, one_thread_each
from bncheck.mistakes import CATALOGUE, LAYER_ONLY, SIDE_EFFECTS, Mistake
from bncheck.mistakes.injected import FaultyNetwork, faulty_layers
from bncheck.model import network
from bncheck.model.document import CHECK_SCHEMA, jsonable
from bncheck.model.layers import Array
from bncheck.model.options import GRADIENTS
from bncheck.model.problem import FloatArray, Problem, random_problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import Verdict

# For each problem that every mistake is planted in, as many right ones and as many small errors.
FALSE_ALARM_TRIALS, SENSITIVITY_TRIALS = 40, 4
# Planted errors, in terms of the resolution that the check claims, and where they are planted.
ERROR_SIZES = (0.1, 0.3, 1.0, 3.0, 10.0)
ERROR_REGIONS = ("every entry", "one column", "one entry")
# From here on an error must be seen wherever it is.
MUST_DETECT_FROM = 10.0

# Of right code: its name, the verdict, and the command that makes the problem if it is a false alarm.
FalseAlarmRecord: TypeAlias = tuple[str, Verdict, str | None]

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
class InjectionResult:
    """A mistake, planted in random problems."""

    code: str
    name: str
    problems: int
    detected: int
    identified: int  # its code came first
    identified_as: tuple[str, ...]  # what came first elsewhere: codes, or "?" for none
    undetectable_because: str  # why it cannot be caught; empty for most

    @classmethod
    def of(cls, mistake: Mistake, identified_as: Sequence[str | None]) -> "InjectionResult":
        """Return the outcome of a mistake, from what it was taken for on each problem."""
        detected = [code for code in identified_as if code is not None]
        others = tuple(code for code in detected if code != mistake.code)
        named = len(detected) - len(others)
        return cls(
            mistake.code, mistake.text.name, len(identified_as), len(detected), named, others, mistake.undetectable_because
        )  # fmt: skip

    @property
    def passed(self) -> bool:
        """Whether it was caught and named everywhere, or cannot be and was not."""
        return not self.detected if self.undetectable_because else self.identified == self.problems


@dataclass(frozen=True, slots=True)
class FalseAlarmTrial:
    """An implementation that is right, on random problems over the hard regimes."""

    name: str
    problems: int
    inconclusive: int
    false_alarms: tuple[str, ...]  # commands that make the problems it fails on


@dataclass(frozen=True, slots=True)
class SensitivityTrial:
    """Errors of one size and place, planted in right gradients."""

    size: float  # in terms of the resolution claimed
    place: str
    planted: int
    seen: int

    @property
    def must_be_detected(self) -> bool:
        """Whether it is so large that one which is missed is a failure."""
        return self.size >= MUST_DETECT_FROM


@dataclass(frozen=True, slots=True)
class SelftestResult:
    """What the selftest found."""

    mistakes: tuple[InjectionResult, ...]
    right: tuple[FalseAlarmTrial, ...]
    small: tuple[SensitivityTrial, ...]
    resolution: float  # the median that was claimed where these were planted
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every mistake was caught, no right code failed, and nothing was missed that had to be seen.

        A mistake that is caught and not named first is told, but is no failure by itself.
        """
        missed = any(o.detected < o.problems for o in self.mistakes if not o.undetectable_because)
        alarmed = any(r.false_alarms for r in self.right) or any(
            o.detected for o in self.mistakes if o.undetectable_because
        )
        return not (missed or alarmed or any(s.seen < s.planted for s in self.small if s.must_be_detected))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON document."""
        return {"schema": CHECK_SCHEMA, "passed": self.passed, **jsonable(asdict(self))}


class PerturbedReference:
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
    parts = [(m.code, seed) for m in CATALOGUE for seed in range(problems)]
    parts += [("right", seed) for seed in range(FALSE_ALARM_TRIALS * problems)]
    parts += [("small", seed) for seed in range(SENSITIVITY_TRIALS * problems)]
    found: dict[str, list[Any]] = {}
    for done, ((kind, _), part) in enumerate(zip(parts, _each(parts, jobs), strict=True), 1):
        found.setdefault(kind, []).append(part)
        progress(done, len(parts))
    return _collect_results(found, started)


def smoke() -> SelftestResult:
    """Do the smallest selftest: one mistake of each kind, and right code on a few unlike problems."""
    started = time.perf_counter()
    first = {m.section: m.code for m in reversed(CATALOGUE)}
    found: dict[str, list[Any]] = {code: [_planted(code, 0)] for code in reversed(first.values())}
    found["right"] = [
        _right(random_problem(*shape, seed=seed, **unusual), ("reference",), must_pass=True)
        for seed, (shape, unusual) in enumerate(SMOKE_PROBLEMS)
    ]
    return _collect_results(found, started)


def _each(parts: Sequence[tuple[str, int]], jobs: int) -> Iterator[Any]:
    if jobs == 1:
        yield from map(_part, parts)
        return
    with one_thread_each():
        executor = create_process_pool(jobs)
        try:
            with block_sigint_in_children():  # the workers are started as the parts are handed out
                found = executor.map(_part, parts, chunksize=4)
            yield from found
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _part(part: tuple[str, int]) -> Any:
    kind, seed = part
    if kind == "right":
        return _right(hard_problem(seed), ("reference", "staged", "foreign"))
    return _small(seed) if kind == "small" else _planted(kind, seed)


def _collect_results(found: Mapping[str, list[Any]], started: float) -> SelftestResult:
    """Put together what was found part by part."""
    small = found.get("small", [])
    counts = sum((Counter(seen) for _, seen in small), Counter[tuple[float, str]]())
    planted = len(GRADIENTS) * len(small)
    by_name: dict[str, list[FalseAlarmRecord]] = {}
    for one in (one for several in found["right"] for one in several):
        by_name.setdefault(one[0], []).append(one)
    return SelftestResult(
        mistakes=tuple(InjectionResult.of(m, found[m.code]) for m in CATALOGUE if m.code in found),
        right=tuple(
            FalseAlarmTrial(
                name,
                len(checked),
                sum(verdict is Verdict.INCONCLUSIVE for _, verdict, _ in checked),
                tuple(alarm for _, _, alarm in checked if alarm),
            )
            for name, checked in by_name.items()
        ),
        small=tuple(
            SensitivityTrial(*at, planted, counts[at]) for at in itertools.product(ERROR_SIZES, ERROR_REGIONS) if small
        ),
        resolution=float(np.median([resolution for resolution, _ in small])) if small else math.nan,
        seconds=time.perf_counter() - started,
    )


def _planted(code: str, seed: int) -> str | None:
    """Plant a mistake in one problem; return what it is taken for, "?" for nothing, or None if it is missed."""
    mistake = next(m for m in CATALOGUE if m.code == code)
    target = faulty_layers(mistake) if code in LAYER_ONLY else FaultyNetwork(mistake)
    result = check(plain_problem(seed), target, minimal_example=False)
    codes = [d.code or "?" for d in result.diagnosis] or ["?"]
    detected = code in codes if code in SIDE_EFFECTS else result.verdict is Verdict.FAIL
    return codes[0] if detected else None


def _right(problem: Problem, names: Iterable[str], *, must_pass: bool = False) -> list[FalseAlarmRecord]:
    """Try right code on one problem; ``foreign`` is a network that bncheck does not know to be its own."""
    found = []
    for name in names:
        target: Any = FaultyNetwork(Mistake("", "", {})) if name == "foreign" else name
        result = check(problem, target, edge_cases=False, explain=False)
        wrong = result.verdict is Verdict.FAIL or (must_pass and result.verdict is not Verdict.PASS)
        again = result.options.command(problem, "reference" if name == "foreign" else name)
        found.append((name, result.verdict, again if wrong else None))
    return found


def _small(seed: int) -> tuple[float, dict[tuple[float, str], int]]:
    """Plant errors in all gradients of a problem at once, each judged by itself; count those seen."""
    problem, rng = plain_problem(seed), np.random.default_rng([seed, 9])
    gradients = check(problem).gradients
    seen = {}
    for place in ERROR_REGIONS:
        share = {name: g.resolution * g.term_size * _where(place, g.term_size, rng) for name, g in gradients.items()}
        for size in ERROR_SIZES:
            target = PerturbedReference({name: size * error for name, error in share.items()})
            result = check(problem, target, edge_cases=False, explain=False)
            seen[size, place] = sum(g.verdict is Verdict.FAIL for g in result.gradients.values())
    return float(np.median([g.resolution for g in gradients.values()])), seen


def _where(place: str, size: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return 1 where an error is planted, and 0 elsewhere: in entries that have terms at all."""
    where = np.ones(size.shape)
    if place != ERROR_REGIONS[0]:
        chosen = rng.choice(np.flatnonzero(size))
        where = (np.arange(size.size) == chosen).astype(float).reshape(size.shape)
        if place == ERROR_REGIONS[1] and size.ndim == 2:
            where = np.broadcast_to(where.max(axis=0), size.shape)
    return where
