"""A target as the text of its files, so that it can be run where these files are not."""

import ast
import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from bncheck.targets import BUILT_IN
from bncheck.targets.loading import is_path, split


class Sources(NamedTuple):
    """A file and the files beside it that it imports: what is installed is not among them, nor is data."""

    target: str  # what it is called here: "layers.py:solution_b"
    main: str  # the file among these
    files: tuple[tuple[str, bytes], ...]  # by the path below a common folder

    @classmethod
    def of(cls, target: str) -> "Sources | None":
        """Return the files of a target; None of one that is installed, or bncheck's own."""
        if target in BUILT_IN:
            return None
        place, _ = split(target)
        path = Path(place) if is_path(place) else _beside(Path.cwd(), place.split("."))
        if path is None:
            return None
        found, root = _with_imports(path.resolve())
        files = tuple((file.relative_to(root).as_posix(), file.read_bytes()) for file in found)
        return cls(target, path.resolve().relative_to(root).as_posix(), files)

    def unpack(self, folder: Path) -> str:
        """Write the files below a folder, and return what the target is called there."""
        for name, text in self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        _, name = split(self.target)
        return f"{folder / self.main}{':' * bool(name)}{name}"


def _with_imports(main: Path) -> tuple[list[Path], Path]:
    """Return a file and what it imports, directly or not, from its folder or its package; and the folder above all."""
    packages = list(takewhile(lambda folder: (folder / "__init__.py").is_file(), main.parents))
    waiting = [main, *(folder / "__init__.py" for folder in packages)]
    found, roots = dict.fromkeys(waiting), {main.parent, *(folder.parent for folder in packages)}
    while waiting:
        file = waiting.pop()
        for level, names in _imported(file):
            bases = [file.parents[level - 1]] if level else _bases(file, main, names[0])
            for base in bases:
                more = [part for part in _along(base, names) if part not in found]
                if more:
                    roots.add(base)
                found |= dict.fromkeys(more)
                waiting += more
    return list(found), Path(os.path.commonpath(roots))


def _bases(file: Path, main: Path, name: str) -> list[Path]:
    """Return the folders in which a top-level name may lie: that of the file, or that of its package."""
    packages = [folder.parent for folder in main.parents if folder.name == name]
    return list(dict.fromkeys([main.parent, file.parent, *packages]))


def _imported(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the level and the dotted name of everything that a file may import; nothing of one that does not parse."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            yield from ((node.level, [*module, alias.name]) for alias in node.names)


def _along(base: Path, names: list[str]) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs: the packages on the way, and the module."""
    for number in range(len(names)):
        yield from (file.resolve() for file in _either(base.joinpath(*names[: number + 1])) if file.is_file())


def _either(place: Path) -> tuple[Path, Path]:
    """Return the files that a module may be: of a package, or by itself."""
    return place / "__init__.py", place.with_name(f"{place.name}.py")


def _beside(folder: Path, names: list[str]) -> Path | None:
    """Return the file of a module that lies in a folder."""
    place = folder.joinpath(*names)
    return next((file for file in _either(place) if file.is_file()), None)
