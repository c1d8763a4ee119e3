"""A target as the text of its files, so that it can be run where these files are not."""

import ast
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from bncheck.targets import BUILT_IN
from bncheck.targets.loading import is_path, split

# The file by which a module is run as a module, from the folder that it was found in.
SHIM = "bncheck_target.py"


class UnpackedBundle(NamedTuple):
    """A target's files, written on another machine."""

    target: str  # what it is called there
    remote_dir: str  # the folder of its files there ...
    local_dir: str  # ... and where they came from

    def to_local_paths(self, text: str, target: str) -> str:
        """Return a text, which may begin with the target's name, as it would have been here."""
        if text.startswith(self.target):
            text = target + text.removeprefix(self.target)
        return text.replace(self.remote_dir, self.local_dir)


class SourceBundle(NamedTuple):
    """A file and the files beside it that it imports: what is installed is not among them, nor is data."""

    main: str  # the file that is run, among these
    name: str  # in it, or ""
    files: tuple[tuple[str, bytes], ...]  # by the path below a common folder ...
    root: str  # ... which is this one here

    @classmethod
    def of(cls, target: str) -> "SourceBundle | None":
        """Return the files of a target; None of one that is installed, is bncheck's own, or cannot be read."""
        place, name = split(target)
        if target in BUILT_IN:
            return None
        with suppress(OSError):
            if not is_path(place):
                return _of_module(Path.cwd(), place, name)
            main = Path(place).resolve()
            packages = list(takewhile(lambda folder: (folder / "__init__.py").is_file(), main.parents))
            # A file's own folder keeps its name: it may be imported by it.
            above = packages[-1].parent if packages else main.parent.parent
            along = [main, *(folder / "__init__.py" for folder in packages)]
            beside = [main.parent, *([above] if packages else [])]
            found = _with_imports(along, beside, main)
            root = Path(os.path.commonpath([above, *found.values()]))
            return cls(main.relative_to(root).as_posix(), name, _texts(found, root), str(root))
        return None

    def unpack(self, folder: Path) -> UnpackedBundle:
        """Write the files below a folder."""
        for name, text in self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        return UnpackedBundle(f"{folder / self.main}{':' * bool(self.name)}{self.name}", str(folder), self.root)


def _of_module(folder: Path, module: str, name: str) -> SourceBundle | None:
    """Return the files of a module that lies in a folder, and one that imports it there."""
    names = module.split(".")
    if not any(file.is_file() for file in _module_candidates(folder.joinpath(*names))):
        return None
    along = list(_module_files(folder, names))
    found = _with_imports(along, [folder])
    shim = f"import importlib, sys\nsys.modules[__name__] = importlib.import_module({module!r})\n"
    return SourceBundle(SHIM, name, ((SHIM, shim.encode()), *_texts(found, folder)), str(folder))


def _texts(files: Iterable[Path], root: Path) -> tuple[tuple[str, bytes], ...]:
    return tuple((file.relative_to(root).as_posix(), file.read_bytes()) for file in files)


def _with_imports(along: list[Path], beside: list[Path], main: Path | None = None) -> dict[Path, Path]:
    """Return files and what they import, directly or not, from these folders or one that ``main`` lies in by name.

    Beside each stands the folder below which its name begins.
    """
    found = dict.fromkeys(along, beside[-1])
    waiting = list(along)
    while waiting:
        file = waiting.pop()
        for level, names in _imported(file):
            for base in _search_roots(file, level, names[0], beside, main):
                more = [part for part in _module_files(base, names) if part not in found]
                found |= dict.fromkeys(more, base)
                waiting += more
    return found


def _search_roots(file: Path, level: int, name: str, beside: list[Path], main: Path | None) -> list[Path]:
    """Return the folders in which the first part of a name may lie."""
    if level:
        return [file.parents[level - 1]] if level <= len(file.parents) else []
    own = [] if main is None else [folder.parent for folder in main.parents if folder.name == name]
    return list(dict.fromkeys([*beside, *own]))


def _imported(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the level and the dotted name of everything that a file may import; nothing of one that does not parse."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two of a deep expression
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            yield from ((node.level, [*module, alias.name]) for alias in node.names)


def _module_files(base: Path, names: list[str]) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs: the packages on the way, and the module."""
    for number in range(len(names)):
        yield from (
            file for file in _module_candidates(base.joinpath(*names[: number + 1])) if os.access(file, os.R_OK)
        )


def _module_candidates(place: Path) -> tuple[Path, Path]:
    """Return the files that a module may be: of a package, or by itself."""
    return place / "__init__.py", place.with_name(f"{place.name}.py")
