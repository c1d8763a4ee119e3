"""The table of one check, and what stands under it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import Box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bncheck.render.spelling import spell
from bncheck.results import CheckResult, Entry, ForwardResult, GradientResult, Verdict

# Everything stands in the columns 3 to 78 of at least 80.
INDENT, WIDTH, GAP = 2, 76, 2

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.INCONCLUSIVE: "yellow"}

# A rule under the headings, and nothing else.
RULE = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
ASCII_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)

# The relative error that people have learnt to stay below ...
FAMILIAR = 1e-7
# ... and the share of a gradient's largest entry under which one is called nearly 0.
NEARLY_ZERO = 1e-2

# The gradient nearest to the loss that fails is told in full: the others may follow from it.
FROM_THE_LOSS = ("dbeta", "dgamma", "dh", "db", "dW", "dX")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """A check as a person reads it: header, table, the sentence, then the machinery."""

    result: CheckResult

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the report out for a stream's width and encoding."""
        page = _Page(self.result, options.ascii_only, min(WIDTH, options.max_width - INDENT))
        blocks = (page.header(), page.table(), page.findings(), page.machinery())
        for block in blocks:
            yield Padding(Constrain(block, page.width), (0, 0, 0, INDENT), expand=False)
            yield Text()


@dataclass(frozen=True, slots=True)
class _Page:
    result: CheckResult
    ascii_only: bool
    width: int

    def text(self, words: str, style: str = "") -> Text:
        return Text(spell(words, ascii_only=self.ascii_only), style=style)

    def header(self) -> Table:
        r, p = self.result, self.result.problem
        settings = [f"N {p.N}", f"D {p.D}", f"H {p.H}", f"eps {p.bn_eps:g}"]
        if p.seed is not None:
            settings.append(f"seed {p.seed}")
        which = "every entry" if r.method.sample is None else f"{r.method.sample:,} entries each"
        against = f"{_measured(r.method.scheme)} {which}"
        method = f"{r.target.name}, {r.target.dtype}, against {against}"
        unusual = [
            f"{name} {value:g}"
            for name, value, usual in (("x-mean", p.x_mean, 0), ("x-std", p.x_std, 1))
            if value is not None and value != usual
        ]
        if r.method.step != "auto":
            unusual.append(f"step {r.method.step:g}")
        if r.method.engine != "local":
            unusual.append(f"engine {r.method.engine}")
        grid = Table.grid()
        grid.add_column(overflow="fold")
        title = Table.grid(expand=True)
        title.width = self.width
        title.add_column()
        title.add_column(justify="right")
        title.add_row(
            self.text("affine → batch norm → ReLU", "bold"), self.text("   ".join(settings))
        )
        grid.add_row(title)
        grid.add_row(self.text(method))
        if unusual:
            grid.add_row(self.text("   ".join(unusual)))
        return grid

    def table(self) -> Table:
        r = self.result
        failed = any(g.wrong for g in r.gradients.values())
        headings = ["", "checked" if r.checked < r.entries else "entries"]
        headings += ["wrong", "max rel."] if failed else ["max rel.", "norm rel."]
        headings += ["of tolerance", "resolution", "verdict"]
        rows = [
            [self.text(part.name), *self.forward_cells(part, failed), self.verdict(part.verdict)]
            for part in r.forward
            if part.verdict is not Verdict.PASS
        ]
        rows += [
            [self.text(g.name), *self.gradient_cells(g, failed), self.verdict(g.verdict)]
            for g in r.gradients.values()
        ]
        table = Table(
            box=ASCII_RULE if self.ascii_only else RULE,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            header_style="bold",
        )
        widths = [max(map(len, column)) for column in zip(map(Text, headings), *rows, strict=True)]
        # The names take what is left, so that the rule is as wide as the page.
        widths[0] = max(6, self.width - sum(widths[1:]) - GAP * (len(widths) - 1))
        for number, (heading, width) in enumerate(zip(headings, widths, strict=True)):
            left = number in (0, len(headings) - 1)
            table.add_column(heading, justify="left" if left else "right", min_width=width)
        for row in rows:
            table.add_row(*row)
        return table

    def forward_cells(self, part: ForwardResult, failed: bool) -> list[Text]:
        relative = _relative(part.max_relative_error)
        cells = ["", relative] if failed else [relative, ""]
        return [self.text(cell) for cell in (f"{self.result.kinks.outputs:,}", *cells, "", "")]

    def gradient_cells(self, g: GradientResult, failed: bool) -> list[Text]:
        if not g.checked:
            return [self.text(cell) for cell in ("0", "-", "-", "-", "-")]
        exact = g.zero and not g.wrong
        largest, norm = (
            "zero" if exact else _relative(error)
            for error in (g.max_relative_error, g.norm_relative_error)
        )
        cells = [f"{g.wrong:,}", largest] if failed else [largest, norm]
        cells = [f"{g.checked:,}", *cells, _times(g.of_tolerance), _relative(g.resolution)]
        return [self.text(cell) for cell in cells]

    def verdict(self, verdict: Verdict) -> Text:
        word = "FAIL" if verdict is Verdict.FAIL else verdict.value
        return self.text(word, STYLES[verdict])

    def findings(self) -> Table:
        grid = _two_columns()
        verdict = self.result.verdict
        word = self.text(verdict.value.upper(), STYLES[verdict])
        sentences = {
            Verdict.PASS: self.on_pass,
            Verdict.INCONCLUSIVE: self.on_inconclusive,
            Verdict.FAIL: self.on_fail,
        }[verdict]()
        for number, sentence in enumerate(sentences):
            grid.add_row(word if number == 0 else "", sentence)
        return grid

    def on_pass(self) -> Iterable[Text]:
        r = self.result
        rule = "their error bars" if not r.method.usual_rule else "the tolerance that was asked for"
        sampled = "" if r.checked == r.entries else ", drawn at random,"
        yield self.text(f"{r.checked:,} of {r.entries:,} entries{sampled} agree within {rule}.")
        yield self.text(f"A term wrong by {r.resolution:.1e} of itself would have been seen.")

    def on_inconclusive(self) -> Iterable[Text]:
        r = self.result
        if r.interrupted:
            yield self.text(
                f"Interrupted: {r.checked:,} of {r.entries:,} entries were checked, none is wrong; "
                "the others are not known."
            )
            return
        yield self.text(Verdict.INCONCLUSIVE.meaning)
        if r.audit is not None and not r.audit.agrees:
            yield self.text(
                "The local engine and whole forward passes disagree, so its numbers cannot be "
                "relied on: run again with --engine full."
            )
        by_reason: dict[str, list[str]] = {}
        for g in r.gradients.values():
            for reason in g.reasons:
                by_reason.setdefault(reason, []).append(g.name)
        for reason, names in by_reason.items():
            if len(names) == len(r.gradients):
                yield self.text(f"{reason[0].upper()}{reason[1:]}.")
            else:
                yield self.text(f"{', '.join(names)}: {reason}.")

    def on_fail(self) -> Iterable[Text | Table]:
        r = self.result
        for part in r.forward:
            if part.note:
                yield self.text(f"forward: {part.note}.")
        failing = [g for g in r.gradients.values() if g.wrong]
        for g in failing:
            yield self.text(f"{g.name}: {_census(g)}.")
            for reason in g.reasons:
                yield self.text(f"{reason}.")
        if r.interrupted:
            yield self.text(f"Interrupted after {r.checked:,} of {r.entries:,} entries.")
        told = min(failing, key=lambda g: FROM_THE_LOSS.index(g.name), default=None)
        if told is not None and not told.reasons:
            yield Text()
            yield self.entries(told)

    def entries(self, g: GradientResult) -> Table:
        grid = Table.grid(padding=(0, 3, 0, 0))
        entries = ([g.worst] if g.worst else []) + list(g.next_worst)
        for number, entry in enumerate(entries):
            label = "worst entry" if number == 0 else "next"
            analytic, numerical = _aligned(entry)
            grid.add_row(self.text(label), self.text(_place(g, entry)))
            grid.add_row(self.text("  analytic"), self.text(analytic))
            grid.add_row(
                self.text("  numerical"), self.text(f"{numerical} ± {entry.tolerance:.1e}")
            )
        return grid

    def machinery(self) -> Table:
        r = self.result
        grid = _two_columns(width=9)
        for label, sentence in (
            ("max rel.", _max_relative(r)),
            ("kinks", _kinks(r)),
            ("audit", _audit(r)),
            *(("remark", remark.text) for remark in r.remarks),
        ):
            if sentence:
                grid.add_row(label, self.text(sentence), style="dim")
        seconds = f"{r.seconds:.2f} s"
        if r.reproduce:
            lines = _broken(r.reproduce, self.width - 11)
            # The time stands at the end of the command's line where there is room.
            if len(lines) == 1 and len(lines[0]) + len(seconds) + 13 <= self.width:
                lines[0] += seconds.rjust(self.width - 11 - len(lines[0]))
                seconds = ""
            grid.add_row("again", self.text("\n".join(lines)), style="dim")
        if seconds:
            grid.add_row("time", seconds, style="dim")
        return grid


def _two_columns(width: int | None = None) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, width=width)
    grid.add_column(overflow="fold")
    return grid


def _measured(scheme: str) -> str:
    return "the complex step at" if scheme == "complex" else f"{scheme} differences of"


def _relative(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else str(value)


def _times(share: float) -> str:
    """Write |a - n| / tolerance: as per cent while it is small, as a factor where it is not."""
    if not math.isfinite(share):
        return str(share)
    if share >= 10:
        return f"{share:,.0f} ×" if share < 1e5 else f"{share:.1e} ×"
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _place(g: GradientResult, entry: Entry) -> str:
    return f"{g.name}[{', '.join(map(str, entry.index))}]"


def _aligned(entry: Entry) -> tuple[str, str]:
    """Write both values with as many digits, the points under one another."""
    values = (entry.analytic, entry.numerical)
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    plain = largest == 0 or 1e-3 <= largest < 1e6
    written = [f"{v:.10f}" if plain else f"{v:.10e}" for v in values]
    width = max(map(len, written))
    return written[0].rjust(width), written[1].rjust(width)


def _census(g: GradientResult) -> str:
    """Say how many of how many entries are wrong, and where."""
    many = f"{g.wrong:,} of {g.checked:,} entries are wrong"
    if g.wrong == 1:
        many = f"1 of {g.checked:,} entries is wrong"
    if g.wrong == g.checked:
        return f"all {g.checked:,} entries are wrong"
    if g.numerical.ndim == 1:
        return f"{many}: {_listed(g.columns, 'unit')}"
    N, H = g.numerical.shape
    rows = "" if len(g.rows) == N else _listed(g.rows, "row")
    columns = "" if len(g.columns) == H else _listed(g.columns, "column")
    where = " and ".join(filter(None, (rows, columns)))
    return f"{many}, in {where or 'every row and every column'}"


def _listed(indices: Sequence[int], noun: str) -> str:
    """Name a few indices, runs as ranges: rows 3, 60-63; many are counted."""
    runs: list[list[int]] = []
    for i in indices:
        if runs and i == runs[-1][-1] + 1:
            runs[-1][1:] = [i]
        else:
            runs.append([i])
    if len(runs) > 4:
        return f"{len(indices):,} {noun}s"
    names = ", ".join("-".join(map(str, run)) for run in runs)
    return f"{noun}{'' if len(indices) == 1 else 's'} {names}"


def _max_relative(r: CheckResult) -> str:
    """Answer whoever learnt "below 1e-7" before they ask: where the largest relative error is."""
    live = [g for g in r.gradients.values() if g.largest_relative and not g.zero and not g.wrong]
    if not live or r.verdict is Verdict.FAIL:
        return ""
    g = max(live, key=lambda g: g.max_relative_error)
    entry = g.largest_relative
    if entry is None or not g.max_relative_error > FAMILIAR:
        return ""
    small = abs(entry.numerical) < NEARLY_ZERO * np.nanmax(np.abs(g.numerical))
    nearly = ", nearly 0" if small else ""
    return f"largest at {_place(g, entry)} = {entry.numerical:.1e}{nearly} (not judged)"


def _kinks(r: CheckResult) -> str:
    k = r.kinks
    dead = f"{k.dead_units:,} of {r.problem.H:,} units have no active output left"
    units = dead if k.dead_units else "every unit is active somewhere"
    return f"{k.guarded:,} of {k.outputs:,} outputs guarded; {units}"


def _audit(r: CheckResult) -> str:
    if r.audit is None:
        return ""
    if not r.audit.agrees:
        return (
            f"{r.audit.entries} entries by whole forward passes: off by {r.audit.of_bar:.1f} bars"
        )
    within = f"within {_times(r.audit.of_bar)} of the bar" if r.audit.of_bar else "to the last bit"
    return f"{r.audit.entries} entries by whole forward passes agree {within}"


def _broken(command: str, width: int) -> list[str]:
    r"""Break a command between options so that it can still be pasted: lines end in a ``\``."""
    lines = [""]
    for word in command.split(" --"):
        piece = word if not lines[0] else f"--{word}"
        if lines[-1] and len(lines[-1]) + len(piece) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"  {piece}")
        else:
            lines[-1] += f" {piece}" if lines[-1] else piece
    return lines
