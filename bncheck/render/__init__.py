"""One registry of formats: a result in, something to show out. Nothing here prints."""

import json
from collections.abc import Callable, Mapping

from rich.console import RenderableType

from bncheck.render.check_report import CheckReport
from bncheck.results import SCHEMA, CheckResult


def as_json(result: CheckResult) -> str:
    """Return the JSON document of a check, schema "bncheck/1"."""
    return json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"


def no_answer_as_json(target: str, error: str) -> str:
    """Return the document of a target that gave no answer."""
    document = {"schema": SCHEMA, "verdict": None, "target": {"name": target}, "error": error}
    return json.dumps(document, indent=2) + "\n"


# By the name that --format takes: a string is written as it is, anything else laid out by rich.
FORMATS: Mapping[str, Callable[[CheckResult], RenderableType | str]] = {"table": CheckReport, "json": as_json}
