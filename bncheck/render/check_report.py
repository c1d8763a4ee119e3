"""The table of one check, and what stands under it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.model.problem import PROBLEM_DEFAULTS
from bncheck.model.results import CheckResult, EdgeCaseResult, ForwardResult, GradientResult, Verdict
from bncheck.render import format
from bncheck.render.diagnosis_report import departure, diagnosis, format_note
from bncheck.render.layout import GAP, STYLES, Command, Page, two_columns
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite
from bncheck.targets import BUILT_IN

# The gradient nearest to the loss that fails is told in full: the others may follow from it.
BACKWARD_ORDER = ("dbeta", "dgamma", "dh", "db", "dW", "dX")


# What answers the reader's question, among the lines of machinery.
HIGHLIGHTED_LABELS = ("not checked", "departs", "why", "smallest")
# Why a check in which nothing is wrong is no pass.
INCOMPLETE = "Nothing is wrong, but not everything is there"
# Columns of the labels next to these lines.
LABEL_WIDTH = 11


def _zero(g: GradientResult) -> bool:
    return g.exact_zero and not g.wrong


# What stands under a heading, for a gradient and for an output.
GRADIENT_CELLS: Mapping[str, Callable[[GradientResult], str]] = {
    "entries": lambda g: f"{g.checked:,}",
    "wrong": lambda g: f"{g.wrong:,}",
    "max rel.": lambda g: "zero" if _zero(g) else format.relative(g.max_relative_error),
    "norm rel.": lambda g: "zero" if _zero(g) else format.relative(g.norm_relative_error),
    "of tolerance": lambda g: format.format_tolerance_ratio(g.tolerance_ratio),
    "resolution": lambda g: format.relative(g.resolution),
}
FORWARD_CELLS: Mapping[str, Callable[[ForwardResult], str]] = {
    "entries": lambda f: f"{f.entries:,}",
    "wrong": lambda f: f"{f.wrong:,}",
    "max rel.": lambda f: format.relative(f.max_relative_error),
}


def _cells(item: ForwardResult | GradientResult, shown: list[str]) -> list[str]:
    if isinstance(item, ForwardResult):
        return [FORWARD_CELLS[name](item) if name in FORWARD_CELLS else "" for name in shown]
    if not item.checked:
        return ["0", *("-" for _ in shown[1:])]
    return [GRADIENT_CELLS[name](item) for name in shown]


@dataclass(frozen=True, slots=True)
class CheckReport(Report):
    """A check as a person reads it: header, table, the sentence, then the machinery."""

    result: CheckResult

    @property
    def headline(self) -> str:
        """The verdict, on what, how many entries, and what was remarked."""
        r, p = self.result, self.result.problem
        probes = f" and on {len(r.edge_cases)} edge cases" if r.edge_cases else ""
        remarks = "".join(f"; {remark.code}" for remark in r.notes)
        return (
            f"{r.verdict.value.upper()}  {r.target.name}: {r.checked:,} of {r.entries:,} entries checked "
            f"at N {p.N}, D {p.D}, H {p.H}{probes}, {r.seconds:.2f} s{remarks}"
        )

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the four parts."""
        own = _Page(page.ascii_only, page.width, self.result)
        return own.header(), own.table_of_gradients(), own.findings(), own.machinery()

    def data(self) -> Any:
        """Return the content of the document, schema "bncheck/1"."""
        return self.result.to_dict()

    def suites(self) -> Iterable[Suite]:
        """Return the problem and the probes, each with a finding for every output and gradient."""
        r, p = self.result, self.result.problem
        seed = "" if p.seed is None else f", seed {p.seed}"
        name = f"{r.target.name}, N {p.N}, D {p.D}, H {p.H}, eps {p.bn_eps:g}{seed}"
        yield Suite(name, tuple(_findings(r)), r.seconds, r.reproduce)
        for probe in r.edge_cases:
            yield Suite(
                f"{r.target.name}, edge case {probe.name}", tuple(_edge_case_items(r, probe)), reproduce=probe.reproduce
            )


def _subject(r: CheckResult, function: str | None) -> str:
    return f"{r.target.name}.{function}" if function else r.target.name


def _edge_case_items(r: CheckResult, probe: EdgeCaseResult) -> Iterator[ReportItem]:
    """Yield a finding for each gradient of a probe, and for whatever else fails there."""
    told, again = f"{probe.verdict.value} on the edge case {probe.name}", probe.reproduce or ""
    for key, g in r.gradients.items():
        fine = ReportItem(_subject(r, g.function), g.name, ItemStatus.PASS, source=g.source)
        wrong = fine._replace(outcome=ItemStatus.of(probe.verdict), message=told, detail=again)
        yield wrong if key in probe.failed else fine
    others = [what for what in probe.failed if what not in r.gradients]
    if others or (probe.verdict is not Verdict.PASS and not probe.failed):
        message = f"{told}: {', '.join(others)}" if others else told
        yield ReportItem(r.target.name, "check", ItemStatus.of(probe.verdict), message, again)


def _findings(r: CheckResult) -> Iterator[ReportItem]:
    for item in _items(r):
        whose = _subject(r, item.function)
        if isinstance(item, ForwardResult):
            yield ReportItem(
                whose, item.name, ItemStatus.of(item.verdict), item.message, r.reproduce or "", item.source
            )
        else:
            message = " ".join([*format.failures([item])] if item.wrong else item.reasons)
            detail = "" if item.verdict is Verdict.PASS else "\n".join(_evidence(r, item))
            yield ReportItem(whose, item.name, ItemStatus.of(item.verdict), message, detail, item.source)
    for note in r.unchecked_functions:
        text, outcome = note.reason.split("\n", maxsplit=1)[0], ItemStatus.of(note.verdict)
        yield ReportItem(_subject(r, note.function), "answer", outcome, text, note.reason, note.source)
    if r.incomplete:
        yield ReportItem(r.target.name, "complete", ItemStatus.ERROR, f"{INCOMPLETE}: {format.missing(r)}")
    for left_out in r.not_checked:
        yield ReportItem(_subject(r, left_out.function), "not checked", ItemStatus.SKIPPED, left_out.reason)
    if r.cross_check is not None and not r.cross_check.agrees:
        yield ReportItem(r.target.name, "audit", ItemStatus.INCONCLUSIVE, format.audit(r))
    if r.interrupted:
        told = f"interrupted after {r.checked:,} of {r.entries:,} entries"
        yield ReportItem(r.target.name, "every entry", ItemStatus.INCONCLUSIVE, told)


def _evidence(r: CheckResult, g: GradientResult) -> Iterator[str]:
    """Yield what is known of a gradient that is no pass: its name, its worst entry, what to type next."""
    for d in (d for d in r.diagnosis if d.function == g.function and g.name in (d.gradient, *d.also_explains)):
        yield f"{d.code} {d.name}: {d.message}" if d.code else f"{'; '.join(d.description)}."
    if g.wrong and g.worst:
        analytic, numerical = format.aligned(g.worst)
        yield f"{format.place(g, g.worst)}: analytic {analytic.strip()}, numerical {numerical.strip()}"
    codes = [d.code for d in r.diagnosis if d.code and d.function == g.function]
    if codes:
        yield f"bncheck explain {' '.join(codes)}"
    if r.reproduce:
        yield r.reproduce


def _items(r: CheckResult) -> Iterator[ForwardResult | GradientResult]:
    """Yield outputs and gradients, a layer's together; of a network of ours no outputs that are right."""
    for piece in dict.fromkeys(part.component for part in r.forward):
        yield from (f for f in r.forward if f.component == piece and (f.wrong or r.target.name not in BUILT_IN))
        yield from (g for g in r.gradients.values() if g.component == piece)


@dataclass(frozen=True, slots=True)
class _Page(Page):
    result: CheckResult

    def header(self) -> Table:
        r, p = self.result, self.result.problem
        features = [f"D {p.D}"] if _uses_features(r) else []
        eps = [f"eps {p.bn_eps:g}"] if _normalizes(r) else []
        settings = [f"N {p.N}", *features, f"H {p.H}", *eps]
        if p.seed is not None:
            settings.append(f"seed {p.seed}")
        title = Table.grid(expand=True)
        title.width = self.width
        title.add_column()
        title.add_column(justify="right")
        name = "affine → batch norm → ReLU" if r.target.interface == "network" else self.named()
        title.add_row(self.text(name, "bold"), self.text("   ".join(settings)))
        grid = Table.grid()
        grid.add_column(overflow="fold")
        grid.add_row(title)
        numerical = format.describe_scheme(r.options.scheme)
        if r.target.interface == "network":
            which = "every entry" if r.options.sample is None else f"{r.options.sample:,} entries each"
            grid.add_row(self.text(f"{self.named()}, against {numerical} {which}"))
        else:
            pieces = ", ".join(dict.fromkeys(part.component for part in r.forward))
            grid.add_row(self.text(f"course functions: {pieces}, against {numerical.rpartition(' ')[0]}"))
        unusual = [
            f"{name.replace('_', '-')} {getattr(p, name):g}"
            for name, usual in PROBLEM_DEFAULTS.items()
            if name != "bn_eps" and getattr(p, name) not in (None, usual)
        ]
        if r.options.step != "auto":
            unusual.append(f"step {r.options.step:g}")
        if r.options.engine != "local":
            unusual.append(f"engine {r.options.engine}")
        if unusual:
            grid.add_row(self.text("   ".join(unusual)))
        return grid

    def named(self) -> str:
        return f"{self.result.target.name}, {self.result.target.dtype}"

    def table_of_gradients(self) -> Table:
        course = self.result.target.interface == "layer-functions"
        shown = ["entries", "wrong", "max rel.", "resolution"]
        if not course:
            failed = any(g.wrong for g in self.result.gradients.values())
            shown = ["entries", *(["wrong", "max rel."] if failed else ["max rel.", "norm rel."])]
            shown += ["of tolerance", "resolution"]
        # Before a name is broken the gaps are narrowed, and then columns left out.
        for gap, left_out in (
            (GAP, ()),
            (1, ()),
            (1, ("max rel.", "norm rel.")),
            (1, ("max rel.", "norm rel.", "resolution")),
        ):
            told = [name for name in shown if name not in left_out]
            rows = list(self.rows(told, course))
            headings = self.headings(told, course)
            widths = [max(map(len, column)) for column in zip(map(Text, headings), *rows, strict=True)]
            room = self.width - sum(widths[1:]) - gap * (len(widths) - 1)
            if room >= widths[0]:
                break
        table = self.table()
        table.padding = (0, gap - 1, 0, 0)
        # The names take what is left, so that the rule is as wide as the page.
        widths[0] = max(6, room)
        left = {0, 1, len(headings) - 1} if course else {0, len(headings) - 1}
        for number, (heading, width) in enumerate(zip(headings, widths, strict=True)):
            table.add_column(
                heading,
                justify="left" if number in left else "right",
                min_width=width if number else None,
                width=None if number else width,
                overflow="fold",
            )
        for row in rows:
            table.add_row(*row)
        return table

    def headings(self, shown: list[str], course: bool) -> list[str]:
        """Return the headings; what is only a part of the entries is called checked."""
        partial = self.result.checked < self.result.entries
        told = ["checked" if partial and name == "entries" else name for name in shown]
        return [*(["function", "value"] if course else [""]), *told, "verdict"]

    def rows(self, shown: list[str], course: bool) -> Iterator[list[Text]]:
        """Yield a row per output and gradient; a function is named once."""
        r, named = self.result, ""
        for item in _items(r):
            function = item.function or ""
            name = f"{item.name} {format.shape(item.shape)}"
            names = [name] if not course else [function if function != named else "", name]
            named = function
            yield [*map(self.text, [*names, *_cells(item, shown)]), self.verdict(item.verdict)]

    def findings(self) -> Table:
        grid = two_columns()
        verdict = self.result.verdict
        word = self.text(verdict.value.upper(), STYLES[verdict])
        sentences = {
            Verdict.PASS: self.on_pass,
            Verdict.INCONCLUSIVE: self.on_inconclusive,
            Verdict.FAIL: self.on_fail,
        }[verdict]()
        for number, sentence in enumerate(sentences):
            grid.add_row(word if number == 0 else "", sentence)
        for label, told in diagnosis(self, self.result):
            grid.add_row(self.text(label, "bold"), told)
        by_loss = {name: number for number, name in enumerate(BACKWARD_ORDER)}
        failing = [g for g in self.result.gradients.values() if g.wrong]
        nearest = min(failing, key=lambda g: by_loss.get(g.name, 0), default=None)
        if nearest is not None and not nearest.reasons:
            grid.add_row("", "")
            grid.add_row("", self.entries(nearest))
        return grid

    def on_pass(self) -> Iterable[Text]:
        r = self.result
        rule = "their error bars" if not r.options.uses_allclose_rule else "the tolerance that was asked for"
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
        yield self.text(f"{INCOMPLETE}: see not checked." if r.incomplete else Verdict.INCONCLUSIVE.meaning)
        if r.cross_check is not None and not r.cross_check.agrees:
            yield self.text(
                "The local engine and whole forward passes disagree, so its numbers cannot be "
                "relied on: run again with --engine full."
            )
        by_reason: dict[str, list[str]] = {}
        for g in r.gradients.values():
            for reason in g.reasons:
                by_reason.setdefault(reason, []).append(_qualified_name(g))
        by_reason |= {part.message: [] for part in r.forward if part.message}
        by_reason |= {sentence: [] for sentence in format.failing_edge_cases(r)}
        for reason, names in by_reason.items():
            if not names or len(names) == len(r.gradients):
                yield self.text(f"{reason[0].upper()}{reason[1:]}.")
            else:
                yield self.text(f"{', '.join(names)}: {reason}.")

    def on_fail(self) -> Iterable[RenderableType]:
        r = self.result
        for part in r.forward:
            if part.message:
                when = f" {part.usage}" if part.usage else ""
                yield self.text(f"{part.function or 'forward'}: {part.message}{when}.")
        failing = [g for g in r.gradients.values() if g.wrong]
        for sentence in format.failures(failing):
            yield self.text(sentence)
        if r.interrupted:
            yield self.text(f"Interrupted after {r.checked:,} of {r.entries:,} entries.")
        for note in r.unchecked_functions:
            yield self.text(f"{note.function} {note.reason}")
        if not failing and not any(f.wrong for f in r.forward):
            yield from self.on_failing_edge_cases()

    def on_failing_edge_cases(self) -> Iterable[RenderableType]:
        r = self.result
        if not any(d.gradient is None and d.function is None and d.code is None for d in r.diagnosis):
            for sentence in format.failing_edge_cases(r):
                yield self.text(f"{sentence[0].upper()}{sentence[1:]}.")
        command = next((p.reproduce for p in r.edge_cases if p.verdict is not Verdict.PASS and p.reproduce), None)
        if command:
            yield Command(command)

    def entries(self, g: GradientResult) -> Table:
        grid = Table.grid(padding=(0, 3, 0, 0))
        entries = ([g.worst] if g.worst else []) + list(g.next_worst)
        for number, entry in enumerate(entries):
            label = "worst entry" if number == 0 else "next"
            analytic, numerical = format.aligned(entry)
            grid.add_row(
                self.text(label), self.text(format.place(g, entry) + (f" of {g.function}" if g.function else ""))
            )
            grid.add_row(self.text("  analytic"), self.text(analytic))
            grid.add_row(self.text("  numerical"), self.text(f"{numerical} ± {entry.tolerance:.1e}"))
        return grid

    def machinery(self) -> Table:
        r = self.result
        grid = two_columns(width=LABEL_WIDTH)
        for label, sentence in (
            ("not checked", format.not_checked(r)),
            ("max rel.", format.max_relative(r)),
            ("kinks", format.kinks(r)),
            ("audit", format.audit(r)),
            *(("remark", format_note(r, remark)) for remark in r.notes),
            ("edge cases", format.edge_cases(r)),
            *departure(r),
        ):
            if sentence:
                shown = sentence if isinstance(sentence, Command) else self.text(sentence)
                grid.add_row(label, shown, style="" if label in HIGHLIGHTED_LABELS else "dim")
        seconds = f"{r.seconds:.2f} s"
        if r.reproduce:
            lines = format.wrap_command(r.reproduce, self.width - LABEL_WIDTH - GAP, ascii_only=self.ascii_only)
            # The time stands at the end of the command's line where there is room.
            room = self.width - LABEL_WIDTH - GAP - len(lines[0])
            if len(lines) == 1 and room >= len(seconds) + GAP:
                grid.add_row("again", self.text(lines[0] + seconds.rjust(room)), style="dim")
                return grid
            grid.add_row("again", Command(r.reproduce), style="dim")
        grid.add_row("time", seconds, style="dim")
        return grid


def _normalizes(r: CheckResult) -> bool:
    """Tell whether a function takes eps."""
    return any(part.component in ("network", "batchnorm") for part in r.forward) or not r.forward


def _uses_features(r: CheckResult) -> bool:
    """Tell whether a function got X, whose D columns are the features."""
    return any(part.component in ("network", "affine") for part in r.forward) or not r.forward


def _qualified_name(g: GradientResult) -> str:
    return g.name if g.function is None else f"{g.name} of {g.function}"
