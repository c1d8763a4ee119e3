"""Source bundles: the files of a target as text, to run it on a machine that does not have them."""

import ast
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from bncheck.targets import BUILT_IN
from bncheck.targets.loading import is_path, split

# A file that imports the target as a module, from the directory in which the module was found.
SHIM = "bncheck_target.py"


class UnpackedBundle(NamedTuple):
    """The files of a target, written on another machine."""

    target: str  # name of the target on that machine
    remote_dir: str  # directory of the files on that machine
    local_dir: str  # directory that the files were read from

    def to_local_paths(self, text: str, target: str) -> str:
        """Return a message with the paths of this machine; it may start with the name of the target."""
        (path, _), (local_path, _) = split(self.target), split(target)
        if text.startswith(path):
            text = local_path + text.removeprefix(path)
        return text.replace(self.remote_dir, self.local_dir)


class SourceBundle(NamedTuple):
    """A file and the files that it imports from its own directory or package, without installed packages and data."""

    main: str  # the file to run, one of ``files``
    name: str  # the name in it, or ""
    files: tuple[tuple[str, bytes], ...]  # path relative to ``root``, and content
    root: str  # the common directory

    @classmethod
    def from_target(cls, target: str) -> "SourceBundle | None":
        """Return the files of a target; None if it is installed, built in, or cannot be read."""
        path, name = split(target)
        if target in BUILT_IN:
            return None
        with suppress(OSError):
            if not is_path(path):
                return _bundle_module(Path.cwd(), path, name)
            main = Path(path).resolve()
            packages = list(takewhile(lambda folder: (folder / "__init__.py").is_file(), main.parents))
            # The name of the file's own directory is kept: the file may import it.
            parent = packages[-1].parent if packages else main.parent.parent
            files = [main, *(folder / "__init__.py" for folder in packages)]
            search = [main.parent, *([parent] if packages else [])]
            bases = _follow_imports(files, search, main)
            root = Path(os.path.commonpath([parent, *bases.values()]))
            return cls(main.relative_to(root).as_posix(), name, _read_files(bases, root), str(root))
        return None

    def unpack(self, folder: Path) -> UnpackedBundle:
        """Write the files to a directory."""
        for name, text in self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        return UnpackedBundle(f"{folder / self.main}{':' * bool(self.name)}{self.name}", str(folder), self.root)


def _bundle_module(folder: Path, module: str, name: str) -> SourceBundle | None:
    """Return the files of a module in a directory, and a shim that imports it; None if it is not there."""
    names = module.split(".")
    if not any(file.is_file() for file in _module_candidates(folder.joinpath(*names))):
        return None
    bases = _follow_imports(list(_module_files(folder, names)), [folder])
    shim = f"import importlib, sys\nsys.modules[__name__] = importlib.import_module({module!r})\n"
    return SourceBundle(SHIM, name, ((SHIM, shim.encode()), *_read_files(bases, folder)), str(folder))


def _read_files(files: Iterable[Path], root: Path) -> tuple[tuple[str, bytes], ...]:
    return tuple((file.relative_to(root).as_posix(), file.read_bytes()) for file in files)


def _follow_imports(files: list[Path], search: list[Path], main: Path | None = None) -> dict[Path, Path]:
    """Return files and what they import, directly or not, from the directories of ``search`` or a parent of ``main``.

    Each file maps to the directory that its import path is relative to.
    """
    bases = dict.fromkeys(files, search[-1])
    pending = list(files)
    while pending:
        file = pending.pop()
        for level, names in _imported_names(file):
            for base in _search_roots(file, level, names[0], search, main):
                new = [part for part in _module_files(base, names) if part not in bases]
                bases |= dict.fromkeys(new, base)
                pending += new
    return bases


def _search_roots(file: Path, level: int, name: str, search: list[Path], main: Path | None) -> list[Path]:
    """Return the directories in which the first part of a dotted name may be."""
    if level:
        return [file.parents[level - 1]] if level <= len(file.parents) else []
    named = [] if main is None else [folder.parent for folder in main.parents if folder.name == name]
    return list(dict.fromkeys([*search, *named]))


def _imported_names(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the level and the dotted name of everything that a file may import; nothing if it cannot be parsed."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two for a deeply nested expression
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            yield from ((node.level, [*module, alias.name]) for alias in node.names)


def _module_files(base: Path, names: list[str]) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs: those of its packages, and of the module."""
    for length in range(1, len(names) + 1):
        candidates = _module_candidates(base.joinpath(*names[:length]))
        yield from (file for file in candidates if os.access(file, os.R_OK))


def _module_candidates(path: Path) -> tuple[Path, Path]:
    """Return the files that a module may be: that of a package, and that of a plain module."""
    return path / "__init__.py", path.with_name(f"{path.name}.py")
