"""Code under test, as real files; the first line of each says what bncheck is expected to report.

Lines ``# key: value`` at the top of a file describe it:

================  ===================================================================================================
expected          ``pass``, ``not pass``, ``inconclusive (reason)``, ``fail`` and the wrong arrays,
                  ``could not run: message``, or ``pass (undetectable: reason)``
and then          a later part of that message
checked           ``as a file``: in a child process, as the command line does; otherwise in the test's process
target            the object in the file that is the target; the default is the file itself
requires          an optional package that the file imports
precision         the largest error of its gradients, relative to their largest entry; the default is 1e-9
fails with        arguments of ``random_problem`` for a problem that shows an undetectable mistake
note              a note of its report; without this line the report has no notes
gradient          a gradient that is checked
absent in NumPy   a name that recent versions of NumPy do not define; the test is skipped if this version defines it
================  ===================================================================================================
"""

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parent
HEADER = re.compile(r"# ([a-z][A-Za-z ]*): (.+)\n")


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of code under test, with the lines at its top that describe it."""

    path: Path
    text: str  # the file, with those lines
    header: tuple[tuple[str, str], ...]  # key and value of each line, in the order of the file

    @classmethod
    def read(cls, path: Path) -> "Sample":
        """Read a file and the lines at its top.

        Raises
        ------
        ValueError
            The first line does not say what is expected.
        """
        text = path.read_text(encoding="utf-8")
        header, position = [], 0
        while line := HEADER.match(text, position):
            header.append((line[1], line[2]))
            position = line.end()
        if not header or header[0][0] != "expected":
            raise ValueError(f"the first line of {path} must be '# expected: ...'")
        return cls(path, text, tuple(header))

    def __str__(self) -> str:
        """Return the name of the file, which is the identifier of its tests."""
        return self.path.stem

    @property
    def expected(self) -> str:
        return self.header[0][1]

    @property
    def message_parts(self) -> list[str]:
        """The parts of the expected error message, in their order."""
        prefix = "could not run: "
        assert self.expected.startswith(prefix), f"{self.path} does not expect an error"
        return [self.expected.removeprefix(prefix), *self.values("and then")]

    @property
    def is_checked_as_file(self) -> bool:
        return self.value("checked") == "as a file"

    @property
    def code(self) -> str:
        """The file without the lines that describe it."""
        return "".join(self.text.splitlines(keepends=True)[len(self.header) :])

    def value(self, key: str, default: str = "") -> str:
        """Return the value of the only line with that key."""
        values = self.values(key)
        assert len(values) <= 1, f"{self.path} has several lines '# {key}:'"
        return values[0] if values else default

    def values(self, key: str) -> list[str]:
        """Return the values of all lines with that key."""
        return [value for name, value in self.header if name == key]

    def load(self) -> Any:
        """Run the file and return the target: a mapping of names, or the object that the line ``target`` names.

        The test is skipped if an optional package is missing.
        """
        for package in self.values("requires"):
            pytest.importorskip(package)
        module = ModuleType(self.path.stem)
        exec(compile(self.text, str(self.path), "exec"), module.__dict__)
        target = self.value("target")
        return getattr(module, target) if target else vars(module)

    def skip_if_numpy_has_name(self) -> None:
        """Skip the test if this version of NumPy defines the name that the file expects to be absent."""
        for name in self.values("absent in NumPy"):
            if name in dir(np):
                pytest.skip(f"this version of NumPy defines {name}")


def samples(folder: str) -> list[Sample]:
    """Return the samples of a subfolder, in the order of their names."""
    found = [Sample.read(path) for path in sorted((FOLDER / folder).glob("*.py"))]
    assert found, f"tests/samples/{folder} has no files"
    return found


def read(name: str) -> str:
    """Return the source text of a sample, without its first line."""
    return (FOLDER / name).read_text(encoding="utf-8").partition("\n")[2]


def changed(source: str, *pairs: str) -> str:
    """Return a source text with replacements: old, new, old, new, ...; each old text must occur."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source, f"{old!r} is not in the source text"
        source = source.replace(old, new)
    return source


LAYERS = read("layers.py")
COMPOSITE = read("composite.py")
ALTERNATIVE = read("alternative.py")
NETWORK = read("network.py")
BATCHNORM = read("batchnorm.py")
AFFINE = read("affine.py")
SHORT_COMPOSITE = read("short_composite.py")
SHORT_NETWORK = read("short_network.py")
MANY_FUNCTIONS = read("many_functions.py")
FEATURES_FIRST = read("features_first.py")

# Lines of LAYERS that tests replace.
DX = "dx = dxhat / std + dvar * 2 * (x - mu) / N + dmu / N"
DMU = "dmu = np.sum(-dxhat / std, axis=0) + dvar * np.mean(-2 * (x - mu), axis=0)"
VAR = "var = x.var(axis=0)"
STD = "std = np.sqrt(var + eps)"
XHAT = "xhat = (x - mu) / std"

# Without the variance term of dx.
WRONG_LAYERS = changed(LAYERS, DX, DX.replace("dvar", "0 * dvar"))
