"""Fixtures of the tests of plots."""

from pathlib import Path
from typing import Any

import pytest

from tests.samples import WRONG_LAYERS


@pytest.fixture(scope="module")
def plots() -> Any:
    pytest.importorskip("matplotlib")
    return __import__("bncheck.render.plots.figure", fromlist=["figure"])


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.py").write_text(WRONG_LAYERS, encoding="utf-8")
    Path("raises.py").write_text("import numpy\n\n1 / 0\n", encoding="utf-8")
