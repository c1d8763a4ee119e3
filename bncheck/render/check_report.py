"""The report of a check: header, table of gradients, verdict with diagnosis, and details."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import JustifyMethod, RenderableType
from rich.table import Column, Table
from rich.text import Text

from bncheck.model.options import PROBLEM_DEFAULTS, to_option_spelling
from bncheck.model.results import CheckResult, ForwardResult, GradientResult
from bncheck.model.verdict import Verdict
from bncheck.render import check_sentences as sentences
from bncheck.render.check_items import check_suites, outputs_and_gradients
from bncheck.render.diagnosis_report import diagnosis_rows, format_note, wrong_part_rows
from bncheck.render.format import align_values, entry_name, format_tolerance_ratio, relative
from bncheck.render.layout import GAP, STYLES, Command, Page, two_columns, wrap_command
from bncheck.render.report import Report, Suite

# From the loss to the inputs. Only the first wrong gradient is shown in full: the others may be its consequence.
BACKWARD_ORDER = ("dbeta", "dgamma", "dh", "db", "dW", "dX")
# Labels of the details that explain a failure; the other details are dimmed.
HIGHLIGHTED_LABELS = ("not checked", "wrong part", "explain", "minimal example")
LABEL_WIDTH = 15  # columns
# Columns between cells, and headings that are left out. The first pair that leaves enough space for names is used.
TABLE_LAYOUTS = ((GAP, ()), (1, ()), (1, ("max rel.", "norm rel.")), (1, ("max rel.", "norm rel.", "resolution")))


def _cells(item: ForwardResult | GradientResult, headings: list[str]) -> list[str]:
    """Return the cells below some headings; an output has only "entries", "wrong" and "max rel."."""
    cells = {"wrong": f"{item.wrong:,}", "max rel.": relative(item.max_relative_error)}
    if isinstance(item, ForwardResult):
        cells["entries"] = f"{item.entries:,}"
    elif not item.checked:
        cells = {"entries": "0", **dict.fromkeys(headings[1:], "-")}
    else:
        cells["entries"] = f"{item.checked:,}"
        cells["norm rel."] = relative(item.norm_relative_error)
        cells["tolerance used"] = format_tolerance_ratio(item.tolerance_ratio)
        cells["resolution"] = relative(item.resolution)
        if item.exact_zero and not item.wrong:
            cells["max rel."] = cells["norm rel."] = "zero"
    return [cells.get(name, "") for name in headings]


@dataclass(frozen=True, slots=True)
class CheckReport(Report):
    """The report of a check."""

    result: CheckResult
    in_python: bool = False  # the reader called bncheck from Python: options are spelled x_std, not --x-std

    @property
    def headline(self) -> str:
        """The verdict, the target, the number of entries, the problem and the codes of notes."""
        r, p = self.result, self.result.problem
        if r.verdict is Verdict.PASS:
            entries = "entries match" if r.checked == r.entries else "entries checked, all match"
        else:
            entries = f"entries checked, {sum(g.wrong for g in r.gradients.values()):,} wrong"
        cases = f", and {len(r.edge_cases)} edge cases" if r.edge_cases else ""
        notes = "".join(f"; {note.code}" for note in r.notes)
        return (
            f"{r.verdict.value.upper()}  {r.target.name}: {r.checked:,} of {r.entries:,} {entries} "
            f"(N {p.N}, D {p.D}, H {p.H}{cases}), {r.seconds:.2f} s{notes}"
        )

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return header, table, verdict and details."""
        layout = _CheckLayout(page.ascii_only, page.width, self.result, self.in_python)
        return layout.header(), layout.table_of_gradients(), layout.verdict_and_diagnosis(), layout.details()

    def data(self) -> Any:
        """Return the content of the JSON document, schema "bncheck/2"."""
        return self.result.to_dict()

    def suites(self) -> Iterable[Suite]:
        """Return the suite of the problem and those of the edge cases."""
        return check_suites(self.result)


@dataclass(frozen=True, slots=True)
class _CheckLayout(Page):
    result: CheckResult
    in_python: bool

    def advice(self, sentence: str) -> Text:
        """Return a text in which options have the spelling of the reader."""
        return self.text(sentence if self.in_python else to_option_spelling(sentence))

    @property
    def has_functions(self) -> bool:
        """Whether the target is a set of layer functions, not a network."""
        return self.result.target.interface != "network"

    def header(self) -> Table:
        """Return the title with the problem, the target and the settings that are not the default."""
        r, name = self.result, f"{self.result.target.name}, {self.result.target.dtype}"
        title = Table.grid(Column(), Column(justify="right"), expand=True)
        title.width = self.width
        heading = name if self.has_functions else "affine → batch norm → ReLU"
        title.add_row(self.text(heading, "bold"), self.text("   ".join(self.problem_settings())))
        if self.has_functions:
            subject = f"layer functions: {', '.join(dict.fromkeys(output.component for output in r.forward))};"
        else:
            sample = r.options.sample
            subject = f"{name}; {'every entry' if sample is None else f'{sample:,} entries of each gradient'}"
        grid = Table.grid(Column(overflow="fold"))
        grid.add_row(title)
        numerical = "the complex step" if r.options.scheme == "complex" else f"{r.options.scheme} differences"
        grid.add_row(self.text(f"{subject} compared with {numerical}"))
        if changed := self.changed_settings():
            grid.add_row(self.text("   ".join(changed)))
        return grid

    def problem_settings(self) -> list[str]:
        """Return the sizes that the checked components have, eps and the seed."""
        p, components = self.result.problem, {output.component for output in self.result.forward} or {"network"}
        settings = {
            f"N {p.N}": True,
            f"D {p.D}": components & {"network", "affine"},
            f"H {p.H}": True,
            f"eps {p.bn_eps:g}": components & {"network", "batchnorm"},
            f"seed {p.seed}": p.seed is not None,
        }
        return [setting for setting, is_used in settings.items() if is_used]

    def changed_settings(self) -> list[str]:
        """Return the settings that are not shown elsewhere and differ from the default."""
        p, options = self.result.problem, self.result.options
        settings = {
            "x-mean": (p.x_mean, PROBLEM_DEFAULTS["x_mean"]),
            "x-std": (p.x_std, PROBLEM_DEFAULTS["x_std"]),
            "step": (options.step, "auto"),
            "engine": (options.engine, "local"),
        }
        changed = [(name, value) for name, (value, default) in settings.items() if value not in (None, default)]
        return [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in changed]

    def table_of_gradients(self) -> Table:
        """Return the table of outputs and gradients, with narrower gaps or fewer columns if names need the space."""
        for gap, omitted in TABLE_LAYOUTS:
            names = [name for name in self.column_names() if name not in omitted]
            rows, headings = list(self.rows(names)), self.headings(names)
            widths = [max(map(len, column)) for column in zip(map(Text, headings), *rows, strict=True)]
            available = self.width - sum(widths[1:]) - gap * (len(widths) - 1)
            if available >= widths[0]:
                break
        table = self.table()
        table.padding = (0, gap - 1, 0, 0)
        left = {0, 1, len(headings) - 1} if self.has_functions else {0, len(headings) - 1}
        for number, (heading, width) in enumerate(zip(headings, widths, strict=True)):
            justify: JustifyMethod = "left" if number in left else "right"
            table.add_column(heading, justify=justify, min_width=width, overflow="fold")
        table.columns[0].min_width, table.columns[0].width = None, max(6, available)  # fills the page
        for row in rows:
            table.add_row(*row)
        return table

    def column_names(self) -> list[str]:
        """Return the headings between the name and the verdict."""
        if self.has_functions:
            return ["entries", "wrong", "max rel.", "resolution"]
        failed = any(g.wrong for g in self.result.gradients.values())
        errors = ["wrong", "max rel."] if failed else ["max rel.", "norm rel."]
        return ["entries", *errors, "tolerance used", "resolution"]

    def headings(self, names: list[str]) -> list[str]:
        """Return all headings; "entries" becomes "checked" if some were not checked."""
        partial = self.result.checked < self.result.entries
        shown = ["checked" if partial and name == "entries" else name for name in names]
        return [*(["function", "value"] if self.has_functions else [""]), *shown, "verdict"]

    def rows(self, names: list[str]) -> Iterator[list[Text]]:
        """Yield a row per output and gradient; consecutive rows of a function name it a single time."""
        previous = ""
        for item in outputs_and_gradients(self.result):
            function = item.function or ""
            labels = [function if function != previous else ""] if self.has_functions else []
            previous = function
            labels += [f"{item.name} {item.shape}", *_cells(item, names)]
            yield [*map(self.text, labels), self.verdict(item.verdict)]

    def verdict_and_diagnosis(self) -> Table:
        """Return the verdict, its sentences, the diagnosis and the worst entries."""
        r, grid = self.result, two_columns()
        labels = [self.text(r.verdict.value.upper(), STYLES[r.verdict])]
        for sentence in sentences.conclusions(r):
            grid.add_row(labels.pop() if labels else "", self.advice(sentence))
        commands = [case.reproduce for case in r.edge_cases if case.verdict is not Verdict.PASS and case.reproduce]
        if commands and r.verdict is Verdict.FAIL and sentences.fails_only_on_edge_cases(r):
            grid.add_row("", "Reproduce with:")
            grid.add_row("", Command(commands[0]))
        for label, text in diagnosis_rows(self, r):
            grid.add_row(self.text(label, "bold"), text)
        # Other names, such as dx of a layer function, come first, in the order of the gradients.
        order = {name: number for number, name in enumerate(BACKWARD_ORDER)}
        wrong = [g for g in r.gradients.values() if g.wrong]
        first = min(wrong, key=lambda g: order.get(g.name, 0), default=None)
        if first is not None and not first.reasons:
            grid.add_row("", "")
            grid.add_row("", self.worst_entries(first))
        return grid

    def worst_entries(self, g: GradientResult) -> Table:
        """Return the worst entries of a gradient with both values."""
        grid = Table.grid(padding=(0, 3, 0, 0))
        of_function = f" of {g.function}" if g.function else ""
        for number, entry in enumerate(g.worst_entries):
            analytic, numerical = align_values(entry)
            grid.add_row("next" if number else "worst entry", self.text(entry_name(g, entry) + of_function))
            grid.add_row("  analytic", self.text(analytic))
            grid.add_row("  numerical", self.text(f"{numerical} ± {entry.tolerance:.1e}"))
        return grid

    def details(self) -> Table:
        """Return labelled lines: what was not checked, how reliable the numbers are, and commands to continue with."""
        r, grid = self.result, two_columns(width=LABEL_WIDTH)
        for label, detail in (
            ("not checked", sentences.not_checked(r)),
            ("max rel.", sentences.max_relative(r)),
            ("ReLU", sentences.relu(r)),
            ("cross-check", sentences.cross_check(r)),
            *(("note", format_note(r, note)) for note in r.notes),
            ("edge cases", sentences.edge_cases(r)),
            *wrong_part_rows(r),
        ):
            if detail:
                text = detail if isinstance(detail, Command) else self.advice(detail)
                grid.add_row(label, text, style="" if label in HIGHLIGHTED_LABELS else "dim")
        seconds, width = f"{r.seconds:.2f} s", self.width - LABEL_WIDTH - GAP
        if r.reproduce:
            lines = wrap_command(r.reproduce, width, ascii_only=self.ascii_only)
            if len(lines) == 1 and len(lines[0]) + GAP + len(seconds) <= width:  # the time fits on the same line
                grid.add_row("reproduce", self.text(lines[0] + seconds.rjust(width - len(lines[0]))), style="dim")
                return grid
            grid.add_row("reproduce", Command(r.reproduce), style="dim")
        grid.add_row("time", seconds, style="dim")
        return grid
